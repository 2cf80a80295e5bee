// Emission-absorption marching of one packet of rays, a ray per lane.
//
// I = sum_i T_i a_i m_i with a_i = 1 - exp(-o_i step) and T_i the product of (1 - a_j) before i,
// counted from the source (Max 1995, eq. 10). No number of a single sample ever reaches memory.
#pragma once

#include "exponential.h"
#include "rays.h"
#include "trilinear.h"

namespace nerp {
namespace NERP_ISA {

// A packet's rays as the marcher steps along them, in padded voxel coordinates.
struct MarchPacket {
    PatchRays patch;
    Floats first[3], advance[3];  // sample i lies at first + i advance
    Floats step_mm;               // 0 for a lane whose ray misses: it absorbs nothing
    bool hits() const { return patch.guide >= 0; }
};

inline MarchPacket aim(const NerpScene& scene, const NerpMarch& march, int view, const Patch& patch) {
    alignas(64) float first[3][lanes], advance[3][lanes], step_mm[lanes];
    MarchPacket packet{PatchRays(scene, view, patch), {}, {}, {}};
    if (!packet.hits()) return packet;
    for (int lane = 0; lane < lanes; ++lane) {
        const Ray& path = packet.patch.path(lane);
        const double step = path.length_mm / march.n_samples;
        for (int axis = 0; axis < 3; ++axis) {
            first[axis][lane] = float(path.start[axis] + 0.5 * step * path.direction[axis] + 1);
            advance[axis][lane] = float(step * path.direction[axis]);
        }
        const double weight = march.per_sample ? 1 : step;
        step_mm[lane] = packet.patch.rays[lane].hits() ? float(weight) : 0.0f;
    }
    for (int axis = 0; axis < 3; ++axis) {
        packet.first[axis] = load(first[axis]);
        packet.advance[axis] = load(advance[axis]);
    }
    packet.step_mm = load(step_mm);
    return packet;
}

inline Padded padded(const NerpScene& scene) {
    const int stride_h = 2 * (scene.shape[2] + 2);
    return Padded{(scene.shape[1] + 2) * stride_h, stride_h};
}

HOT Cells cells_at(const Padded& grid, const MarchPacket& p, int number) {
    const float sample = float(number);
    return locate(grid, p.first[0] + sample * p.advance[0], p.first[1] + sample * p.advance[1],
                  p.first[2] + sample * p.advance[2]);
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
    Foresight(const Padded& grid, const MarchPacket& packet) {
        const Cells here = cells_at(grid, packet, 0), there = cells_at(grid, packet, samples_ahead);
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
inline Floats march_packet(const Padded& grid, const float* fields, const MarchPacket& packet, int n_samples) {
    Floats light = broadcast(0.0f), transmittance = broadcast(1.0f);
    const Foresight ask(grid, packet);
    Cells cells[2];
    cells[0] = cells_at(grid, packet, 0);
    for (int i = 0; i < n_samples; ++i) {
        const Cells& now = cells[i % 2];
        ask(fields, now, i);
        cells[(i + 1) % 2] = cells_at(grid, packet, i + 1);
        const Sample s = sample(grid, fields, now);
        const Floats stopped = transmittance * alpha_of<per_sample>(s.opacity * packet.step_mm);
        light += stopped * s.matter;
        transmittance -= stopped;
    }
    return light;
}

inline void march_patch(const NerpScene& scene, const NerpMarch& march, const float* fields, int view,
                        const Patch& patch, float* image) {
    const Padded grid = padded(scene);
    const MarchPacket packet = aim(scene, march, view, patch);
    alignas(64) float light[lanes] = {};
    if (packet.hits()) {
        const Floats sum = march.per_sample ? march_packet<true>(grid, fields, packet, march.n_samples)
                                            : march_packet<false>(grid, fields, packet, march.n_samples);
        store(light, sum);
    }
    for (int lane = 0; lane < lanes; ++lane)
        if (packet.patch.rays[lane].number >= 0) image[packet.patch.rays[lane].number] = light[lane];
}

inline void march_tile(const NerpScene& scene, const Tile& tile, const NerpMarch& march, const float* fields,
                       float* image) {
    for_compact_patches(tile, [&](const Patch& patch) { march_patch(scene, march, fields, tile.view, patch, image); });
}

}  // namespace NERP_ISA
}  // namespace nerp
