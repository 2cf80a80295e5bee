// How exact integrals move with their rays.
//
// At the place where a ray crosses a plane, the integrand jumps from one voxel's value to the
// next's. Moving the crossing along the ray by ds changes the integral by (before - after) ds; a
// plane at p is crossed at s = (p - start) / direction. Lengthening the ray adds its last value.
#pragma once

#include "siddon.h"

namespace nerp {
namespace NERP_ISA {

// Sums over the crossings of one packet, by axis.
struct Jumps {
    Floats sum[3] = {}, by_height[3] = {};  // of the jump, and of the height times it
    Floats last = {};                       // value met last
};

// Books the jumps of lanes that crossed a plane of this axis, and returns those of the others.
HOT Floats book(Jumps& jumps, int axis, Floats jump, Ints entered, Floats height) {
    const Floats none = broadcast(0.0f), mine = entered ? jump : none;
    jumps.sum[axis] += mine;
    jumps.by_height[axis] += height * mine;
    return entered ? none : jump;
}

// A ray through an edge has a derivative on either side; plane by plane, it gets that of one of them.
HOT void collect_jumps(Climb& packet, int n_steps, const float* values, Jumps& total) {
    Jumps jumps = total;
    traverse<true>(packet, n_steps, values, [&](const Step& at) ALWAYS {
        const Floats value = gather(values, at.voxel);
        const Floats jump = book(jumps, 0, jumps.last - value, at.entered_d, at.low);
        book(jumps, 2, book(jumps, 1, jump, at.entered_h, at.low), at.entered_w, at.low);
        jumps.last = value;
    });
    total = jumps;
}

// One lane's sums as gradients of the ray's own numbers: ds / dstart = -1 / direction and
// ds / ddirection = -s / direction, signed as the ray is, mirrored or not. s counts from the start,
// heights from the middle of the ray.
inline void write_ray_gradient(const Ray& ray, const Jumps& jumps, int lane, double weight, const NerpRayGradient& to) {
    for (int axis = 0; axis < 3; ++axis) {
        const double per_speed = ray.direction[axis] == 0 ? 0 : weight / ray.direction[axis];
        const double sum = jumps.sum[axis][lane], by_s = jumps.by_height[axis][lane] + ray.length_mm / 2 * sum;
        to.start[3 * ray.number + axis] += -sum * per_speed;
        to.direction[3 * ray.number + axis] += -by_s * per_speed;
    }
    to.length_mm[ray.number] += weight * jumps.last[lane];
}

// Adds to what stands in `to`, channel by channel.
inline void siddon_tile_to_rays(const NerpScene& scene, const Tile& tile, const float* values, const float* grad_image,
                                const NerpRayGradient& to) {
    TileClimb packets(scene, tile);
    Jumps jumps[most_packets];
    packets.run([&](int i, Climb& packet, int n_steps) { collect_jumps(packet, n_steps, values, jumps[i]); });
    for (int i = 0; i < packets.count(); ++i)
        for (int lane = 0; lane < lanes; ++lane) {
            const Ray ray = ray_of_lane(scene, tile.view, packets.patch(i), lane);
            if (ray.hits()) write_ray_gradient(ray, jumps[i], lane, grad_image[ray.number], to);
        }
}

}  // namespace NERP_ISA
}  // namespace nerp
