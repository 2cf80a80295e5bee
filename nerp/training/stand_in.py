"""Radiographs for a run that is given none: phantoms behind a film.

They come from a fixed pipeline that differs from the DRR: other patients than the CTs, scatter, a
film curve, edge enhancement and noise. They are a stand-in, and say so in a file beside them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from nerp.camera import chest_camera
from nerp.display import display_image
from nerp.files import replacing, write_text
from nerp.phantom import LUNG_LABELS, OBSCURING_LABELS, thorax
from nerp.projection import MaskRule, obscuring_tissue, project_mask, siddon
from nerp.randomness import stream
from nerp.volume import attenuation

STAND_IN_NOTE = "STAND-IN.txt"
"""File beside stand-ins that says what they are."""

_OTHER_SEEDS = 1_000_000
_NOTE = """These images are NOT radiographs of people. They are a stand-in, so that training can be
tried without data: phantoms (other seeds than the CTs'), rendered by a fixed pipeline with scatter,
a film curve, edge enhancement and noise. Give data.radiographs_dir to train on real ones.
"""


@dataclass(frozen=True)
class Film:
    """The stand-in's fixed pipeline.

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
    folder: Path, *, count: int, seed: int, spacing_mm: float, shape: tuple[int, int], advance: Callable[[], None]
) -> None:
    """Write stand-ins and their lung masks as `images/` and `masks/` of a folder, with a note of what they are."""
    write_text(folder / STAND_IN_NOTE, _NOTE)
    for index in range(count):
        name = f"stand-in-{seed + index:04d}.png"
        if not (folder / "masks" / name).exists():
            image, mask = stand_in(seed + index, spacing_mm=spacing_mm, shape=shape)
            _write_png(folder / "images" / name, image)
            _write_png(folder / "masks" / name, mask)
        advance()


def stand_in(seed: int, *, spacing_mm: float, shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Stand-in radiograph of the phantom `_OTHER_SEEDS + seed`, (H, W) 0 to 1, and its visible lung fields, 0 or 1."""
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
    grain = torch.randn(curve.shape, generator=stream(seed, 0, "grain"))
    return display_image(curve + film.noise * grain)[0, 0], mask[0, 0].float()


def blurred(images: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of (B, 1, H, W), `sigma` in pixels, borders repeated."""
    reach = math.ceil(3 * sigma)
    offsets = torch.arange(-reach, reach + 1, dtype=images.dtype)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = kernel / kernel.sum()
    padded = functional.pad(images, (reach,) * 4, mode="replicate")
    rows = functional.conv2d(padded, kernel.view(1, 1, 1, -1))
    return functional.conv2d(rows, kernel.view(1, 1, -1, 1))


def _write_png(path: Path, values: Tensor) -> None:
    from PIL import Image

    with replacing(path) as temporary:
        Image.fromarray((values * 255).round().to(torch.uint8).numpy()).save(temporary)
