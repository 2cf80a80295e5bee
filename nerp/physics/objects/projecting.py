"""Shadows of objects: path lengths at the image's own resolution, areal densities, masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nerp.camera import Camera
from nerp.errors import UsageError
from nerp.physics.attenuation import composition, mass_attenuation_cm2_per_g
from nerp.physics.objects.crossing import Stretches, View, cross, union_lengths, united
from nerp.physics.objects.placed import Part, PlacedObject
from nerp.physics.objects.solids import solids_of

DRR_KEV = 70.0
"""Energy at which a DRR's attenuation is stated, that of `nerp.volume.attenuation`."""
TOUCH_MM = 1e-3
"""A shorter path is what rounding leaves of a hole."""


@dataclass(frozen=True)
class ObjectImages:
    """What objects put in the way of a beam.

    Args:
        lengths_mm:                (B, N, H, W) float32 path through each object, mm.
        materials:                 the M materials that they are made of, sorted.
        areal_density_g_per_cm2:   (B, M, H, W) float32 mass in the way of each material, g/cm².
    """

    lengths_mm: Tensor
    materials: tuple[str, ...]
    areal_density_g_per_cm2: Tensor

    def attenuation(self, energy_kev: float = DRR_KEV) -> Tensor:
        """(B, 1, H, W) line integrals at one energy, unitless, to be added to those of `siddon`."""
        energies = torch.tensor([energy_kev], dtype=torch.float64, device="cpu")
        shares = [float(mass_attenuation_cm2_per_g(name, energies)) for name in self.materials]
        weights = torch.tensor(shares, dtype=torch.float32, device=self.areal_density_g_per_cm2.device)
        return torch.einsum("bmhw,m->bhw", self.areal_density_g_per_cm2, weights)[:, None]


def project_objects(objects: Sequence[PlacedObject], camera: Camera, *, samples: int = 1) -> Tensor:
    """Path length through each object along every pixel's ray: those rays that `siddon` follows.

    Chains of capsules, discs and plates are crossed exactly, in float64; where shapes of one part overlap their union
    counts once, and holes are taken out.

    Args:
        objects: N, world mm.
        camera:  B views of (H, W) pixels.
        samples: rays along each side of a pixel, their mean is taken: 1 is the pixel's middle; 3 gives a wire that is
                 thinner than a pixel its right mass.

    Returns:
        (B, N, H, W) mm, float32, on the camera's device. Differentiable in the camera, but for what makes a solid
        appear on a ray.

    Raises:
        UsageError: no sample.
    """
    return project_object_materials(objects, camera, samples=samples).lengths_mm


def project_object_materials(objects: Sequence[PlacedObject], camera: Camera, *, samples: int = 1) -> ObjectImages:
    """Path lengths as `project_objects`, and the mass of each material in the way, found at once.

    The tissue or air that an object displaces is neglected: it stays in the CT. For the thin things here that is some
    hundredths of g/cm².

    Args:
        objects: N, world mm.
        camera:  B views of (H, W) pixels.
        samples: rays along each side of a pixel, their mean is taken.

    Returns:
        Images on the camera's device, mm and g/cm².

    Raises:
        UsageError: no sample.
    """
    if samples < 1:
        raise UsageError(f"samples is {samples}; expected at least 1 ray a pixel")
    parts = [(number, part) for number, one in enumerate(objects) for part in one.parts]
    materials = tuple(sorted({part.material for _, part in parts}))
    views = [View(camera[number].to("cpu", torch.float64), samples) for number in range(len(camera))]
    lengths, masses = zip(*(_of_view(parts, len(objects), materials, view) for view in views), strict=True)
    device = camera.source.device
    return ObjectImages(torch.stack(lengths).to(device), materials, torch.stack(masses).to(device))


def _of_view(
    parts: list[tuple[int, Part]], n_objects: int, materials: tuple[str, ...], view: View
) -> tuple[Tensor, Tensor]:
    """(N, H, W) mm and (M, H, W) g/cm² of one view."""
    groups = [shapes for _, part in parts for shapes in (part.solids, part.holes)]
    height, width = view.camera.shape
    n_pixels = height * width
    images = [torch.zeros(n * n_pixels, dtype=torch.float32, device="cpu") for n in (n_objects, len(materials))]
    solids = solids_of(groups)
    if solids:
        found = united([cross(family, view) for family in solids])
        part, pixel, length = _part_lengths(found, view, n_pixels)
        owner, material, weight = _tables(parts, materials)
        images[0] = images[0].index_add(0, owner[part] * n_pixels + pixel, length.float())
        mass = length * weight[part]
        images[1] = images[1].index_add(0, material[part] * n_pixels + pixel, mass.float())
    lengths, masses = (image.clamp(min=0.0).view(-1, height, width) for image in images)
    return lengths, masses


def _part_lengths(found: Stretches, view: View, n_pixels: int) -> tuple[Tensor, Tensor, Tensor]:
    """Numbers of parts and pixels, and lengths to be added there, mm: of solids and holes united, less the holes'."""
    n_each = view.samples**2
    n_rays = n_pixels * n_each
    part, is_hole = found.owners.div(2, rounding_mode="floor"), found.owners.remainder(2) == 1
    keys = part * n_rays + found.rays
    whole = union_lengths(keys, found.enter, found.leave)
    hole = union_lengths(keys[is_hole], found.enter[is_hole], found.leave[is_hole])
    keys = torch.cat([whole[0], hole[0]])
    lengths = torch.cat([whole[1], -hole[1]]) / n_each
    pixel = keys.remainder(n_rays).div(n_each, rounding_mode="floor")
    return keys.div(n_rays, rounding_mode="floor"), pixel, lengths


def _tables(parts: list[tuple[int, Part]], materials: tuple[str, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """Of each part: its object, its material, and g/cm² a mm."""
    numbers = torch.tensor(
        [(owner, materials.index(part.material)) for owner, part in parts], dtype=torch.int64, device="cpu"
    )
    densities = [composition(part.material).density_g_per_cm3 / 10.0 for _, part in parts]
    return numbers[:, 0], numbers[:, 1], torch.tensor(densities, dtype=torch.float64, device="cpu")


def object_masks(lengths_mm: Tensor, *, least_mm: float = TOUCH_MM) -> Tensor:
    """Which pixels show each object.

    Args:
        lengths_mm: (B, N, H, W) from `project_objects`.
        least_mm:   a path has to be longer; the default shows all that is touched.

    Returns:
        (B, N, H, W) bool.
    """
    return lengths_mm > least_mm


def check_seen(objects: Sequence[PlacedObject], lengths_mm: Tensor) -> None:
    """Refuse objects that no pixel of a view shows.

    Args:
        objects:    N.
        lengths_mm: (B, N, H, W) from `project_objects`.

    Raises:
        UsageError: one of them is outside the field; the message names it.
    """
    seen = object_masks(lengths_mm).flatten(2).any(dim=2).all(dim=0)
    for one, is_seen in zip(objects, seen.tolist(), strict=True):
        if not is_seen:
            height, width = lengths_mm.shape[2:]
            raise UsageError(
                f"object {one.name!r} lies outside the field: none of {height} x {width} pixels sees it; "
                "move it, or widen the field of view"
            )
