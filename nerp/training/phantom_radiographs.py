"""Radiographs for a run that is given none: phantoms behind a film.

They come from a fixed pipeline that differs from the DRR: other patients than the CTs, scatter, a
film curve, edge enhancement and noise. A file beside them says so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from nerp.camera import chest_camera
from nerp.data.images import png_bytes
from nerp.devices import SINGLE
from nerp.display import display_image
from nerp.files import write_bytes, write_text
from nerp.phantom import LUNG_LABELS, OBSCURING_LABELS, thorax
from nerp.projection import MaskRule, obscuring_tissue, project_mask, siddon
from nerp.randomness import stream
from nerp.training.loop import Progress
from nerp.volume import attenuation

NOTE, FORMER_NOTE = "PHANTOM.txt", "STAND-IN.txt"
"""File beside phantom radiographs that says what they are; its name in the version before."""

_KINDS = ("images", "masks")
_OTHER_SEEDS = 1_000_000
_NOTE = """These images are NOT radiographs of people. They are phantom radiographs, so that training can be
tried without data: phantoms (other seeds than the CTs'), rendered by a fixed pipeline with scatter,
a film curve, edge enhancement and noise. Give data.radiographs_dir to train on real ones.
"""


@dataclass(frozen=True)
class Film:
    """The fixed pipeline behind a phantom.

    Args:
        exposure:  factor on the attenuation before the film sees it.
        scatter:   scattered part of the mean intensity.
        contrast:  slope of the film's S-curve.
        sharpness: gain of the edge enhancement.
        noise:     standard deviation of the grain, of the displayed range.
    """

    exposure: float = 0.8
    scatter: float = 0.06
    contrast: float = 5.0
    sharpness: float = 1.0
    noise: float = 0.02


def make_radiographs(
    folder: Path,
    *,
    count: int,
    seed: int,
    spacing_mm: float,
    shape: tuple[int, int],
    progress: Progress | None = None,
) -> None:
    """Write phantom radiographs and their lung masks, those that are not there yet, with a note of what they are.

    Args:
        folder:     receives images/ and masks/, PNGs of 8 bit.
        count:      how many.
        seed:       of the first phantom; the others' follow.
        spacing_mm: of the phantoms' voxels, mm.
        shape:      (H, W) of the images.
        progress:   called as progress(done, total).
    """
    is_former = (folder / FORMER_NOTE).is_file()
    if not is_former:
        write_text(folder / NOTE, _NOTE)
    for index in range(count):
        name = f"{'stand-in' if is_former else 'phantom'}-{seed + index:04d}.png"
        if not (folder / "masks" / name).exists():
            for kind, values in zip(_KINDS, phantom_radiograph(seed + index, spacing_mm, shape=shape), strict=True):
                write_bytes(folder / kind / name, png_bytes((values * 255).round().to(torch.uint8).numpy()))
        if progress is not None:
            progress(index + 1, count)


def is_phantom(folder: Path) -> bool:
    """Whether a folder's radiographs were made by `make_radiographs`, of this version or of the one before."""
    return any((folder / note).is_file() for note in (NOTE, FORMER_NOTE))


def phantom_radiograph(seed: int, spacing_mm: float, *, shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """A phantom's radiograph and its visible lung fields.

    Args:
        seed:       of the phantom and of the grain; no phantom of the CTs has its seed.
        spacing_mm: of the phantom's voxels, mm.
        shape:      (H, W) of the image.

    Returns:
        (H, W) display image, 0 to 1, and (H, W) mask, 0 or 1, both float32.
    """
    film, phantom = Film(), thorax(_OTHER_SEEDS + seed, spacing_mm=spacing_mm)
    camera = chest_camera(phantom.ct, "pa", shape=shape)
    depth = siddon(attenuation(phantom.ct), camera)
    obscuring = obscuring_tissue(phantom.labels, LUNG_LABELS, OBSCURING_LABELS)
    mask = project_mask(MaskRule("visible"), phantom.labels, camera, LUNG_LABELS, obscuring=obscuring)
    primary = torch.exp(-film.exposure * depth.float())
    sigma = max(shape) / 64
    density = -torch.log(primary + film.scatter * primary.mean())
    density = density + film.sharpness * (density - blurred(density, sigma))
    curve = torch.sigmoid(film.contrast * (display_image(density) - 0.5))
    grain = torch.randn(curve.shape, generator=stream(seed, 0, "grain"), **SINGLE)
    return display_image(curve + film.noise * grain)[0, 0], mask[0, 0].float()


def blurred(images: Tensor, sigma: float) -> Tensor:
    """Gaussian blur, borders repeated.

    Args:
        images: (B, 1, H, W).
        sigma:  standard deviation, pixels.

    Returns:
        (B, 1, H, W); differentiable in the images.
    """
    reach = math.ceil(3 * sigma)
    offsets = torch.arange(-reach, reach + 1, dtype=images.dtype, device="cpu")
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = kernel / kernel.sum()
    padded = functional.pad(images, (reach,) * 4, mode="replicate")
    rows = functional.conv2d(padded, kernel.view(1, 1, 1, -1))
    return functional.conv2d(rows, kernel.view(1, 1, -1, 1))
