// exp(-x), and 1 - exp(-x) to float accuracy for every x, small ones included.
#pragma once

#include "simd.h"

namespace nerp {
namespace NERP_ISA {

// exp(-x) = power (1 + part): with -x = n ln 2 + r, power is 2^n and part exp(r) - 1. NaN stays NaN.
struct Exponential {
    Floats power, part;
};

HOT Exponential exponential(Floats x) {
    const Floats limit = broadcast(87.0f);  // exp(-87) is the last normal float
    x = x > limit ? limit : x;
    x = x < -limit ? -limit : x;
    const Floats rounder = broadcast(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer
    const Floats shifted = x * -1.44269504f + rounder;
    const Floats n = shifted - rounder;
    Floats r = -x - n * 0.693359375f;
    r = r + n * 2.12194440e-4f;
    Floats p = broadcast(1.0f / 5040);
    p = p * r + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * (r * r) + r;
    const Ints exponent = (Ints)shifted << 23;  // the rounder's own bits leave at the top
    const Floats power = (Floats)(exponent + (127 << 23));
    return {power, p};
}

// exp(-x) - 1 = power part + (power - 1), exact in its second term, so that nothing cancels at small
// x, where n = 0.
HOT Floats absorbed(Floats x) {
    const Exponential e = exponential(x);
    return (1.0f - e.power) - e.power * e.part;
}

HOT Floats passed(Floats x) {
    const Exponential e = exponential(x);
    return e.power + e.power * e.part;
}

}  // namespace NERP_ISA
}  // namespace nerp
