"""Marching: emission attenuated by extinction, gathered along each ray in registers.

The backward kernel walks the ray again from the source. With x_i = opacity_i step, the light R_i
that comes from behind sample i is the finished pixel less what was met so far, and

    dI/dmatter_i = T_i alpha_i,   dI/dx_i = T_{i+1} matter_i - R_i,

so that a ray needs to remember nothing but its pixel. Where the opacity is alpha itself,
dI/dalpha_i = T_i matter_i - R_i / (1 - alpha_i), which an opaque sample makes 0 / 0: what lies
behind such a sample is then marched once more. That is rare, and at most a few times on a ray,
for no light comes through after them.
"""

import triton
import triton.language as tl

from nerp.projection.backends.cuda.cells import (
    blend,
    cell_at,
    empty_cell,
    give,
    hand_over,
    read_cell,
    slope,
    strides_of,
)
from nerp.projection.backends.cuda.rays import (
    NUMBERS,
    dot,
    largest,
    plus,
    ray_of,
    rays_of_tile,
    scaled,
    write_vector,
    zeros_of,
)

OPAQUE = tl.constexpr(0.01)
"""Below this transmission of one sample, dividing by it costs more digits than float32 can spare."""


@triton.jit
def absorbed(depth):
    """1 - exp(-depth), also where it is tiny: by its series, twelve terms in float64 and seven in float32.

    Source: the Taylor series of the exponential, by Horner's scheme.
    """
    TERMS: tl.constexpr = 13 if depth.dtype == tl.float64 else 8
    series = 1.0
    for k in tl.static_range(TERMS, 1, -1):
        series = 1.0 - depth * (1.0 / k) * series
    return tl.where(tl.abs(depth) < 0.25, depth * series, 1.0 - tl.exp(-depth))


@triton.jit
def alpha_of(opacity, step_mm, PER_SAMPLE: tl.constexpr):
    """What a sample absorbs of the light that reaches it, 0 to 1."""
    return tl.where(step_mm > 0, opacity, 0.0) if PER_SAMPLE else absorbed(opacity * step_mm)


@triton.jit
def _point(ray, i, step_mm):
    """Midpoint of step i."""
    return plus(ray[0], scaled(ray[1], (i + 0.5) * step_mm))


@triton.jit
def composite(fields, ray, shape, first, n_samples, PER_SAMPLE: tl.constexpr):
    """Light of the samples from number `first` on, with nothing before them."""
    length_mm = ray[2]
    step_mm, strides = length_mm / n_samples, strides_of(shape)
    light = zeros_of(length_mm)
    passed = light + 1.0
    last = tl.full(length_mm.shape, -1, tl.int32)
    emitting, absorbing = empty_cell(light), empty_cell(light)
    for i in range(-largest(-first), n_samples):
        voxel, fractions, _free = cell_at(_point(ray, i, step_mm), shape)
        moved = (voxel != last) & (length_mm > 0)
        emitting = read_cell(fields[0] + voxel, strides, moved, emitting, length_mm.dtype)
        absorbing = read_cell(fields[1] + voxel, strides, moved, absorbing, length_mm.dtype)
        last = voxel
        alpha = tl.where(i < first, 0.0, alpha_of(blend(absorbing, fractions), step_mm, PER_SAMPLE))
        stopped = passed * alpha
        light += stopped * blend(emitting, fractions)
        passed -= stopped
    return light


@triton.jit(do_not_specialize=NUMBERS)
def march_forward(
    matter, opacity, starts, directions, lengths_mm, image, shape, n_samples, n_rays, columns,
    PER_SAMPLE: tl.constexpr, BLOCK: tl.constexpr, TILE_COLUMNS: tl.constexpr,
):  # fmt: skip
    """Light of one tile of the rays of one field (grid: tiles, fields).

    Dense arrays: matter and opacity (F, D, H, W), the latter in 1/mm or alpha; starts and directions
    (F, R, 3) in voxels and voxels per mm; lengths_mm and image (F, R). `shape` is (D, H, W), `columns`
    a detector's pixels in a row.
    """
    number, real = rays_of_tile(n_rays, columns, BLOCK, TILE_COLUMNS)
    field = tl.program_id(1).to(tl.int64)
    number += field * n_rays
    first_voxel = field * shape[0] * shape[1] * shape[2]
    ray = ray_of(starts, directions, lengths_mm, number, real)
    # A tile that misses the volume starts behind its last sample.
    first = tl.where(largest(ray[2]) > 0, 0, n_samples) + tl.full([BLOCK], 0, tl.int32)
    fields = matter + first_voxel, opacity + first_voxel
    light = composite(fields, ray, shape, first, n_samples, PER_SAMPLE)
    tl.store(image + number, light, mask=real)


@triton.jit
def _by_depth(fields, ray, shape, i, n_samples, at, PER_SAMPLE: tl.constexpr):
    """Derivative of the pixel by the depth of sample i, or by its alpha if PER_SAMPLE."""
    passed, alpha, emission, behind = at
    result = passed * (1.0 - alpha) * emission - behind
    if PER_SAMPLE:
        through = 1.0 - alpha
        opaque = tl.abs(through) < OPAQUE
        beyond = tl.where(opaque, 0.0, behind / tl.where(opaque, 1.0, through))
        if largest((opaque & (passed != 0)).to(tl.int32)) > 0:
            first = i + 1 + tl.full(alpha.shape, 0, tl.int32)
            beyond = tl.where(opaque, passed * composite(fields, ray, shape, first, n_samples, PER_SAMPLE), beyond)
        result = passed * emission - beyond
    return result


