// Sixteen lanes with AVX-512 (F, DQ).
#pragma once

namespace nerp {
namespace NERP_ISA {

// One bit a lane, from masks of all ones or zeros.
HOT uint32_t bits(Ints mask) { return _mm512_movepi32_mask((__m512i)mask); }

// Plain loads, though there is an instruction for it: its microcode waits for one cache miss after
// another, where plain loads miss together.
HOT __m128 gather_quad(const float* base, const int32_t* at) {
    return _mm_setr_ps(base[at[0]], base[at[1]], base[at[2]], base[at[3]]);
}

HOT Floats gather(const float* base, Ints offsets) {
    alignas(64) int32_t at[lanes];
    store(at, offsets);
    keep_in_memory(at);
    const __m256 low = _mm256_set_m128(gather_quad(base, at + 4), gather_quad(base, at));
    const __m256 high = _mm256_set_m128(gather_quad(base, at + 12), gather_quad(base, at + 8));
    return _mm512_insertf32x8(_mm512_castps256_ps512(low), high, 1);
}

template <typename Whole>
HOT __m128i gather_quad(const Whole* base, const int32_t* at) {
    return _mm_setr_epi32(base[at[0]], base[at[1]], base[at[2]], base[at[3]]);
}

// Whole numbers narrower than a lane.
template <typename Whole>
HOT Ints gather(const Whole* base, Ints offsets) {
    alignas(64) int32_t at[lanes];
    store(at, offsets);
    keep_in_memory(at);
    const __m256i low = _mm256_set_m128i(gather_quad(base, at + 4), gather_quad(base, at));
    const __m256i high = _mm256_set_m128i(gather_quad(base, at + 12), gather_quad(base, at + 8));
    return (Ints)_mm512_inserti32x8(_mm512_castsi256_si512(low), high, 1);
}

template <int j>
HOT Floats spread(Floats v) {
    return _mm512_permute_ps(v, j * 0x55);
}

HOT Floats load_quads(const float* base, const Places& p) {
    const __m256 low = _mm256_set_m128(_mm_loadu_ps(base + p.at[1]), _mm_loadu_ps(base + p.at[0]));
    const __m256 high = _mm256_set_m128(_mm_loadu_ps(base + p.at[3]), _mm_loadu_ps(base + p.at[2]));
    return _mm512_insertf32x8(_mm512_castps256_ps512(low), high, 1);
}

HOT void add_quad(float* to, __m128 v) { _mm_storeu_ps(to, _mm_loadu_ps(to) + v); }

HOT void add_quads(float* base, const Places& p, Floats v) {
    add_quad(base + p.at[0], _mm512_castps512_ps128(v));
    add_quad(base + p.at[1], _mm512_extractf32x4_ps(v, 1));
    add_quad(base + p.at[2], _mm512_extractf32x4_ps(v, 2));
    add_quad(base + p.at[3], _mm512_extractf32x4_ps(v, 3));
}

HOT Floats low_pairs(Floats a, Floats b) { return _mm512_unpacklo_ps(a, b); }
HOT Floats high_pairs(Floats a, Floats b) { return _mm512_unpackhi_ps(a, b); }
HOT Floats low_halves(Floats a, Floats b) { return _mm512_shuffle_ps(a, b, 0x44); }
HOT Floats high_halves(Floats a, Floats b) { return _mm512_shuffle_ps(a, b, 0xee); }

}  // namespace NERP_ISA
}  // namespace nerp
