// Trilinear lookup of two fields at once, and its transpose.
//
// The fields lie interleaved (m, o) with one replicated voxel around them, so that the clamp at the
// border costs nothing and one 16-byte load brings (m0, o0, m1, o1), two voxels along w of both.
#pragma once

#include "simd.h"

namespace nerp {
namespace NERP_ISA {

// Strides in floats of the padded, interleaved grid; voxel (0, 0, 0) of the volume is (1, 1, 1) here.
struct Padded {
    int stride_d, stride_h;
};

// The cells that hold the lanes' sample points.
struct Cells {
    alignas(64) int32_t at[lanes];  // float offset of the cell's first corner
    Floats d, h, w;                 // position inside the cell, 0 to 1
};

// Four vectors whose quads are rays become four vectors with one number of every ray, and back.
HOT void transpose(Floats* v) {
    const Floats a = low_pairs(v[0], v[1]), b = high_pairs(v[0], v[1]);
    const Floats c = low_pairs(v[2], v[3]), d = high_pairs(v[2], v[3]);
    v[0] = low_halves(a, c);
    v[1] = high_halves(a, c);
    v[2] = low_halves(b, d);
    v[3] = high_halves(b, d);
}

struct Sample {
    Floats matter, opacity;
};

template <int j>
HOT Floats interpolate_plane(const Padded& grid, const float* fields, const Cells& cells) {
    const Floats d = spread<j>(cells.d), h = spread<j>(cells.h);
    const Places at = places<j>(cells.at);
    const float* const further = fields + grid.stride_d;
    const Floats near = lerp(load_quads(fields, at), load_quads(further, at), d);
    const Floats far = lerp(load_quads(fields + grid.stride_h, at), load_quads(further + grid.stride_h, at), d);
    return lerp(near, far, h);
}

HOT Sample sample(const Padded& grid, const float* fields, const Cells& cells) {
    Floats v[4] = {interpolate_plane<0>(grid, fields, cells), interpolate_plane<1>(grid, fields, cells),
                   interpolate_plane<2>(grid, fields, cells), interpolate_plane<3>(grid, fields, cells)};
    transpose(v);
    return {lerp(v[0], v[2], cells.w), lerp(v[1], v[3], cells.w)};
}

// A sample with the slopes of both fields along d, h, w, per voxel.
struct SlopedSample {
    Sample value, along_d, along_h, along_w;
};

template <int j>
HOT void slope_plane(const Padded& grid, const float* fields, const Cells& cells, Floats* value, Floats* along_d,
                        Floats* along_h) {
    const Floats d = spread<j>(cells.d), h = spread<j>(cells.h);
    const Places at = places<j>(cells.at);
    const float* const further = fields + grid.stride_d;
    const Floats a = load_quads(fields, at), b = load_quads(fields + grid.stride_h, at);
    const Floats near_d = load_quads(further, at) - a;
    const Floats far_d = load_quads(further + grid.stride_h, at) - b;
    const Floats near = a + d * near_d;
    *along_h = b + d * far_d - near;
    *along_d = lerp(near_d, far_d, h);
    *value = near + h * *along_h;
}

HOT Sample lerp_pair(Floats* v, Floats w) {
    transpose(v);
    return {lerp(v[0], v[2], w), lerp(v[1], v[3], w)};
}

HOT SlopedSample sample_slopes(const Padded& grid, const float* fields, const Cells& cells) {
    Floats v[4], along_d[4], along_h[4];
    slope_plane<0>(grid, fields, cells, v, along_d, along_h);
    slope_plane<1>(grid, fields, cells, v + 1, along_d + 1, along_h + 1);
    slope_plane<2>(grid, fields, cells, v + 2, along_d + 2, along_h + 2);
    slope_plane<3>(grid, fields, cells, v + 3, along_d + 3, along_h + 3);
    SlopedSample s;
    s.value = lerp_pair(v, cells.w);
    s.along_w = {v[2] - v[0], v[3] - v[1]};
    s.along_d = lerp_pair(along_d, cells.w);
    s.along_h = lerp_pair(along_h, cells.w);
    return s;
}

template <int j>
HOT void scatter_plane(const Padded& grid, float* gradient, const Cells& cells, Floats v) {
    const Floats far_h = v * spread<j>(cells.h), near_h = v - far_h, d = spread<j>(cells.d);
    const Floats far_near = near_h * d, far_far = far_h * d;
    const Places at = places<j>(cells.at);
    add_quads(gradient, at, near_h - far_near);
    add_quads(gradient + grid.stride_h, at, far_h - far_far);
    add_quads(gradient + grid.stride_d, at, far_near);
    add_quads(gradient + grid.stride_d + grid.stride_h, at, far_far);
}

// The transpose of `sample`: spreads one number per field and lane over the eight corners.
HOT void scatter(const Padded& grid, float* gradient, const Cells& cells, const Sample& g) {
    const Floats matter_far = g.matter * cells.w, opacity_far = g.opacity * cells.w;
    Floats v[4] = {g.matter - matter_far, g.opacity - opacity_far, matter_far, opacity_far};
    transpose(v);
    scatter_plane<0>(grid, gradient, cells, v[0]);
    scatter_plane<1>(grid, gradient, cells, v[1]);
    scatter_plane<2>(grid, gradient, cells, v[2]);
    scatter_plane<3>(grid, gradient, cells, v[3]);
}

}  // namespace NERP_ISA
}  // namespace nerp