@triton.jit
def _walk_again(
    fields, gradients, ray, shape, n_samples, weight, behind,
    PER_SAMPLE: tl.constexpr, FIELDS: tl.constexpr, RAYS: tl.constexpr,
):  # fmt: skip
    """Adds to the gradients of the fields; returns sums over the samples for those of the rays.

    The sums are of dI/dpoint, of (i + 1/2) dI/dpoint, and of opacity dI/ddepth.
    """
    zero = zeros_of(ray[2])
    step_mm, strides, hit = ray[2] / n_samples, strides_of(shape), ray[2] > 0
    passed, last = zero + 1.0, tl.full(zero.shape, -1, tl.int32)
    emitting, absorbing = empty_cell(zero), empty_cell(zero)
    for_matter, for_opacity = empty_cell(zero), empty_cell(zero)
    by_points, by_places, by_depths = (zero, zero, zero), (zero, zero, zero), zero
    for i in range(tl.where(largest(ray[2]) > 0, n_samples, 0)):
        voxel, fractions, free = cell_at(_point(ray, i, step_mm), shape)
        moved = (voxel != last) & hit
        if FIELDS:
            for_matter = hand_over(gradients[0] + last, strides, moved & (last >= 0), for_matter)
            for_opacity = hand_over(gradients[1] + last, strides, moved & (last >= 0), for_opacity)
        emitting = read_cell(fields[0] + voxel, strides, moved, emitting, zero.dtype)
        absorbing = read_cell(fields[1] + voxel, strides, moved, absorbing, zero.dtype)
        last = voxel
        emission, extinction = blend(emitting, fractions), blend(absorbing, fractions)
        alpha = alpha_of(extinction, step_mm, PER_SAMPLE)
        stopped = passed * alpha
        behind -= stopped * emission
        at = passed, alpha, emission, behind
        by_depth = weight * _by_depth(fields, ray, shape, i, n_samples, at, PER_SAMPLE)
        passed -= stopped
        by_emission, by_extinction = weight * stopped, by_depth if PER_SAMPLE else by_depth * step_mm
        if FIELDS:
            for_matter = give(for_matter, by_emission, fractions)
            for_opacity = give(for_opacity, by_extinction, fractions)
        if RAYS:
            uphill = scaled(slope(emitting, fractions, free), by_emission)
            by_point = plus(uphill, scaled(slope(absorbing, fractions, free), by_extinction))
            by_points, by_places = plus(by_points, by_point), plus(by_places, scaled(by_point, i + 0.5))
            by_depths += by_depth * extinction
    if FIELDS:
        hand_over(gradients[0] + last, strides, hit & (last >= 0), for_matter)
        hand_over(gradients[1] + last, strides, hit & (last >= 0), for_opacity)
    return by_points, by_places, by_depths


@triton.jit(do_not_specialize=NUMBERS)
def march_backward(
    upstream, image, matter, opacity, starts, directions, lengths_mm,
    to_matter, to_opacity, to_starts, to_directions, to_lengths_mm, shape, n_samples, n_rays, columns,
    PER_SAMPLE: tl.constexpr, FIELDS: tl.constexpr, RAYS: tl.constexpr,
    BLOCK: tl.constexpr, TILE_COLUMNS: tl.constexpr,
):  # fmt: skip
    """Gradients of one tile of the rays of one field (grid: tiles, fields); FIELDS and RAYS say which are wanted.

    Dense arrays, those of `march_forward`, and: upstream and image (F, R); to_matter and to_opacity
    (F, D, H, W), to_starts and to_directions (F, R, 3), to_lengths_mm (F, R), empty where not wanted.
    """
    number, real = rays_of_tile(n_rays, columns, BLOCK, TILE_COLUMNS)
    field = tl.program_id(1).to(tl.int64)
    number += field * n_rays
    first_voxel = field * shape[0] * shape[1] * shape[2]
    ray = ray_of(starts, directions, lengths_mm, number, real)
    weight = tl.load(upstream + number, mask=real, other=0.0)
    behind = tl.load(image + number, mask=real, other=0.0)
    fields = matter + first_voxel, opacity + first_voxel
    gradients = to_matter + first_voxel, to_opacity + first_voxel
    by_points, by_places, by_depths = _walk_again(
        fields, gradients, ray, shape, n_samples, weight, behind, PER_SAMPLE, FIELDS, RAYS
    )
    if RAYS:
        # Sample i lies at start + (i + 1/2) step direction, with step = length / n_samples.
        by_step = dot(by_places, ray[1])
        if not PER_SAMPLE:
            by_step += by_depths
        write_vector(to_starts, number, real, by_points)
        write_vector(to_directions, number, real, scaled(by_places, ray[2] / n_samples))
        tl.store(to_lengths_mm + number, by_step / n_samples, mask=real)
