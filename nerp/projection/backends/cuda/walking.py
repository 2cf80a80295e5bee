"""Exact path lengths: a ray steps from one voxel face to the next, whichever axis comes first.

The path to a face is computed from the face's number each time, not summed up, so that rounding
does not grow along the ray.
"""

import triton
import triton.language as tl

from nerp.projection.backends.cuda.rays import NUMBERS, largest, ray_of, rays_of_tile, write_vector, zeros_of

PARALLEL = tl.constexpr(1e-12)
"""Voxels per mm below which a ray never meets the faces across an axis."""


@triton.jit
def _axis_of(start, direction):
    """The voxel a ray begins in, which way it climbs, its first face, and the path per voxel (0: none)."""
    still = tl.abs(direction) < PARALLEL
    climb = tl.where(direction > 0, 1, -1)
    per_voxel = tl.where(still, 0.0, 1.0 / tl.where(still, 1.0, direction))
    voxel = tl.floor(start + 0.5).to(tl.int32)
    return voxel, climb, per_voxel


@triton.jit
def begin(ray, shape):
    """State of the walk at the rays' starts, and the steps after which all rays of the tile have ended."""
    start, direction, length_mm = ray
    voxel_d, climb_d, per_d = _axis_of(start[0], direction[0])
    voxel_h, climb_h, per_h = _axis_of(start[1], direction[1])
    voxel_w, climb_w, per_w = _axis_of(start[2], direction[2])
    faces = tl.abs(tl.floor(start[0] + direction[0] * length_mm + 0.5).to(tl.int32) - voxel_d)
    faces += tl.abs(tl.floor(start[1] + direction[1] * length_mm + 0.5).to(tl.int32) - voxel_h)
    faces += tl.abs(tl.floor(start[2] + direction[2] * length_mm + 0.5).to(tl.int32) - voxel_w)
    # Rounding may add one face to each axis; the last segment ends at no face.
    n_steps = largest(tl.where(length_mm > 0, faces + 4, 0))
    voxel = _inside(voxel_d, shape[0]), _inside(voxel_h, shape[1]), _inside(voxel_w, shape[2])
    return voxel, (climb_d, climb_h, climb_w), (per_d, per_h, per_w), n_steps


@triton.jit
def _inside(voxel, size):
    return tl.minimum(tl.maximum(voxel, 0), size - 1)


@triton.jit
def number_of(voxel, shape):
    """Flat number of a voxel; a last sliver beyond the grid, which is rounding, counts to the outer voxel."""
    row = _inside(voxel[0], shape[0]) * shape[1] + _inside(voxel[1], shape[1])
    return row * shape[2] + _inside(voxel[2], shape[2])


@triton.jit
def _face_mm(voxel, climb, per_voxel, start):
    """Path at which a ray leaves its voxel along one axis."""
    return tl.where(per_voxel == 0, float("inf"), (voxel + 0.5 * climb - start) * per_voxel)


@triton.jit
def leave(ray, voxel, climb, per_voxel):
    """Path at which each ray leaves its voxel or ends, and whether it does so across d, h or w."""
    start, _direction, length_mm = ray
    face_d = _face_mm(voxel[0], climb[0], per_voxel[0], start[0])
    face_h = _face_mm(voxel[1], climb[1], per_voxel[1], start[1])
    face_w = _face_mm(voxel[2], climb[2], per_voxel[2], start[2])
    nearest = tl.minimum(tl.minimum(face_d, face_h), face_w)
    onwards = nearest < length_mm
    across_d = onwards & (face_d == nearest)
    across_h = onwards & (face_h == nearest) & ~across_d
    return tl.minimum(nearest, length_mm), (across_d, across_h, onwards & ~across_d & ~across_h)


@triton.jit
def enter(voxel, climb, across):
    """The voxel behind the face."""
    voxel_d = voxel[0] + tl.where(across[0], climb[0], 0)
    voxel_h = voxel[1] + tl.where(across[1], climb[1], 0)
    return voxel_d, voxel_h, voxel[2] + tl.where(across[2], climb[2], 0)


