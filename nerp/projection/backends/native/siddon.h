// Exact path integrals of piecewise constant voxels, and their gradients.
#pragma once

#include "tile_climb.h"

namespace nerp {
namespace NERP_ISA {

inline double fastest_speed(const Ray& ray) {
    double fastest = 0;
    for (double speed : ray.direction) fastest = speed > fastest ? speed : -speed > fastest ? -speed : fastest;
    return fastest;
}

HOT void integrate(Climb& packet, int n_slabs, const float* values, Floats& total) {
    Floats sum = total;
    const Lookahead ask(packet);
    traverse(packet, n_slabs, [&](const Slab& slab) ALWAYS {
        ask(values, slab.last);
        const Floats before = slab.before(), after = slab.after();
        sum += (before - slab.low) * gather(values, slab.first);
        sum += (after - before) * gather(values, slab.middle);
        if (any(slab.all_three)) sum += (slab.high - after) * gather(values, slab.last);
    });
    total = sum;
}

inline void siddon_tile(const NerpScene& scene, const Tile& tile, const float* values, float* image) {
    TileClimb packets(scene, tile);
    Floats sums[most_packets] = {};
    packets.run([&](int i, Climb& packet, int n_slabs) { integrate(packet, n_slabs, values, sums[i]); });
    for (int i = 0; i < packets.count(); ++i)
        for (int lane = 0; lane < lanes; ++lane) {
            const Ray ray = ray_of_lane(scene, tile.view, packets.patch(i), lane);
            if (ray.number >= 0) image[ray.number] = ray.hits() ? float(sums[i][lane] / fastest_speed(ray)) : 0.0f;
        }
}

// The transpose of `integrate`: adds each ray's weight times its path to every voxel it meets.
HOT void spread_out(Climb& packet, int n_slabs, Floats weight, float* gradient) {
    const Lookahead ask(packet);
    traverse(packet, n_slabs, [&](const Slab& slab) ALWAYS {
        ask(gradient, slab.last);
        const Floats before = slab.before(), after = slab.after();
        scatter_add(gradient, slab.first, (before - slab.low) * weight);
        scatter_add(gradient, slab.middle, (after - before) * weight);
        if (any(slab.all_three)) scatter_add(gradient, slab.last, (slab.high - after) * weight);
    });
}

inline Floats weights_of(const NerpScene& scene, int view, const Patch& patch, const float* grad_image) {
    alignas(64) float weight[lanes] = {};
    for (int lane = 0; lane < lanes; ++lane) {
        const Ray ray = ray_of_lane(scene, view, patch, lane);
        if (ray.hits()) weight[lane] = float(grad_image[ray.number] / fastest_speed(ray));
    }
    return load(weight);
}

inline void siddon_tile_to_volume(const NerpScene& scene, const Tile& tile, const float* grad_image, float* gradient) {
    TileClimb packets(scene, tile);
    Floats weights[most_packets];
    for (int i = 0; i < packets.count(); ++i) weights[i] = weights_of(scene, tile.view, packets.patch(i), grad_image);
    packets.run([&](int i, Climb& packet, int n_slabs) { spread_out(packet, n_slabs, weights[i], gradient); });
}

}  // namespace NERP_ISA
}  // namespace nerp
