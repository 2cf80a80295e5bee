// What the kernels are made of, with nothing else to do: measures the machine's limits.
#pragma once

#include "simd.h"
#include "task.h"

namespace nerp {
namespace NERP_ISA {

// Visits `window` floats, a power of two of them, in hops that share no cache line.
struct Hops {
    int32_t last;
    Ints at;

    explicit Hops(int32_t window) : last(window - 1), at{} {
        for (int lane = 0; lane < lanes; ++lane) at[lane] = lane * 52 & last;
    }
    HOT Ints next() { return at = (at + 836) & last; }
};

template <typename Act>
HOT void at_places(Ints offsets, Act act) {
    alignas(64) int32_t at[lanes];
    store(at, offsets);
    keep_in_memory(at);
    act(0, places<0>(at)), act(1, places<1>(at)), act(2, places<2>(at)), act(3, places<3>(at));
}

template <typename Act>
HOT float repeat(int64_t rounds, Act act) {
    Floats sum[12];
    for (int k = 0; k < 12; ++k) sum[k] = broadcast(float(k));  // all different, lest the compiler keep but one
    for (int64_t i = 0; i < rounds; ++i) act(sum);
    float total = 0;
    for (const Floats& part : sum)
        for (int lane = 0; lane < lanes; ++lane) total += part[lane];
    return total;
}

// Repeats one exercise, and returns a number that depends on all of it.
inline float exercise(int32_t kind, float* data, int32_t window, int64_t rounds) {
    Hops hops(window);
    const Floats one = broadcast(data[0]);
    switch (kind) {
        case NERP_LOOKUPS:
            return repeat(rounds, [&](Floats* sum) ALWAYS { sum[0] += gather(data, hops.next()); });
        case NERP_PAIR_LOOKUPS:
            return repeat(rounds, [&](Floats* sum) ALWAYS {
                at_places(hops.next(), [&](int j, const Places& at) ALWAYS { sum[j] += load_quads(data, at); });
            });
        case NERP_ADDITIONS:
            return repeat(rounds, [&](Floats*) ALWAYS { scatter_add(data, hops.next(), one); });
        case NERP_PAIR_ADDITIONS:
            return repeat(rounds, [&](Floats*) ALWAYS {
                at_places(hops.next(), [&](int, const Places& at) ALWAYS { add_quads(data, at, one); });
            });
        case NERP_MULTIPLY_ADDS:
            return repeat(rounds, [&](Floats* sum) ALWAYS {
                for (int k = 0; k < 12; ++k) sum[k] = sum[k] * one + one;
            });
        default:
            return repeat(rounds, [&](Floats* sum) ALWAYS {
                for (int32_t i = 0; i < window; i += 4 * lanes)
                    for (int k = 0; k < 4; ++k) sum[k] += load(data + i + k * lanes);
            });
    }
}

}  // namespace NERP_ISA
}  // namespace nerp
