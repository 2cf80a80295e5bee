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

// Hops and sums are plain local variables, since compilers keep arrays and what lambdas refer to in
// memory: a loop would then wait for its own sums instead of the work that it measures.
HOT Floats look_up(const float* data, Hops hops, int64_t rounds) {
    Floats sum{};
    for (int64_t i = 0; i < rounds; ++i) sum += gather(data, hops.next());
    return sum;
}

HOT Floats look_up_pairs(const float* data, Hops hops, int64_t rounds) {
    Floats a{}, b{}, c{}, d{};
    for (int64_t i = 0; i < rounds; ++i) {
        alignas(64) int32_t at[lanes];
        store(at, hops.next());
        keep_in_memory(at);
        a += load_quads(data, places<0>(at)), b += load_quads(data, places<1>(at));
        c += load_quads(data, places<2>(at)), d += load_quads(data, places<3>(at));
    }
    return (a + b) + (c + d);
}

HOT void add(float* data, Hops hops, Floats amount, int64_t rounds) {
    for (int64_t i = 0; i < rounds; ++i) scatter_add(data, hops.next(), amount);
}

HOT void add_pairs(float* data, Hops hops, Floats amount, int64_t rounds) {
    for (int64_t i = 0; i < rounds; ++i) {
        alignas(64) int32_t at[lanes];
        store(at, hops.next());
        keep_in_memory(at);
        add_quads(data, places<0>(at), amount), add_quads(data, places<1>(at), amount);
        add_quads(data, places<2>(at), amount), add_quads(data, places<3>(at), amount);
    }
}

HOT Floats multiply_and_add(Floats factor, int64_t rounds) {
    Floats sum[12], total{};
    for (int k = 0; k < 12; ++k) sum[k] = broadcast(float(k));  // all different, lest the compiler keep but one
    for (int64_t i = 0; i < rounds; ++i)
        for (int k = 0; k < 12; ++k) sum[k] = sum[k] * factor + factor;
    for (const Floats& part : sum) total += part;
    return total;
}

HOT Floats read(const float* data, int32_t window, int64_t rounds) {
    Floats a{}, b{}, c{}, d{};
    for (int64_t i = 0; i < rounds; ++i)
        for (const float* from = data; from < data + window; from += 4 * lanes) {
            a += load(from), b += load(from + lanes);
            c += load(from + 2 * lanes), d += load(from + 3 * lanes);
        }
    return (a + b) + (c + d);
}

// Repeats one exercise, and returns a number that depends on all that was read.
inline float exercise(int32_t kind, float* data, int32_t window, int64_t rounds) {
    const Hops hops(window);
    const Floats amount = broadcast(data[0]);
    Floats sum{};
    if (kind == NERP_LOOKUPS) sum = look_up(data, hops, rounds);
    if (kind == NERP_PAIR_LOOKUPS) sum = look_up_pairs(data, hops, rounds);
    if (kind == NERP_ADDITIONS) add(data, hops, amount, rounds);
    if (kind == NERP_PAIR_ADDITIONS) add_pairs(data, hops, amount, rounds);
    if (kind == NERP_MULTIPLY_ADDS) sum = multiply_and_add(amount, rounds);
    if (kind == NERP_READING) sum = read(data, window, rounds);
    float total = 0;
    for (int lane = 0; lane < lanes; ++lane) total += sum[lane];
    return total;
}

}  // namespace NERP_ISA
}  // namespace nerp
