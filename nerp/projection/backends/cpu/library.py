"""The compiled kernels: where they are, why they may be missing, and what crosses their C interface."""

import ctypes
import math
import os
from collections.abc import Sequence
from ctypes import Structure, byref, c_char_p, c_double, c_float, c_int, c_int32, c_int64, c_void_p
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nerp.errors import GeometryError

ABI = 8
"""`NERP_ABI` of `native/task.h`, whose structures are repeated below."""

BUILD = "the compiled kernels are not built; install g++ or clang++, then reinstall nerp"
STALE = "the compiled kernels are of another version of nerp; install it again"


class Scene(Structure):
    """`NerpScene` of `native/task.h`: a grid, and the rays of a batch of images through it."""

    _fields_ = [
        ("shape", c_int32 * 3),
        ("n_volumes", c_int32),
        ("n_views", c_int32),
        ("rows", c_int32),
        ("columns", c_int32),
        ("threads", c_int32),
        ("start", c_void_p),
        ("direction", c_void_p),
        ("length_mm", c_void_p),
    ]


class RayGradient(Structure):
    """`NerpRayGradient`: three float64 tensors laid out as the rays are, or null."""

    _fields_ = [("start", c_void_p), ("direction", c_void_p), ("length_mm", c_void_p)]


class CameraBatch(Structure):
    """`NerpCamera`: cameras whose rays are to be cast through a grid."""

    _fields_ = [
        ("shape", c_int32 * 3),
        ("n_views", c_int32),
        ("rows", c_int32),
        ("columns", c_int32),
        ("threads", c_int32),
        ("to_index", c_double * 12),
        ("source", c_void_p),
        ("centre", c_void_p),
        ("right", c_void_p),
        ("down", c_void_p),
    ]


class March(Structure):
    """`NerpMarch`: the fields, and how they are sampled."""

    _fields_ = [("n_samples", c_int32), ("per_sample", c_int32), ("matter", c_void_p), ("opacity", c_void_p)]


class MarchGradient(Structure):
    """`NerpMarchGradient`: the finished image, its gradient, and where the results go."""

    _fields_ = [
        ("image", c_void_p),
        ("grad_image", c_void_p),
        ("grad_matter", c_void_p),
        ("grad_opacity", c_void_p),
        ("rays", RayGradient),
    ]


class Labels(Structure):
    """`NerpLabels`: the channel of every label value, -1 for none."""

    _fields_ = [("lowest", c_int32), ("table_size", c_int32), ("n_channels", c_int32), ("table", c_void_p)]


class Materials(Structure):
    """`NerpMaterials`: the densities at the knots of every slot, and the group that each slot counts for."""

    _fields_ = [
        ("n_slots", c_int32),
        ("n_groups", c_int32),
        ("n_materials", c_int32),
        ("group_of", c_void_p),
        ("densities", c_void_p),
    ]


class Blocks(Structure):
    """`NerpBlocks`: voxels, and how many of them make a block."""

    _fields_ = [("shape", c_int32 * 3), ("factor", c_int32 * 3), ("threads", c_int32)]


class Transmission(Structure):
    """`NerpTransmission`: areal densities, and what passes them at each energy."""

    _fields_ = [
        ("n_views", c_int32),
        ("n_variants", c_int32),
        ("n_groups", c_int32),
        ("n_materials", c_int32),
        ("n_energies", c_int32),
        ("n_responses", c_int32),
        ("threads", c_int32),
        ("n_pixels", c_int64),
        ("areal", c_void_p),
        ("scales", c_void_p),
        ("mu", c_void_p),
        ("weights", c_void_p),
        ("image", c_void_p),
    ]


SIGNATURES = {
    "nerp_march": (c_void_p, c_void_p, c_void_p),
    "nerp_march_backward": (c_void_p, c_void_p, c_void_p),
    "nerp_siddon": (c_void_p, c_int, c_void_p, c_void_p),
    "nerp_siddon_ahead": (c_void_p, c_int, c_int, c_void_p, c_void_p),
    "nerp_siddon_hu": (c_void_p, c_void_p, c_float, c_void_p),
    "nerp_siddon_to_volume": (c_void_p, c_int, c_void_p, c_void_p),
    "nerp_siddon_to_rays": (c_void_p, c_int, c_void_p, c_void_p, c_void_p),
    "nerp_label_lengths": (c_void_p, c_int, c_void_p, c_void_p, c_void_p),
    "nerp_byte_label_lengths": (c_void_p, c_int, c_void_p, c_void_p, c_void_p),
    "nerp_materials": (c_void_p, c_void_p, c_void_p, c_void_p),
    "nerp_mean_densities": (c_void_p, c_void_p, c_void_p, c_void_p),
    "nerp_transmission": (c_void_p,),
    "nerp_cast_rays": (c_void_p, c_void_p),
    "nerp_cast_rays_backward": (c_void_p, c_void_p, c_void_p),
    "nerp_choose_isa": (c_char_p,),
    "nerp_transport": (c_void_p, c_void_p, c_void_p, c_void_p),
    "nerp_fast_scatter": (c_void_p, c_void_p, c_void_p, c_void_p),
    "nerp_scatter_angles": (c_void_p, c_int, c_int, c_double, c_void_p, c_void_p),
}


