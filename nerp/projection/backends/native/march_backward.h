// Gradients of the march, analytic: one more walk along the rays recomputes every sample.
//
// With x_i = o_i step and R_i the light that comes from behind sample i,
//     dI/dm_i = T_i a_i,    dI/dx_i = T_{i+1} m_i - R_i.
// Walking from the source, R_i is the finished pixel less the light met so far, so that a single
// pass is enough. Where opacity is alpha itself, dI/da_i = T_i (m_i - R_i / T_{i+1}) needs a
// division by what an opaque sample makes zero; that mode walks back from the far end instead.
#pragma once

#include "march.h"

namespace nerp {
namespace NERP_ISA {

// Sums over a ray's samples that its own gradient needs; slopes are in voxel coordinates.
struct RaySums {
    Floats slope[3] = {}, slope_by_index[3] = {};  // of dI/dx(sample), and of i times it
    Floats opacity = {};                           // of dI/dx_i o_i
};

// What a packet's walk reads and adds to; `gradient` is null when the fields need none.
struct Walk {
    Padded grid;
    const float* fields;
    float* gradient;
    const PatchRays* packet;
    int n_samples;
    Floats step_mm;
    Floats light, weight;  // the finished pixels and their gradients
};

template <bool to_rays>
HOT SlopedSample look(const Walk& walk, const Cells& cells) {
    if (to_rays) return sample_slopes(walk.grid, walk.fields, cells);
    return SlopedSample{sample(walk.grid, walk.fields, cells), {}, {}, {}};
}

HOT void add_slopes(RaySums& sums, int axis, const Sample& slope, const Sample& g, float i) {
    const Floats moved = slope.matter * g.matter + slope.opacity * g.opacity;
    sums.slope[axis] += moved;
    sums.slope_by_index[axis] += i * moved;
}

// Hands the gradients of one sample on: g with respect to its matter and to its x.
template <bool to_fields, bool to_rays>
HOT void hand_on(const Walk& walk, const Cells& cells, const SlopedSample& s, Sample g, float i, RaySums& sums) {
    if (to_rays) sums.opacity += g.opacity * s.value.opacity;
    g.opacity *= walk.step_mm;
    if (to_fields) scatter(walk.grid, walk.gradient, cells, g);
    if (!to_rays) return;
    add_slopes(sums, 0, s.along_d, g, i);
    add_slopes(sums, 1, s.along_h, g, i);
    add_slopes(sums, 2, s.along_w, g, i);
}

// Walks all samples, the last one first if `reversed`; gradient_of(i, sample) tells what to hand on.
// The next sample is read between the two, and so waits for neither: without that, most of the time
// would go by in the one long chain from a sample's address to its gradient.
template <bool to_fields, bool to_rays, typename GradientOf>
HOT RaySums for_samples(const Walk& walk, bool reversed, GradientOf gradient_of) {
    const int last = walk.n_samples - 1;
    RaySums sums;
    Stepper stepper = aim(walk.grid, *walk.packet, walk.n_samples, reversed);
    Cells cells[2] = {stepper.cells(), {}};
    SlopedSample next = look<to_rays>(walk, cells[0]);
    for (int i = 0; i <= last; ++i) {
        const SlopedSample now = next;
        const int number = reversed ? last - i : i;
        const Sample g = gradient_of(number, now.value);
        if (i < last) stepper.next();
        cells[(i + 1) % 2] = stepper.cells();
        next = look<to_rays>(walk, cells[(i + 1) % 2]);
        hand_on<to_fields, to_rays>(walk, cells[i % 2], now, g, float(number), sums);
    }
    return sums;
}

template <bool to_fields, bool to_rays>
inline RaySums walk_out(const Walk& walk) {
    Floats remaining = walk.light, transmittance = broadcast(1.0f);
    return for_samples<to_fields, to_rays>(walk, false, [&](int, const Sample& s) ALWAYS {
        const Floats stopped = transmittance * absorbed(s.opacity * walk.step_mm);
        transmittance -= stopped;
        remaining -= stopped * s.matter;
        return Sample{walk.weight * stopped, walk.weight * (transmittance * s.matter - remaining)};
    });
}

// For opacity read as alpha. `before` is scratch for the transmittance before each sample.
template <bool to_fields, bool to_rays>
inline RaySums walk_back(const Walk& walk, float* before) {
    Floats transmittance = broadcast(1.0f), behind = broadcast(0.0f);
    for_samples<false, false>(walk, false, [&](int i, const Sample& s) ALWAYS {
        store(before + i * lanes, transmittance);
        transmittance -= transmittance * s.opacity * walk.step_mm;
        return s;
    });
    return for_samples<to_fields, to_rays>(walk, true, [&](int i, const Sample& s) ALWAYS {
        const Floats alpha = s.opacity * walk.step_mm, weight = walk.weight * load(before + i * lanes);
        const Sample g{weight * alpha, weight * (s.matter - behind)};
        behind += alpha * (s.matter - behind);
        return g;
    });
}

template <bool to_fields, bool to_rays>
inline RaySums walk_packet(const Walk& walk, bool per_sample, float* before) {
    return per_sample ? walk_back<to_fields, to_rays>(walk, before) : walk_out<to_fields, to_rays>(walk);
}

// Sample i lies at start + (i + 1/2) step direction, with step = length / n.
inline void write_gradient(const NerpRayGradient& to, const Ray& ray, const RaySums& sums, int lane, double n) {
    const double step_mm = ray.length_mm / n;
    double by_step = 0;
    for (int axis = 0; axis < 3; ++axis) {
        const double slope = sums.slope[axis][lane];
        const double later = sums.slope_by_index[axis][lane] + 0.5 * slope;
        to.start[3 * ray.number + axis] = slope;
        to.direction[3 * ray.number + axis] = later * step_mm;
        by_step += later * ray.direction[axis];
    }
    to.length_mm[ray.number] = by_step / n;
}

inline void write_nothing(const NerpRayGradient& to, const Ray& ray) {
    for (int axis = 0; axis < 3; ++axis) to.start[3 * ray.number + axis] = to.direction[3 * ray.number + axis] = 0;
    to.length_mm[ray.number] = 0;
}

inline void write_gradients(const NerpMarch& march, const NerpRayGradient& to, const PatchRays& packet,
                            const RaySums& sums) {
    for (int lane = 0; lane < lanes; ++lane) {
        const Ray& ray = packet.rays[lane];
        if (ray.number < 0) continue;
        if (!ray.hits()) {
            write_nothing(to, ray);
            continue;
        }
        write_gradient(to, ray, sums, lane, march.n_samples);
        if (!march.per_sample) to.length_mm[ray.number] += sums.opacity[lane] / march.n_samples;
    }
}

inline void march_patch_backward(const NerpScene& scene, const NerpMarch& march, const float* fields, int view,
                                 const Patch& patch, const NerpMarchGradient& to, float* gradient, float* before) {
    const PatchRays packet(scene, view, patch);
    alignas(64) float light[lanes] = {}, weight[lanes] = {};
    for (int lane = 0; lane < lanes; ++lane) {
        if (!packet.rays[lane].hits()) continue;
        light[lane] = to.image[packet.rays[lane].number];
        weight[lane] = to.grad_image[packet.rays[lane].number];
    }
    if (packet.guide < 0) {
        if (to.rays.start) write_gradients(march, to.rays, packet, RaySums{});
        return;
    }
    const Walk walk{padded(scene), fields, gradient, &packet, march.n_samples, steps_mm(packet, march), load(light),
                    load(weight)};
    if (!to.rays.start) {
        walk_packet<true, false>(walk, march.per_sample, before);
        return;
    }
    const RaySums sums = gradient ? walk_packet<true, true>(walk, march.per_sample, before)
                                  : walk_packet<false, true>(walk, march.per_sample, before);
    write_gradients(march, to.rays, packet, sums);
}

inline void march_tile_backward(const NerpScene& scene, const Tile& tile, const NerpMarch& march, const float* fields,
                                const NerpMarchGradient& to, float* gradient, float* scratch) {
    const auto visit = [&](const Patch& patch) {
        march_patch_backward(scene, march, fields, tile.view, patch, to, gradient, scratch);
    };
    if (gradient)
        for_scattered_patches(tile, visit);
    else
        for_compact_patches(tile, visit);
}

}  // namespace NERP_ISA
}  // namespace nerp
