"""What a CT is made of, voxel by voxel, and how much of each material every ray meets."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from nerp.arguments import tensor_of
from nerp.camera import Camera
from nerp.errors import GeometryError
from nerp.projection.backends import knots
from nerp.projection.backends.knots import CODES_PER_SLOT, MOST_SLOTS
from nerp.projection.dispatch import choose_backend
from nerp.projection.integrals import as_images
from nerp.volume import as_affine


@dataclass(frozen=True)
class MaterialVolume:
    """Densities of several materials on a grid, each a piecewise linear function of one number a voxel.

    That number, the code, is a place between knots: 2.25 lies a quarter of the way from knot 2 to knot 3. Voxels of
    one slot share the densities at the knots; slots add up to groups, of which a projection gives one image each.

    Args:
        codes:     (D, H, W) from 0 to N - 1, floating point.
        densities: (S, N, M) g/cm³ of M materials at N knots in S slots, >= 0.
        affine:    (4, 4) float64, from voxel index to world mm.
        materials: M names.
        groups:    G names.
        group_map: (D, H, W) slot of each voxel, 0 to S - 1; None where there is but one.
        group_of:  S places in `groups`, of each slot; left out where slots are groups.

    Raises:
        GeometryError: shapes that do not fit, codes or slots out of range, or negative densities.
    """

    codes: Tensor
    densities: Tensor
    affine: Tensor
    materials: tuple[str, ...]
    groups: tuple[str, ...] = ("body",)
    group_map: Tensor | None = None
    group_of: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for name in ("codes", "densities"):
            object.__setattr__(self, name, tensor_of(f"material {name}", getattr(self, name)))
        object.__setattr__(self, "affine", as_affine(self.affine))
        object.__setattr__(self, "group_of", tuple(self.group_of) or tuple(range(len(self.groups))))
        self._check_shapes()
        self._check_values()

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxel counts (D, H, W)."""
        depth, height, width = self.codes.shape
        return depth, height, width

    @cached_property
    def packed(self) -> Tensor:
        """(D, H, W) codes that carry their slots, as the backends read them; differentiable in the codes."""
        return self.codes if self.group_map is None else self.codes + CODES_PER_SLOT * self.group_map.to(self.codes)

    def densities_g_per_cm3(self) -> Tensor:
        """(M, D, H, W) densities of the materials in each voxel, g/cm³; differentiable in codes and densities."""
        slots = None if self.group_map is None else self.group_map.long()
        return knots.interpolate(self.codes, self.densities, slots)

    def to(self, device: torch.device | str) -> MaterialVolume:
        """The same volume with its tensors on a device; the affine stays on the CPU."""
        slots = None if self.group_map is None else self.group_map.to(device)
        tensors = self.codes.to(device), self.densities.to(device), self.affine
        return MaterialVolume(*tensors, self.materials, self.groups, slots, self.group_of)

    def _check_shapes(self) -> None:
        n_slots, n_knots, n_materials = self.densities.shape if self.densities.ndim == 3 else (0, 0, 0)
        found = f"codes {tuple(self.codes.shape)}, densities {tuple(self.densities.shape)}"
        named = f"{len(self.materials)} materials, {len(self.group_of)} slots in {len(self.groups)} groups"
        fits = n_materials == len(self.materials) and n_slots == len(self.group_of) <= MOST_SLOTS
        if self.codes.ndim != 3 or not 2 <= n_knots < CODES_PER_SLOT or not fits:
            wanted = f"expected (D, H, W) and (slots, 2 to {CODES_PER_SLOT - 1} knots, materials)"
            raise GeometryError(f"{found} for {named}; {wanted}, and at most {MOST_SLOTS} slots")
        if any(not 0 <= group < len(self.groups) for group in self.group_of):
            raise GeometryError(f"slots belong to groups {self.group_of}; expected 0 to {len(self.groups) - 1}")
        if self.group_map is not None and self.group_map.shape != self.codes.shape:
            raise GeometryError(f"{found}, slots {tuple(self.group_map.shape)}; expected those of the codes")
        if self.group_map is None and n_slots > 1:
            raise GeometryError(f"{n_slots} slots and no group_map; expected a slot for each voxel")

    def _check_values(self) -> None:
        _check_range("codes", self.codes, self.densities.shape[1] - 1)
        if self.group_map is not None:
            _check_range("slots", self.group_map, len(self.group_of) - 1)
        if not bool((self.densities >= 0).all()):
            raise GeometryError(f"densities reach {float(self.densities.min()):g} g/cm³; expected 0 or more")


def project_materials(materials: MaterialVolume, camera: Camera, *, backend: str = "auto") -> Tensor:
    """How much of every material lies on each ray, for every group, from one traversal.

    The rays are those of `siddon` with the same camera, and so are the integrals, of each density by itself.

    Args:
        materials: M materials in G groups.
        camera:    B views of (H, W) pixels.
        backend:   `auto`, `reference`, `cpu` or `cuda`. On `cuda` each density is integrated by itself.

    Returns:
        (B, G M, H, W) g/cm², the materials of a group together; float32, or float64 of float64 codes. Differentiable
        in the densities at the knots, in the codes, and in the camera.

    Source: Siddon 1985, Med. Phys. 12(2):252-255, with the lengths gathered by code.
    """
    kernels = choose_backend(backend, materials.codes)
    rays = kernels.cast_rays(camera, materials.affine, materials.shape)
    per_mm = materials.densities.to(materials.codes.device) / 10
    groups, n_groups = list(materials.group_of), len(materials.groups)
    return as_images(kernels.areal_densities(materials.packed, per_mm, groups, n_groups, rays), camera)


def _check_range(what: str, values: Tensor, most: int) -> None:
    if not values.numel():
        return
    low, high = (float(end) for end in torch.aminmax(values.detach()))
    if not (low >= 0 and high <= most):
        raise GeometryError(f"{what} of the materials run from {low:g} to {high:g}; expected 0 to {most}")