@triton.jit(do_not_specialize=NUMBERS)
def siddon_forward(
    values, starts, directions, lengths_mm, integrals, shape, n_rays, columns,
    BLOCK: tl.constexpr, TILE_COLUMNS: tl.constexpr,
):  # fmt: skip
    """Integrals of one tile of rays through one channel (grid: tiles, channels).

    Dense arrays: values (C, D, H, W) in 1/mm; starts and directions (R, 3) in voxels and voxels per mm;
    lengths_mm (R); integrals (C, R). `shape` is (D, H, W), `columns` a detector's pixels in a row.
    """
    number, real = rays_of_tile(n_rays, columns, BLOCK, TILE_COLUMNS)
    channel = tl.program_id(1).to(tl.int64)
    values += channel * shape[0] * shape[1] * shape[2]
    ray = ray_of(starts, directions, lengths_mm, number, real)
    voxel, climb, per_voxel, n_steps = begin(ray, shape)
    before_mm = zeros_of(ray[2])
    total = before_mm
    for _step in range(n_steps):
        after_mm, across = leave(ray, voxel, climb, per_voxel)
        path_mm = tl.maximum(after_mm - before_mm, 0.0)
        value = tl.load(values + number_of(voxel, shape), mask=path_mm > 0, other=0.0).to(total.dtype)
        total += path_mm * value
        before_mm = tl.maximum(after_mm, before_mm)
        voxel = enter(voxel, climb, across)
    tl.store(integrals + channel * n_rays + number, total, mask=real)


@triton.jit
def _by_face(sums, across, jump, per_voxel):
    """Adds what a shift of each axis's faces does to the integral."""
    sum_d = sums[0] - tl.where(across[0], jump * per_voxel[0], 0.0)
    sum_h = sums[1] - tl.where(across[1], jump * per_voxel[1], 0.0)
    return sum_d, sum_h, sums[2] - tl.where(across[2], jump * per_voxel[2], 0.0)


@triton.jit(do_not_specialize=NUMBERS)
def siddon_backward(
    upstream, values, starts, directions, lengths_mm, to_values, to_starts, to_directions, to_lengths_mm,
    shape, n_rays, columns,
    VALUES: tl.constexpr, RAYS: tl.constexpr, BLOCK: tl.constexpr, TILE_COLUMNS: tl.constexpr,
):  # fmt: skip
    """Gradients of one tile of rays through one channel (grid: tiles, channels).

    Dense arrays, those of `siddon_forward`, and: upstream (C, R); to_values (C, D, H, W), to_starts and
    to_directions (C, R, 3), to_lengths_mm (C, R), empty where not wanted.

    A face at path t = (face - start) / direction between the values v and v' moves the integral
    by (v - v') dt, with dt = -dstart / direction - t ddirection / direction.

    Source: Leibniz's rule for an integral whose parts end at moving faces.
    """
    number, real = rays_of_tile(n_rays, columns, BLOCK, TILE_COLUMNS)
    channel = tl.program_id(1).to(tl.int64)
    first_voxel = channel * shape[0] * shape[1] * shape[2]
    ray = ray_of(starts, directions, lengths_mm, number, real)
    voxel, climb, per_voxel, n_steps = begin(ray, shape)
    weight = tl.load(upstream + channel * n_rays + number, mask=real, other=0.0)
    before_mm = zeros_of(ray[2])
    value = before_mm
    by_start, by_direction = (value, value, value), (value, value, value)
    across = (before_mm > 0, before_mm > 0, before_mm > 0)
    for _step in range(n_steps):
        going = before_mm < ray[2]
        after_mm, ahead = leave(ray, voxel, climb, per_voxel)
        here = first_voxel + number_of(voxel, shape)
        if VALUES:
            path_mm = tl.maximum(after_mm - before_mm, 0.0)
            tl.atomic_add(to_values + here, path_mm * weight, mask=path_mm > 0, sem="relaxed")
        if RAYS:
            next_value = tl.load(values + here, mask=going, other=0.0).to(weight.dtype)
            jump = tl.where(going, value - next_value, 0.0)
            by_start = _by_face(by_start, across, jump, per_voxel)
            by_direction = _by_face(by_direction, across, jump * before_mm, per_voxel)
            value = tl.where(going, next_value, value)
        before_mm = tl.maximum(after_mm, before_mm)
        voxel, across = enter(voxel, climb, ahead), ahead
    if RAYS:
        ray_number = channel * n_rays + number
        by_start = by_start[0] * weight, by_start[1] * weight, by_start[2] * weight
        by_direction = by_direction[0] * weight, by_direction[1] * weight, by_direction[2] * weight
        write_vector(to_starts, ray_number, real, by_start)
        write_vector(to_directions, ray_number, real, by_direction)
        tl.store(to_lengths_mm + ray_number, value * weight, mask=real)
