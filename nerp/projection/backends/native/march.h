// Emission-absorption marching of one packet of rays, a ray per lane.
//
// I = sum_i T_i a_i m_i with a_i = 1 - exp(-o_i step) and T_i the product of (1 - a_j) before i,
// counted from the source (Max 1995, eq. 10). No number of a single sample ever reaches memory.
#pragma once

#include "exponential.h"
#include "rays.h"
#include "stepper.h"

namespace nerp {
namespace NERP_ISA {

inline Padded padded(const NerpScene& scene) {
    const int stride_h = 2 * (scene.shape[2] + 2);
    return Padded{(scene.shape[1] + 2) * stride_h, stride_h};
}

// Step of each lane, 0 for one whose ray misses: it absorbs nothing. All hits are 1 where opacity is
// alpha itself.
inline Floats steps_mm(const PatchRays& packet, const NerpMarch& march) {
    alignas(64) float step_mm[lanes];
    for (int lane = 0; lane < lanes; ++lane) {
        const Ray& ray = packet.rays[lane];
        const double step = march.per_sample ? 1 : ray.length_mm / march.n_samples;
        step_mm[lane] = ray.hits() ? float(step) : 0.0f;
    }
    return load(step_mm);
}

// Steps from the middle of the first part of each ray on, or back from the last.
inline Stepper aim(const Padded& grid, const PatchRays& packet, int n_samples, bool reversed) {
    alignas(64) double first[3][lanes], step[3][lanes];
    for (int lane = 0; lane < lanes; ++lane) {
        const Ray& path = packet.path(lane);
        const double step_mm = path.length_mm / n_samples, first_mm = (reversed ? n_samples - 0.5 : 0.5) * step_mm;
        for (int axis = 0; axis < 3; ++axis) {
            first[axis][lane] = path.start[axis] + first_mm * path.direction[axis] + 1;
            step[axis][lane] = (reversed ? -step_mm : step_mm) * path.direction[axis];
        }
    }
    return Stepper(grid, first, step);
}

// Alpha of a sample whose opacity times step is x.
template <bool per_sample>
HOT Floats alpha_of(Floats x) {
    return per_sample ? x : absorbed(x);
}

// Asks for the memory of samples further on. Neighbouring lanes mostly share it, so that one lane at
// a time, each in its turn, is enough.
class Foresight {
public:
    explicit Foresight(Stepper stepper) {
        const Cells here = stepper.cells();
        for (int i = 0; i < samples_ahead; ++i) stepper.next();
        const Cells there = stepper.cells();
        for (int lane = 0; lane < lanes; ++lane) shift_[lane] = there.at[lane] - here.at[lane];
    }

    HOT void operator()(const float* fields, const Cells& cells, int sample) const {
        const int lane = sample % lanes;
        __builtin_prefetch(fields + cells.at[lane] + shift_[lane]);
    }

private:
    static constexpr int samples_ahead = 16;
    int32_t shift_[lanes];
};

// The cells of the next sample are found while those of the last are still being read.
template <bool per_sample>
inline Floats march_packet(const Padded& grid, const float* fields, Stepper stepper, Floats step_mm, int n_samples) {
    Floats light = broadcast(0.0f), transmittance = broadcast(1.0f);
    const Foresight ask(stepper);
    Cells cells[2] = {stepper.cells(), {}};
    for (int i = 0; i < n_samples; ++i) {
        const Cells& now = cells[i % 2];
        ask(fields, now, i);
        stepper.next();
        cells[(i + 1) % 2] = stepper.cells();
        const Sample s = sample(grid, fields, now);
        const Floats stopped = transmittance * alpha_of<per_sample>(s.opacity * step_mm);
        light += stopped * s.matter;
        transmittance -= stopped;
    }
    return light;
}

inline void march_patch(const NerpScene& scene, const NerpMarch& march, const float* fields, int view,
                        const Patch& patch, float* image) {
    const Padded grid = padded(scene);
    const PatchRays packet(scene, view, patch);
    alignas(64) float light[lanes] = {};
    if (packet.guide >= 0) {
        const Stepper stepper = aim(grid, packet, march.n_samples, false);
        const Floats step_mm = steps_mm(packet, march);
        store(light, march.per_sample ? march_packet<true>(grid, fields, stepper, step_mm, march.n_samples)
                                      : march_packet<false>(grid, fields, stepper, step_mm, march.n_samples));
    }
    for (int lane = 0; lane < lanes; ++lane) {
        const Ray& ray = packet.rays[lane];
        if (ray.number >= 0) image[ray.number] = ray.hits() ? light[lane] : 0.0f;  // its guide may meet NaN
    }
}

inline void march_tile(const NerpScene& scene, const Tile& tile, const NerpMarch& march, const float* fields,
                       float* image) {
    for_compact_patches(tile, [&](const Patch& patch) { march_patch(scene, march, fields, tile.view, patch, image); });
}

}  // namespace NERP_ISA
}  // namespace nerp
