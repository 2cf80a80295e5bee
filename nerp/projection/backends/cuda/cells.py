"""The eight voxels around a sample: read, blended, and given their part of a gradient.

A ray stays between the same eight voxel centres for several samples. They are therefore kept in
registers, read and written only where a lane has moved on (`mask`).
"""

import triton
import triton.language as tl


@triton.jit
def _locate(position, size):
    """The voxel centre below, the fraction of the one above, and whether the position is between centres."""
    held = tl.minimum(tl.maximum(position, 0.0), size - 1.0)
    below = tl.minimum(tl.floor(held), tl.maximum(size - 2.0, 0.0))
    return below, held - below, (position > 0) & (position < size - 1)


@triton.jit
def cell_at(point, shape):
    """First voxel of the cell that holds each point, fractions of its upper voxels, and where these move.

    Values are constant beyond the outer centres: there the fractions do not follow the point.
    """
    below_d, fraction_d, free_d = _locate(point[0], shape[0])
    below_h, fraction_h, free_h = _locate(point[1], shape[1])
    below_w, fraction_w, free_w = _locate(point[2], shape[2])
    row = below_d.to(tl.int32) * shape[1] + below_h.to(tl.int32)
    first = row * shape[2] + below_w.to(tl.int32)
    return first, (fraction_d, fraction_h, fraction_w), (free_d, free_h, free_w)


@triton.jit
def strides_of(shape):
    """Distances to the upper voxels of a cell; an axis of one voxel has none, and stays."""
    stride_d = tl.where(shape[0] > 1, shape[1] * shape[2], 0)
    stride_h = tl.where(shape[1] > 1, shape[2], 0)
    stride_w = tl.where(shape[2] > 1, 1, 0)
    return stride_d, stride_h, stride_w


@triton.jit
def _four(field, mask, held, next_h, next_w, DTYPE: tl.constexpr):
    return (
        tl.load(field, mask=mask, other=held[0]).to(DTYPE),
        tl.load(field + next_w, mask=mask, other=held[1]).to(DTYPE),
        tl.load(field + next_h, mask=mask, other=held[2]).to(DTYPE),
        tl.load(field + next_h + next_w, mask=mask, other=held[3]).to(DTYPE),
    )


@triton.jit
def read_cell(field, strides, mask, held, DTYPE: tl.constexpr):
    """Both layers of four voxels from pointers to the first; where not `mask`, those held already."""
    near = _four(field, mask, held[0], strides[1], strides[2], DTYPE)
    far = _four(field + strides[0], mask, held[1], strides[1], strides[2], DTYPE)
    return near, far


@triton.jit
def _blend_layer(four, fraction_h, fraction_w):
    first = four[0] + fraction_w * (four[1] - four[0])
    second = four[2] + fraction_w * (four[3] - four[2])
    return first + fraction_h * (second - first)


@triton.jit
def blend(cell, fractions):
    """Trilinear value."""
    near = _blend_layer(cell[0], fractions[1], fractions[2])
    far = _blend_layer(cell[1], fractions[1], fractions[2])
    return near + fractions[0] * (far - near)


@triton.jit
def _slope_layer(four, fraction_h, fraction_w):
    along_h = (four[2] - four[0]) + fraction_w * ((four[3] - four[2]) - (four[1] - four[0]))
    along_w = (four[1] - four[0]) + fraction_h * ((four[3] - four[2]) - (four[1] - four[0]))
    return along_h, along_w


@triton.jit
def slope(cell, fractions, free):
    """Derivative of the trilinear value by the point."""
    near_h, near_w = _slope_layer(cell[0], fractions[1], fractions[2])
    far_h, far_w = _slope_layer(cell[1], fractions[1], fractions[2])
    along_d = _blend_layer(cell[1], fractions[1], fractions[2]) - _blend_layer(cell[0], fractions[1], fractions[2])
    along_h = near_h + fractions[0] * (far_h - near_h)
    along_w = near_w + fractions[0] * (far_w - near_w)
    return tl.where(free[0], along_d, 0.0), tl.where(free[1], along_h, 0.0), tl.where(free[2], along_w, 0.0)


@triton.jit
def _give_layer(four, amount, fraction_h, fraction_w):
    second = amount * fraction_h
    first = amount - second
    return (
        four[0] + (first - first * fraction_w),
        four[1] + first * fraction_w,
        four[2] + (second - second * fraction_w),
        four[3] + second * fraction_w,
    )


@triton.jit
def give(cell, amount, fractions):
    """A cell of gradients with `amount` dealt out by the trilinear weights."""
    far = amount * fractions[0]
    near_four = _give_layer(cell[0], amount - far, fractions[1], fractions[2])
    far_four = _give_layer(cell[1], far, fractions[1], fractions[2])
    return near_four, far_four


@triton.jit
def _add_four(gradient, mask, four, next_h, next_w):
    tl.atomic_add(gradient, four[0], mask=mask, sem="relaxed")
    tl.atomic_add(gradient + next_w, four[1], mask=mask, sem="relaxed")
    tl.atomic_add(gradient + next_h, four[2], mask=mask, sem="relaxed")
    tl.atomic_add(gradient + next_h + next_w, four[3], mask=mask, sem="relaxed")


@triton.jit
def _clear_four(four, mask):
    return (
        tl.where(mask, 0.0, four[0]),
        tl.where(mask, 0.0, four[1]),
        tl.where(mask, 0.0, four[2]),
        tl.where(mask, 0.0, four[3]),
    )


@triton.jit
def hand_over(gradient, strides, mask, cell):
    """Adds a cell of gradients to the volume where `mask`, for lanes of all programs meet there; zeros remain."""
    _add_four(gradient, mask, cell[0], strides[1], strides[2])
    _add_four(gradient + strides[0], mask, cell[1], strides[1], strides[2])
    near = _clear_four(cell[0], mask)
    far = _clear_four(cell[1], mask)
    return near, far


@triton.jit
def empty_cell(zero):
    """Eight voxels of nothing, as `read_cell` gives them."""
    return (zero, zero, zero, zero), (zero, zero, zero, zero)
