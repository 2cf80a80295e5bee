// Eight lanes with AVX2.
#pragma once

namespace nerp {
namespace NERP_ISA {

// One bit a lane, from masks of all ones or zeros.
HOT uint32_t bits(Ints mask) { return _mm256_movemask_ps((__m256)mask); }

// Plain loads, though there is an instruction for it: its microcode waits for one cache miss after
// another, where plain loads miss together.
HOT __m128 gather_quad(const float* base, const int32_t* at) {
    return _mm_setr_ps(base[at[0]], base[at[1]], base[at[2]], base[at[3]]);
}

HOT Floats gather(const float* base, Ints offsets) {
    alignas(32) int32_t at[lanes];
    store(at, offsets);
    keep_in_memory(at);
    return _mm256_set_m128(gather_quad(base, at + 4), gather_quad(base, at));
}

template <typename Whole>
HOT __m128i gather_quad(const Whole* base, const int32_t* at) {
    return _mm_setr_epi32(base[at[0]], base[at[1]], base[at[2]], base[at[3]]);
}

// Whole numbers narrower than a lane.
template <typename Whole>
HOT Ints gather(const Whole* base, Ints offsets) {
    alignas(32) int32_t at[lanes];
    store(at, offsets);
    keep_in_memory(at);
    return (Ints)_mm256_set_m128i(gather_quad(base, at + 4), gather_quad(base, at));
}

template <int j>
HOT Floats spread(Floats v) {
    return _mm256_permute_ps(v, j * 0x55);
}

HOT Floats load_quads(const float* base, const Places& p) {
    return _mm256_set_m128(_mm_loadu_ps(base + p.at[1]), _mm_loadu_ps(base + p.at[0]));
}

HOT void add_quad(float* to, __m128 v) { _mm_storeu_ps(to, _mm_loadu_ps(to) + v); }

HOT void add_quads(float* base, const Places& p, Floats v) {
    add_quad(base + p.at[0], _mm256_castps256_ps128(v));
    add_quad(base + p.at[1], _mm256_extractf128_ps(v, 1));
}

HOT Floats low_pairs(Floats a, Floats b) { return _mm256_unpacklo_ps(a, b); }
HOT Floats high_pairs(Floats a, Floats b) { return _mm256_unpackhi_ps(a, b); }
HOT Floats low_halves(Floats a, Floats b) { return _mm256_shuffle_ps(a, b, 0x44); }
HOT Floats high_halves(Floats a, Floats b) { return _mm256_shuffle_ps(a, b, 0xee); }

}  // namespace NERP_ISA
}  // namespace nerp
