// Four lanes in plain GCC/Clang vector code: the x86-64 baseline (SSE2), ARM64 (NEON), and others.
#pragma once

namespace nerp {
namespace NERP_ISA {

#if defined(__clang__)
#define NERP_SHUFFLE(a, b, i, j, k, l) __builtin_shufflevector(a, b, i, j, k, l)
#else
#define NERP_SHUFFLE(a, b, i, j, k, l) __builtin_shuffle(a, b, Ints{i, j, k, l})
#endif

// One bit a lane, from masks of all ones or zeros.
HOT uint32_t bits(Ints mask) { return (mask[0] & 1) | (mask[1] & 2) | (mask[2] & 4) | (mask[3] & 8); }

HOT Floats gather(const float* base, Ints at) { return Floats{base[at[0]], base[at[1]], base[at[2]], base[at[3]]}; }

// Whole numbers narrower than a lane.
template <typename Whole>
HOT Ints gather(const Whole* base, Ints at) {
    return Ints{base[at[0]], base[at[1]], base[at[2]], base[at[3]]};
}

template <int j>
HOT Floats spread(Floats v) {
    return NERP_SHUFFLE(v, v, j, j, j, j);
}

HOT Floats load_quads(const float* base, const Places& p) { return load(base + p.at[0]); }

HOT void add_quads(float* base, const Places& p, Floats v) { store(base + p.at[0], load(base + p.at[0]) + v); }

HOT Floats low_pairs(Floats a, Floats b) { return NERP_SHUFFLE(a, b, 0, 4, 1, 5); }
HOT Floats high_pairs(Floats a, Floats b) { return NERP_SHUFFLE(a, b, 2, 6, 3, 7); }
HOT Floats low_halves(Floats a, Floats b) { return NERP_SHUFFLE(a, b, 0, 1, 4, 5); }
HOT Floats high_halves(Floats a, Floats b) { return NERP_SHUFFLE(a, b, 2, 3, 6, 7); }

}  // namespace NERP_ISA
}  // namespace nerp
