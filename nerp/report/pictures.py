"""The pictures of a report: brought to a size, masks as a layer of their own, all lossless and within the page."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from nerp.data.images import png_bytes
from nerp.evaluation.overlap import outline
from nerp.report.parts import Outline, Picture

MASK_COLOURS = ((255, 176, 0), (86, 180, 233), (230, 120, 190), (0, 190, 140), (240, 228, 66), (213, 94, 0))
"""Bright enough for a radiograph's every grey, and told apart by the colour-blind (after Okabe and Ito)."""
FILL = 26
"""Opacity of a mask's inside, of 255."""


@dataclass(frozen=True)
class Encoded:
    """A picture as a page holds it.

    Args:
        image:  data URI.
        mask:   data URI of the layer above it; empty without masks.
        width:  of both, pixels.
        height: likewise.
    """

    image: str
    mask: str
    width: int
    height: int


def encode(picture: Picture, side: int) -> Encoded:
    """A picture and its masks as PNG in data URIs.

    Args:
        picture: any size.
        side:    pixels that its longer side has at most; a larger picture is averaged down to it.
    """
    image = at_most(picture.image, side)
    height, width = image.shape[:2]
    outlines = [Outline(shrunk_mask(one.inside, (height, width)), one.colour) for one in picture.outlines]
    mask = _uri(png_bytes(overlay(outlines))) if outlines else ""
    return Encoded(_uri(png_bytes(image)), mask, width, height)


def _uri(png: bytes) -> str:
    return f"data:image/png;base64,{b64encode(png).decode()}"


def at_most(image: np.ndarray, side: int) -> np.ndarray:
    """An image averaged down, antialiased, so that neither side is longer than wished; smaller ones stay as they are.

    Args:
        image: (H, W) or (H, W, 3) uint8.
        side:  pixels.
    """
    height, width = image.shape[:2]
    if max(height, width) <= side:
        return image
    scale = side / max(height, width)
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    planes = torch.from_numpy(np.ascontiguousarray(image)).float().reshape(height, width, -1).permute(2, 0, 1)[None]
    small = F.interpolate(planes, size=size, mode="bilinear", antialias=True)[0].permute(1, 2, 0)
    return small.round().clamp(0, 255).byte().reshape(*size, *image.shape[2:]).numpy()


def shrunk_mask(inside: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A mask at another size: where most of a pixel is inside.

    Args:
        inside: (H, W) bool.
        shape:  (H, W) wanted, pixels.
    """
    if inside.shape == shape:
        return inside
    plane = torch.from_numpy(np.ascontiguousarray(inside)).float()[None, None]
    return (F.interpolate(plane, size=shape, mode="bilinear", antialias=True)[0, 0] > 0.5).numpy()


def overlay(outlines: Sequence[Outline]) -> np.ndarray:
    """Masks as a layer: edges opaque, insides faint, the rest clear.

    Args:
        outlines: of one shape; at least one.

    Returns:
        (H, W, 4) uint8, red, green, blue and opacity.
    """
    layer = np.zeros((*outlines[0].inside.shape, 4), np.uint8)
    edges = [outline(one.inside) for one in outlines]
    for part, alpha in (([one.inside for one in outlines], FILL), (edges, 255)):
        for one, pixels in zip(outlines, part, strict=True):
            layer[pixels] = (*MASK_COLOURS[one.colour % len(MASK_COLOURS)], alpha)
    return layer


def evenly(count: int, shown: int) -> list[int]:
    """Indices evenly spread over a list, its ends among them.

    Args:
        count: of the list.
        shown: how many are wanted.
    """
    return np.unique(np.linspace(0, count - 1, min(shown, count)).round().astype(int)).tolist() if count else []


def legend(pictures: Iterable[Picture]) -> list[tuple[str, str]]:
    """Each mask's name with its colour, as `#ffb000`, where masks have names.

    Args:
        pictures: whose masks are meant.
    """
    named = {one.name: one.colour for picture in pictures for one in picture.outlines if one.name}
    shades = {name: MASK_COLOURS[colour % len(MASK_COLOURS)] for name, colour in named.items()}
    return [(name, "#{:02x}{:02x}{:02x}".format(*shade)) for name, shade in sorted(shades.items())]
