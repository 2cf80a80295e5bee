"""What each ray has of every label: a label map has long runs, so a run is summed before it is written.

The table of a ray is its own row of the result. One lane alone writes to it, in the order of the
path, so the sums do not depend on timing.
"""

import triton
import triton.language as tl

from nerp.projection.backends.cuda.cells import blend, cell_at, empty_cell, read_cell, strides_of
from nerp.projection.backends.cuda.marching import absorbed
from nerp.projection.backends.cuda.rays import NUMBERS, dot, plus, ray_of, rays_of_tile, scaled, vector_of
from nerp.projection.backends.cuda.walking import begin, enter, leave, number_of


@triton.jit
def _close_run(table, slot, run, closing, n_labels):
    tl.atomic_add(table + slot, run, mask=closing & (slot < n_labels) & (run != 0), sem="relaxed")


@triton.jit
def _extend_run(table, slot, run, next_slot, amount, n_labels):
    """Goes on to `next_slot` with `amount` more of it; what another slot had gathered is written."""
    closing = next_slot != slot
    _close_run(table, slot, run, closing, n_labels)
    return next_slot, tl.where(closing, amount, run + amount)


@triton.jit(do_not_specialize=NUMBERS)
def label_lengths(
    slots, starts, directions, lengths_mm, tables, shape, n_maps, n_labels, n_rays, columns,
    BLOCK: tl.constexpr, TILE_COLUMNS: tl.constexpr,
):  # fmt: skip
    """Path of one tile of rays in every label; tables are (rays, labels) of zeros."""
    number, real = rays_of_tile(n_rays, columns, BLOCK, TILE_COLUMNS)
    ray = ray_of(starts, directions, lengths_mm, number, real)
    table = tables + number.to(tl.int64) * n_labels
    for _map in range(n_maps):
        voxel, climb, per_voxel, n_steps = begin(ray, shape)
        before_mm = tl.zeros_like(ray[2])
        run, slot = before_mm, tl.full([BLOCK], 0, tl.int32) + n_labels
        for _step in range(n_steps):
            after_mm, across = leave(ray, voxel, climb, per_voxel)
            path_mm = tl.maximum(after_mm - before_mm, 0.0)
            found = tl.load(slots + number_of(voxel, shape), mask=path_mm > 0, other=0).to(tl.int32)
            slot, run = _extend_run(table, slot, run, tl.where(path_mm > 0, found, slot), path_mm, n_labels)
            before_mm = tl.maximum(after_mm, before_mm)
            voxel = enter(voxel, climb, across)
        _close_run(table, slot, run, real, n_labels)
        slots += shape[0] * shape[1] * shape[2]


@triton.jit
def _nearest(slots, point, shape, wanted, n_labels):
    """Slot of the voxel that each point lies in; none beyond the map."""
    d, h, w = tl.floor(point[0] + 0.5), tl.floor(point[1] + 0.5), tl.floor(point[2] + 0.5)
    within = (d >= 0) & (d < shape[0]) & (h >= 0) & (h < shape[1]) & (w >= 0) & (w < shape[2]) & wanted
    row = tl.where(within, d, 0).to(tl.int32) * shape[1] + tl.where(within, h, 0).to(tl.int32)
    voxel = row * shape[2] + tl.where(within, w, 0).to(tl.int32)
    return tl.load(slots + voxel, mask=within, other=n_labels).to(tl.int32)


@triton.jit
def _carried(rows, point):
    """The point in another grid's index coordinates."""
    return dot(rows[0], point) + rows[3][0], dot(rows[1], point) + rows[3][1], dot(rows[2], point) + rows[3][2]


@triton.jit(do_not_specialize=NUMBERS)
def label_weights(
    opacity, slots, carry, starts, directions, lengths_mm, tables, wholes, shape, label_shape,
    n_maps, n_labels, n_samples, n_rays, columns, BLOCK: tl.constexpr, TILE_COLUMNS: tl.constexpr,
):  # fmt: skip
    """Emission weights of one tile of rays by label, and in all.

    `carry` has four vectors: three rows of a matrix, then the shift.
    """
    number, real = rays_of_tile(n_rays, columns, BLOCK, TILE_COLUMNS)
    ray = ray_of(starts, directions, lengths_mm, number, real)
    table = tables + number.to(tl.int64) * n_labels
    rows = vector_of(carry, 0, True), vector_of(carry, 1, True), vector_of(carry, 2, True), vector_of(carry, 3, True)
    length_mm = ray[2]
    zero, step_mm, strides = tl.zeros_like(length_mm), length_mm / n_samples, strides_of(shape)
    hit, n_steps = length_mm > 0, tl.where(tl.max(length_mm) > 0, n_samples, 0)
    whole = zero
    for _map in range(n_maps):
        whole, passed, last, dimming = zero, zero + 1.0, tl.full([BLOCK], -1, tl.int32), empty_cell(zero)
        run, slot = zero, tl.full([BLOCK], 0, tl.int32) + n_labels
        for i in range(n_steps):
            point = plus(ray[0], scaled(ray[1], (i + 0.5) * step_mm))
            voxel, shares, _free = cell_at(point, shape)
            dimming = read_cell(opacity + voxel, strides, (voxel != last) & hit, dimming, zero.dtype)
            last = voxel
            stopped = passed * absorbed(blend(dimming, shares) * step_mm)
            passed -= stopped
            whole += stopped
            found = _nearest(slots, _carried(rows, point), label_shape, hit, n_labels)
            slot, run = _extend_run(table, slot, run, found, stopped, n_labels)
        _close_run(table, slot, run, real, n_labels)
        slots += label_shape[0] * label_shape[1] * label_shape[2]
    tl.store(wholes + number, whole, mask=real)
