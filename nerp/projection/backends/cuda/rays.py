"""Which rays a program carries, and their numbers; one ray a lane."""

import triton
import triton.language as tl

NUMBERS = ("lowest", "n_values", "n_maps", "n_labels", "n_samples", "n_rays", "columns")
"""Arguments of kernels whose values must not cause a compilation of their own."""


@triton.jit
def _larger(one, other):
    return tl.maximum(one, other)


@triton.jit
def largest(values):
    """The largest of all lanes.

    Triton's own tl.max, like tl.zeros and tl.cdiv, is a kernel too, which the interpreter cannot
    call if Triton was imported, by whomever, before it was asked to interpret.
    """
    return tl.reduce(values, 0, _larger)


@triton.jit
def zeros_of(values):
    """Zeros, one a lane as in `values`."""
    return tl.full(values.shape, 0.0, values.dtype)


@triton.jit
def rays_of_tile(n_rays, columns, BLOCK: tl.constexpr, TILE_COLUMNS: tl.constexpr):
    """Numbers of the rays of this program's tile of the detector, and which of them exist.

    Neighbours on the detector read the same voxels, so that a square patch asks the caches for
    less than a strip. Views are stacked: a tile that reaches into the next one is still right.
    """
    tiles_across = (columns + TILE_COLUMNS - 1) // TILE_COLUMNS
    tile, lane = tl.program_id(0), tl.arange(0, BLOCK)
    row = (tile // tiles_across) * (BLOCK // TILE_COLUMNS) + lane // TILE_COLUMNS
    column = (tile % tiles_across) * TILE_COLUMNS + lane % TILE_COLUMNS
    number = row * columns + column
    return number, (column < columns) & (number < n_rays)


@triton.jit
def vector_of(vectors, ray, real):
    """The three numbers of each ray."""
    return (
        tl.load(vectors + 3 * ray, mask=real, other=0.0),
        tl.load(vectors + 3 * ray + 1, mask=real, other=0.0),
        tl.load(vectors + 3 * ray + 2, mask=real, other=0.0),
    )


@triton.jit
def ray_of(starts, directions, lengths_mm, ray, real):
    """Start, direction and length of each lane's ray; lanes beyond the last ray have length 0."""
    length_mm = tl.load(lengths_mm + ray, mask=real, other=0.0)
    return vector_of(starts, ray, real), vector_of(directions, ray, real), length_mm


@triton.jit
def write_vector(to, ray, real, vector):
    """Stores the three numbers of each ray."""
    tl.store(to + 3 * ray, vector[0], mask=real)
    tl.store(to + 3 * ray + 1, vector[1], mask=real)
    tl.store(to + 3 * ray + 2, vector[2], mask=real)


@triton.jit
def scaled(vector, factor):
    """The vector times a number."""
    return vector[0] * factor, vector[1] * factor, vector[2] * factor


@triton.jit
def plus(one, other):
    """The sum of two vectors."""
    return one[0] + other[0], one[1] + other[1], one[2] + other[2]


@triton.jit
def dot(one, other):
    """The scalar product of two vectors."""
    return one[0] * other[0] + one[1] * other[1] + one[2] * other[2]
