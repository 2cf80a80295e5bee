// What the kernels are made of, with nothing else to do: measures how fast a machine is at each kind of work.
//
// Compiled with the vector vocabulary of the projection kernels and the flags of the instruction set in
// use. Each exported function repeats one kind of work on `window` floats, a power of two of them, and
// 16 floats beyond; it returns a number that depends on all that was read.
#include "simd.h"
#include "task.h"

namespace nerp {
namespace NERP_ISA {

// Visits the window in hops that share no cache line.
struct Hops {
    int32_t last;
    Ints at;

    explicit Hops(int32_t window) : last(window - 1), at{} {
        for (int lane = 0; lane < lanes; ++lane) at[lane] = lane * 52 & last;
    }
    HOT Ints next() { return at = (at + 836) & last; }
};

inline float total(Floats sums) {
    float all = 0;
    for (int lane = 0; lane < lanes; ++lane) all += sums[lane];
    return all;
}

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
    Floats sum[12], all{};
    for (int k = 0; k < 12; ++k) sum[k] = broadcast(float(k));  // all different, lest the compiler keep but one
    for (int64_t i = 0; i < rounds; ++i)
        for (int k = 0; k < 12; ++k) sum[k] = sum[k] * factor + factor;
    for (const Floats& part : sum) all += part;
    return all;
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

}  // namespace NERP_ISA
}  // namespace nerp

using namespace nerp::NERP_ISA;

// How many floats each function handles at a time.
NERP_API int vector_lanes() { return lanes; }

// A vector of single floats in each round.
NERP_API float lookups(float* data, int32_t window, int64_t rounds) {
    return total(look_up(data, Hops(window), rounds));
}

// A vector of 16-byte pairs of voxels in each round.
NERP_API float pair_lookups(float* data, int32_t window, int64_t rounds) {
    return total(look_up_pairs(data, Hops(window), rounds));
}

// The first float added to a vector of others in each round.
NERP_API float additions(float* data, int32_t window, int64_t rounds) {
    add(data, Hops(window), broadcast(data[0]), rounds);
    return 0;
}

// The same to a vector of pairs.
NERP_API float pair_additions(float* data, int32_t window, int64_t rounds) {
    add_pairs(data, Hops(window), broadcast(data[0]), rounds);
    return 0;
}

// Twelve vectors multiplied and added in each round.
NERP_API float arithmetic(float* data, int32_t, int64_t rounds) {
    return total(multiply_and_add(broadcast(data[0]), rounds));
}

// The whole window in order in each round.
NERP_API float reading(float* data, int32_t window, int64_t rounds) { return total(read(data, window, rounds)); }
