// Exact path integrals of piecewise constant voxels, and their gradients.
#pragma once

#include "tile_climb.h"

namespace nerp {
namespace NERP_ISA {

// What is integrated: numbers as they are stored.
struct Stored {
    const float* data;
    HOT Floats at(Ints voxel) const { return gather(data, voxel); }
};

// Or the attenuation of whole HU, rounded step by step as `nerp.volume.attenuation` rounds it.
struct Attenuation {
    const int16_t* data;
    float water_per_mm;
    HOT Floats at(Ints voxel) const {
        const Floats hu = maximum(as_floats(gather(data, voxel)), broadcast(-1000.0f));
        return (hu / 1000.0f + 1.0f) * water_per_mm;
    }
};

template <typename Grid>
HOT void integrate(Climb& packet, int n_steps, const Grid& grid, Floats& total) {
    Floats sum = total;
    traverse(packet, n_steps, grid.data, [&](const Step& at) ALWAYS {
        sum += (at.high - at.low) * grid.at(at.voxel);
    });
    total = sum;
}

inline void write_sums(const NerpScene& scene, const Tile& tile, const TileClimb& packets, const Floats* sums,
                       float* image) {
    for (int i = 0; i < packets.count(); ++i)
        for (int lane = 0; lane < lanes; ++lane) {
            const Ray ray = ray_of_lane(scene, tile.view, packets.patch(i), lane);
            if (ray.number >= 0) image[ray.number] = ray.hits() ? sums[i][lane] : 0.0f;
        }
}

template <typename Grid>
inline void integrate_tile(const NerpScene& scene, const Tile& tile, const Grid& grid, float* image) {
    TileClimb packets(scene, tile);
    Floats sums[most_packets] = {};
    packets.run([&](int i, Climb& packet, int n_steps) { integrate(packet, n_steps, grid, sums[i]); });
    write_sums(scene, tile, packets, sums, image);
}

inline void siddon_tile(const NerpScene& scene, const Tile& tile, const float* values, float* image) {
    integrate_tile(scene, tile, Stored{values}, image);
}

inline void siddon_hu_tile(const NerpScene& scene, const Tile& tile, const int16_t* hu, float water_per_mm,
                           float* image) {
    integrate_tile(scene, tile, Attenuation{hu, water_per_mm}, image);
}

// The path through the voxel behind each lane, which counts for the voxel it is in.
struct Behind {
    Floats length = {};
    bool skip_first;
};

HOT void integrate_ahead(Climb& packet, int n_steps, const float* values, Behind& behind, Floats& total) {
    const Floats exit = packet.exit, none = broadcast(0.0f);
    const Floats first = behind.skip_first ? -exit : broadcast(-1e30f);
    Floats sum = total, length = behind.length;
    traverse<true>(packet, n_steps, values, [&](const Step& at) ALWAYS {
        sum += (at.low < exit ? length : none) * gather(values, at.voxel);
        length = at.low > first ? at.high - at.low : none;
    });
    total = sum, behind.length = length;
}

inline void siddon_ahead_tile(const NerpScene& scene, const Tile& tile, bool skip_first, const float* values,
                              float* image) {
    TileClimb packets(scene, tile);
    Floats sums[most_packets] = {};
    Behind behind[most_packets];
    for (int i = 0; i < packets.count(); ++i) behind[i].skip_first = skip_first;
    packets.run([&](int i, Climb& packet, int n_steps) {
        integrate_ahead(packet, n_steps, values, behind[i], sums[i]);
    });
    write_sums(scene, tile, packets, sums, image);
}

// The transpose of `integrate`: adds each ray's weight times its path to every voxel it meets.
HOT void spread_out(Climb& packet, int n_steps, Floats weight, float* gradient) {
    traverse(packet, n_steps, gradient, [&](const Step& at) ALWAYS {
        scatter_add(gradient, at.voxel, (at.high - at.low) * weight);
    });
}

inline Floats weights_of(const NerpScene& scene, int view, const Patch& patch, const float* grad_image) {
    alignas(64) float weight[lanes] = {};
    for (int lane = 0; lane < lanes; ++lane) {
        const Ray ray = ray_of_lane(scene, view, patch, lane);
        if (ray.hits()) weight[lane] = grad_image[ray.number];
    }
    return load(weight);
}

inline void siddon_tile_to_volume(const NerpScene& scene, const Tile& tile, const float* grad_image, float* gradient) {
    TileClimb packets(scene, tile);
    Floats weights[most_packets];
    for (int i = 0; i < packets.count(); ++i) weights[i] = weights_of(scene, tile.view, packets.patch(i), grad_image);
    packets.run([&](int i, Climb& packet, int n_steps) { spread_out(packet, n_steps, weights[i], gradient); });
}

}  // namespace NERP_ISA
}  // namespace nerp
