// The vector vocabulary of the kernels: `lanes` floats at a time, on any instruction set.
//
// This header is compiled once per instruction set (NERP_ISA names it), each time into its own
// namespace, so that the linker can never hand AVX-512 code to a machine without it. For the same
// reason kernels use nothing of the standard library that could be emitted out of line.
//
// A vector also reads as quads: lane 4 g + j is element j of quad g. The marcher lives on this
// double view: memory holds four numbers of one ray side by side, arithmetic wants one number of
// many rays, and `transpose` goes between the two with eight in-register shuffles.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

// A call in the innermost loop would spill every vector register: compilers are not left the choice.
#define ALWAYS __attribute__((always_inline))
#define HOT inline ALWAYS

namespace nerp {
namespace NERP_ISA {

#if defined(__AVX512F__)
constexpr int lanes = 16;
#elif defined(__AVX2__)
constexpr int lanes = 8;
#else
constexpr int lanes = 4;
#endif
constexpr int quads = lanes / 4;

typedef float Floats __attribute__((vector_size(4 * lanes)));
typedef int32_t Ints __attribute__((vector_size(4 * lanes)));

HOT Floats broadcast(float x) { return x - Floats{}; }
HOT Ints broadcast(int32_t x) { return x - Ints{}; }

HOT Floats load(const float* from) {
    Floats v;
    std::memcpy(&v, from, sizeof v);
    return v;
}
HOT Ints load(const int32_t* from) {
    Ints v;
    std::memcpy(&v, from, sizeof v);
    return v;
}
HOT void store(float* to, Floats v) { std::memcpy(to, &v, sizeof v); }
HOT void store(int32_t* to, Ints v) { std::memcpy(to, &v, sizeof v); }

// Offsets go to addresses by way of memory: one store and cheap loads. Compilers like to pick lanes
// out of the register instead, which costs the very shuffle slots that the lookups need.
template <typename T>
HOT void keep_in_memory(T& array) {
    asm volatile("" : "+m"(array));
}

// Offsets of element j of every quad, held in address registers.
struct Places {
    int64_t at[quads];
};

template <int j>
HOT Places places(const int32_t* at) {
    Places p;
    for (int quad = 0; quad < quads; ++quad) p.at[quad] = at[4 * quad + j];
    return p;
}

HOT Ints truncate(Floats v) { return __builtin_convertvector(v, Ints); }
HOT Floats as_floats(Floats v) { return v; }
HOT Floats as_floats(Ints v) { return __builtin_convertvector(v, Floats); }

// b where a is NaN, as the x86 instruction does.
HOT Floats minimum(Floats a, Floats b) { return a < b ? a : b; }
HOT Floats maximum(Floats a, Floats b) { return a > b ? a : b; }
HOT Floats lerp(Floats a, Floats b, Floats t) { return a + t * (b - a); }

}  // namespace NERP_ISA
}  // namespace nerp

#if defined(__AVX512F__)
#include "simd_avx512.h"
#elif defined(__AVX2__)
#include "simd_avx2.h"
#else
#include "simd_portable.h"
#endif

namespace nerp {
namespace NERP_ISA {

// Adds lane by lane, so that lanes at the same place all count.
HOT void scatter_add(float* base, Ints offsets, Floats v) {
    alignas(64) int32_t at[lanes];
    alignas(64) float amount[lanes];
    store(at, offsets);
    store(amount, v);
    keep_in_memory(at);
    keep_in_memory(amount);
    for (int lane = 0; lane < lanes; ++lane) base[at[lane]] += amount[lane];
}

}  // namespace NERP_ISA
}  // namespace nerp