@cache
def load() -> ctypes.CDLL | str:
    """The library, or the reason why there is none."""
    beside = Path(__file__).parent
    built = [path for suffix in EXTENSION_SUFFIXES if (path := beside / f"_kernels{suffix}").exists()]
    if not built:
        return BUILD
    try:
        library = ctypes.CDLL(os.fspath(built[0]))
    except OSError as reason:
        return f"the compiled kernels do not load: {reason}"
    if _abi(library) != ABI:
        return STALE
    for name, arguments in SIGNATURES.items():
        getattr(library, name).argtypes = arguments
    library.nerp_isa.restype = c_char_p
    return library


def _abi(library: ctypes.CDLL) -> int | None:
    """Which structures a library expects; None of one that does not say."""
    try:
        return library.nerp_abi()
    except AttributeError:
        return None


def missing() -> str | None:
    """Why the compiled kernels cannot run here, or None where they can."""
    library = load()
    return library if isinstance(library, str) else None


def instruction_set() -> str:
    """The instruction set in use: `baseline`, `avx2` or `avx512`."""
    return _loaded().nerp_isa().decode()


def choose_instruction_set(name: str) -> bool:
    """Use the kernels of `name` from now on; False, and no change, where this processor lacks it."""
    return bool(_loaded().nerp_choose_isa(name.encode()))


def call(name: str, *arguments: Structure | int | float | None) -> None:
    """Run a kernel.

    Args:
        name:      one of `SIGNATURES`.
        arguments: its structures, numbers, and addresses from `floats`, `doubles` and `ints`.

    Raises:
        MemoryError: the kernel found no memory for its own buffers.
    """
    if getattr(_loaded(), name)(*map(_plain, arguments)):
        raise MemoryError(f"{name} ran out of memory")


def _loaded() -> ctypes.CDLL:
    found = load()
    assert not isinstance(found, str), found
    return found


def _plain(argument: Structure | int | float | None) -> Any:
    return byref(argument) if isinstance(argument, Structure) else argument


def zeros(*shape: int) -> Tensor:
    """Float32 zeros, (*shape,), that cost nothing until a kernel adds to them: the system hands out clear pages."""
    return torch.from_numpy(np.zeros(shape, np.float32))


def floats(tensor: Tensor, *shape: int) -> int | None:
    """Where the float32 numbers of a tensor lie.

    Args:
        tensor: of any shape with as many numbers as `shape`.
        shape:  that the kernel walks over; errors as `address`.
    """
    return address(tensor, torch.float32, shape)


def doubles(tensor: Tensor, *shape: int) -> int | None:
    """Where the float64 numbers of a tensor lie.

    Args:
        tensor: of any shape with as many numbers as `shape`.
        shape:  that the kernel walks over; errors as `address`.
    """
    return address(tensor, torch.float64, shape)


def ints(tensor: Tensor, *shape: int) -> int | None:
    """Where the int32 numbers of a tensor lie.

    Args:
        tensor: of any shape with as many numbers as `shape`.
        shape:  that the kernel walks over; errors as `address`.
    """
    return address(tensor, torch.int32, shape)


def address(tensor: Tensor, dtype: torch.dtype, shape: Sequence[int]) -> int | None:
    """Where the numbers of a tensor lie, once it is proven to be what a kernel will take it for.

    Args:
        tensor: of any shape with as many numbers as `shape`.
        dtype:  that the kernel reads or writes.
        shape:  that the kernel walks over.

    Returns:
        The address; null of an empty tensor.

    Raises:
        GeometryError: another type, number of numbers or device, or numbers that do not lie one after another.
    """
    expected = math.prod(shape)
    is_dense = tensor.layout == torch.strided and tensor.is_contiguous()
    if tensor.dtype != dtype or tensor.numel() != expected or tensor.device.type != "cpu" or not is_dense:
        kind = f"{tensor.dtype} {tuple(tensor.shape)} on {tensor.device.type}{'' if is_dense else ', not contiguous'}"
        raise GeometryError(
            f"a compiled kernel was given {kind}; expected {expected} contiguous {dtype} numbers on the cpu"
        )
    return tensor.data_ptr() if expected else None


def scene(shape: Sequence[int], rays: Sequence[Tensor], image_shape: Sequence[int], *, n_volumes: int = 1) -> Scene:
    """A grid and the rays through it.

    Args:
        shape:       (D, H, W) voxels.
        rays:        starts and directions (F, R, 3), and lengths_mm (F, R), float64, dense.
        image_shape: (H, W) of the images that the rays fill, those of one volume together.
        n_volumes:   volumes in the batch.
    """
    rows, columns = image_shape
    n_rays = rays[2].numel()
    if rows < 1 or columns < 1 or n_rays % (rows * columns):
        raise GeometryError(f"{n_rays} rays fill no images of {rows} x {columns} pixels; give the images' own shape")
    counts = (n_volumes, n_rays // (rows * columns), rows, columns, torch.get_num_threads())
    return Scene((c_int32 * 3)(*shape), *counts, *ray_addresses(rays, n_rays))


def ray_addresses(rays: Sequence[Tensor], n_rays: int) -> list[int | None]:
    """Where the numbers of rays, or of gradients laid out as they are, lie.

    Args:
        rays:   starts and directions (F, R, 3), and lengths_mm (F, R), float64, dense.
        n_rays: F times R.
    """
    starts, directions, lengths_mm = rays
    return [doubles(starts, n_rays, 3), doubles(directions, n_rays, 3), doubles(lengths_mm, n_rays)]
