// What a beam of several energies leaves behind materials of given areal densities.
#pragma once

#include "exponential.h"
#include "task.h"

namespace nerp {
namespace NERP_ISA {

// One stretch of pixels of one variant: every material summed over the groups.
struct Stretch {
    alignas(64) float areal[transmitting_materials][pixels_together];
    alignas(64) float image[most_responses][pixels_together];
};

// Sums one material over the groups, which are `apart` floats from each other.
inline void weigh_groups(const float* from, size_t apart, const float* scales, int n_groups, int count, float* to) {
    constexpr int wide = 4 * lanes;
    int i = 0;
    for (; i + wide <= count; i += wide) {
        Floats a = broadcast(0.0f), b = a, c = a, d = a;
        for (int g = 0; g < n_groups; ++g) {
            const float* const at = from + g * apart + i;
            a += scales[g] * load(at), b += scales[g] * load(at + lanes);
            c += scales[g] * load(at + 2 * lanes), d += scales[g] * load(at + 3 * lanes);
        }
        store(to + i, a), store(to + i + lanes, b), store(to + i + 2 * lanes, c), store(to + i + 3 * lanes, d);
    }
    for (; i < pixels_together; ++i) {
        to[i] = 0;
        for (int g = 0; i < count && g < n_groups; ++g) to[i] += scales[g] * from[g * apart + i];
    }
}

// Some vectors of pixels at once: exponentials wait for themselves, several wait together.
constexpr int vectors_together = 4;

template <int n_responses>
HOT void transmit_vectors(const NerpTransmission& t, const float* areal, float* image) {
    Floats sums[n_responses][vectors_together] = {};
    for (int e = 0; e < t.n_energies; ++e) {
        const float* const mu = t.mu + size_t(e) * t.n_materials;
        const float* const weights = t.weights + size_t(e) * n_responses;
        Floats depth[vectors_together] = {};
        for (int m = 0; m < t.n_materials; ++m)
            for (int k = 0; k < vectors_together; ++k)
                depth[k] += mu[m] * load(areal + m * pixels_together + k * lanes);
        for (int k = 0; k < vectors_together; ++k) {
            const Floats left = passed(depth[k]);
            for (int r = 0; r < n_responses; ++r) sums[r][k] += weights[r] * left;
        }
    }
    for (int r = 0; r < n_responses; ++r)
        for (int k = 0; k < vectors_together; ++k) store(image + r * pixels_together + k * lanes, sums[r][k]);
}

template <int n_responses>
inline void transmit(const NerpTransmission& t, int count, Stretch& stretch) {
    for (int i = 0; i < count; i += vectors_together * lanes)
        transmit_vectors<n_responses>(t, stretch.areal[0] + i, stretch.image[0] + i);
}

// All variants of `count` pixels, at most `pixels_together`, of a view.
inline void transmission(const NerpTransmission& t, int view, int64_t pixel, int count) {
    Stretch stretch;
    for (int variant = 0; variant < t.n_variants; ++variant) {
        for (int m = 0; m < t.n_materials; ++m) {
            const float* const from = t.areal + (size_t(view) * t.n_groups * t.n_materials + m) * t.n_pixels + pixel;
            const float* const scales = t.scales + size_t(variant) * t.n_groups;
            weigh_groups(from, t.n_materials * t.n_pixels, scales, t.n_groups, count, stretch.areal[m]);
        }
        if (t.n_responses == 1) transmit<1>(t, count, stretch);
        if (t.n_responses == 2) transmit<2>(t, count, stretch);
        if (t.n_responses == 3) transmit<3>(t, count, stretch);
        if (t.n_responses == 4) transmit<4>(t, count, stretch);
        for (int r = 0; r < t.n_responses; ++r) {
            const size_t channel = (size_t(view) * t.n_variants + variant) * t.n_responses + r;
            std::memcpy(t.image + channel * t.n_pixels + pixel, stretch.image[r], count * sizeof(float));
        }
    }
}

}  // namespace NERP_ISA
}  // namespace nerp
