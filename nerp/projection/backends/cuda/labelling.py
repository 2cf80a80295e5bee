"""What each ray has of every label: a label map has long runs, so a run is summed before it is written.

The table of a ray is its own row of the result. One lane alone writes to it, in the order of the
path, so the sums do not depend on timing.
"""

import triton
import triton.language as tl

from nerp.projection.backends.cuda.cells import blend, cell_at, empty_cell, read_cell, strides_of
from nerp.projection.backends.cuda.marching import absorbed
from nerp.projection.backends.cuda.rays import (
    NUMBERS,
    dot,
    largest,
    plus,
    ray_of,
    rays_of_tile,
    scaled,
    vector_of,
    zeros_of,
)
from nerp.projection.backends.cuda.walking import begin, enter, leave, number_of


@triton.jit
def _close_run(table, columns_of, label, run, closing):
    """Adds a run to the column of its label, if that is one of those asked for."""
    column_of, lowest, n_values = columns_of
    value = label - lowest
    known = closing & (run != 0) & (value >= 0) & (value < n_values)
    column = tl.load(column_of + value, mask=known, other=-1)
    tl.atomic_add(table + column, run, mask=known & (column >= 0), sem="relaxed")


@triton.jit
def _extend_run(table, columns_of, label, run, found, amount):
    """Goes on to the label `found` with `amount` more of it; lanes without an amount stay as they are."""
    closing = (found != label) & (amount != 0)
    _close_run(table, columns_of, label, run, closing)
    return tl.where(closing, found, label), tl.where(closing, amount, run + amount)


@triton.jit
def _label_at(maps, voxel, mask):
    return tl.floor(tl.load(maps + voxel, mask=mask, other=0).to(tl.float32) + 0.5).to(tl.int32)


@triton.jit(do_not_specialize=NUMBERS)
def label_lengths(
    maps, starts, directions, lengths_mm, tables, column_of, shape, lowest, n_values, n_maps, n_labels,
    n_rays, columns, BLOCK: tl.constexpr, TILE_COLUMNS: tl.constexpr,
):  # fmt: skip
    """Path of one tile of rays in every label (grid: tiles).

    Dense arrays: maps (M, D, H, W) of integers; starts and directions (R, 3) in voxels and voxels per mm;
    lengths_mm (R); tables (R, K) of zeros; column_of (n_values), the column of each label from `lowest`
    on, or -1. `shape` is (D, H, W), `columns` a detector's pixels in a row.
    """
    number, real = rays_of_tile(n_rays, columns, BLOCK, TILE_COLUMNS)
    ray = ray_of(starts, directions, lengths_mm, number, real)
    table, columns_of = tables + number.to(tl.int64) * n_labels, (column_of, lowest, n_values)
    for _map in range(n_maps):
        voxel, climb, per_voxel, n_steps = begin(ray, shape)
        before_mm = zeros_of(ray[2])
        run, label = before_mm, tl.full([BLOCK], 0, tl.int32)
        for _step in range(n_steps):
            after_mm, across = leave(ray, voxel, climb, per_voxel)
            path_mm = tl.maximum(after_mm - before_mm, 0.0)
            found = _label_at(maps, number_of(voxel, shape), path_mm > 0)
            label, run = _extend_run(table, columns_of, label, run, found, path_mm)
            before_mm = tl.maximum(after_mm, before_mm)
            voxel = enter(voxel, climb, across)
        _close_run(table, columns_of, label, run, real)
        maps += shape[0] * shape[1] * shape[2]


@triton.jit
def _nearest(point, shape):
    """Flat number of the voxel that each point lies in, and whether there is one."""
    d, h, w = tl.floor(point[0] + 0.5), tl.floor(point[1] + 0.5), tl.floor(point[2] + 0.5)
    within = (d >= 0) & (d < shape[0]) & (h >= 0) & (h < shape[1]) & (w >= 0) & (w < shape[2])
    row = tl.where(within, d, 0).to(tl.int32) * shape[1] + tl.where(within, h, 0).to(tl.int32)
    return row * shape[2] + tl.where(within, w, 0).to(tl.int32), within


@triton.jit
def _carried(rows, point):
    """The point in another grid's index coordinates."""
    return dot(rows[0], point) + rows[3][0], dot(rows[1], point) + rows[3][1], dot(rows[2], point) + rows[3][2]


@triton.jit(do_not_specialize=NUMBERS)
def label_weights(
    opacity, maps, carry, starts, directions, lengths_mm, tables, wholes, column_of, shape, map_shape,
    lowest, n_values, n_maps, n_labels, n_samples, n_rays, columns, BLOCK: tl.constexpr, TILE_COLUMNS: tl.constexpr,
):  # fmt: skip
    """Emission weights of one tile of rays by label, and in all (grid: tiles).

    Dense arrays: opacity (D, H, W) in 1/mm; maps (M, d, h, w) of integers; carry (4, 3), three rows of a
    matrix, then the shift; starts and directions (R, 3) in voxels and voxels per mm; lengths_mm (R); tables
    (R, K) and wholes (R) of zeros; column_of (n_values) as in `label_lengths`. `shape` is (D, H, W),
    `map_shape` (d, h, w).
    """
    number, real = rays_of_tile(n_rays, columns, BLOCK, TILE_COLUMNS)
    ray = ray_of(starts, directions, lengths_mm, number, real)
    table, columns_of = tables + number.to(tl.int64) * n_labels, (column_of, lowest, n_values)
    rows = vector_of(carry, 0, True), vector_of(carry, 1, True), vector_of(carry, 2, True), vector_of(carry, 3, True)
    length_mm = ray[2]
    zero, step_mm, strides = zeros_of(length_mm), length_mm / n_samples, strides_of(shape)
    hit, n_steps = length_mm > 0, tl.where(largest(length_mm) > 0, n_samples, 0)
    whole = zero
    for _map in range(n_maps):
        whole, passed, last, absorbing = zero, zero + 1.0, tl.full([BLOCK], -1, tl.int32), empty_cell(zero)
        run, label = zero, tl.full([BLOCK], 0, tl.int32)
        for i in range(n_steps):
            point = plus(ray[0], scaled(ray[1], (i + 0.5) * step_mm))
            voxel, fractions, _free = cell_at(point, shape)
            absorbing = read_cell(opacity + voxel, strides, (voxel != last) & hit, absorbing, zero.dtype)
            last = voxel
            stopped = passed * absorbed(blend(absorbing, fractions) * step_mm)
            passed -= stopped
            whole += stopped
            nearest, within = _nearest(_carried(rows, point), map_shape)
            found = _label_at(maps, nearest, within & hit)
            label, run = _extend_run(table, columns_of, label, run, found, tl.where(within, stopped, 0.0))
        _close_run(table, columns_of, label, run, real)
        maps += map_shape[0] * map_shape[1] * map_shape[2]
    tl.store(wholes + number, whole, mask=real)
