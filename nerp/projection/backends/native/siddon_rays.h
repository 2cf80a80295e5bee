// How exact integrals move with their rays.
//
// At the height where a ray crosses a plane, the integrand jumps from one voxel's value to the
// next's. Moving the crossing along the ray by ds changes the integral by (before - after) ds; a
// plane at p is crossed at s = (p - start) / direction. Lengthening the ray adds its last value.
#pragma once

#include "siddon.h"

namespace nerp {
namespace NERP_ISA {

// Sums over the crossings of one packet, by axis: the driving axis first.
struct Jumps {
    Floats sum[3], by_height[3];  // of the jump, and of the height times it
    Floats last;                  // value met last
    bool begun = false;
};

inline Jumps no_jumps() {
    Jumps jumps;
    for (int k = 0; k < 3; ++k) jumps.sum[k] = jumps.by_height[k] = broadcast(0.0f);
    jumps.last = broadcast(0.0f);
    return jumps;
}

HOT void add_jump(Jumps& jumps, int axis, Floats jump, Floats height) {
    jumps.sum[axis] += jump;
    jumps.by_height[axis] += height * jump;
}

HOT void collect_jumps(Climb& packet, int n_slabs, const float* values, Jumps& jumps) {
    const Lookahead ask(packet);
    traverse(packet, n_slabs, [&](const Slab& slab) ALWAYS {
        ask(values, slab.last);
        const Floats first = gather(values, slab.first), middle = gather(values, slab.middle);
        const Floats last = gather(values, slab.last);
        if (jumps.begun) add_jump(jumps, 0, jumps.last - first, slab.low);
        const Floats early = first - middle, late = middle - last;
        add_jump(jumps, 1, slab.zero_first ? early : late, slab.cut[0]);
        add_jump(jumps, 2, slab.zero_first ? late : early, slab.cut[1]);
        jumps.last = last;
        jumps.begun = true;
    });
}

// One lane's sums as gradients of the ray's own numbers. Mirrored coordinates count backwards, hence
// the signs; heights become millimetres by the speed of the climb.
inline void write_ray_gradient(const NerpScene& scene, const Ray& ray, const Jumps& jumps, int lane, double weight,
                               const NerpRayGradient& to) {
    const Climber c = mirror(scene, ray);
    const double speed = c.speed[c.axes[0]];
    for (int k = 0; k < 3; ++k) {
        const int axis = c.axes[k];
        const double sign = ray.direction[axis] < 0 ? -1 : 1;
        const double per_speed = c.speed[axis] > 0 ? sign * weight / c.speed[axis] : 0;
        const double sum = jumps.sum[k][lane], by_mm = jumps.by_height[k][lane] / speed;
        to.start[3 * ray.number + axis] += -sum * per_speed;
        to.direction[3 * ray.number + axis] += -by_mm * per_speed;
    }
    to.length_mm[ray.number] += weight * jumps.last[lane];
}

// Adds to what stands in `to`, channel by channel.
inline void siddon_tile_to_rays(const NerpScene& scene, const Tile& tile, const float* values, const float* grad_image,
                                const NerpRayGradient& to) {
    TileClimb packets(scene, tile);
    Jumps jumps[most_packets];
    for (int i = 0; i < packets.count(); ++i) jumps[i] = no_jumps();
    packets.run([&](int i, Climb& packet, int n_slabs) { collect_jumps(packet, n_slabs, values, jumps[i]); });
    for (int i = 0; i < packets.count(); ++i)
        for (int lane = 0; lane < lanes; ++lane) {
            const Ray ray = ray_of_lane(scene, tile.view, packets.patch(i), lane);
            if (ray.hits()) write_ray_gradient(scene, ray, jumps[i], lane, grad_image[ray.number], to);
        }
}

}  // namespace NERP_ISA
}  // namespace nerp
