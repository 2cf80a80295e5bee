"""How a step's images are shown to the discriminators: whole and in patches, by one law for real and rendered ones."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nerp.networks.settings import DiscriminatorSettings
from nerp.training.adversarial.differentiable_augmentation import STRENGTHS, Looks, changed, sample_looks
from nerp.training.adversarial.discriminator_augmentation import sample_zoom_shift, zoom_shift
from nerp.training.adversarial.drawing import Draws
from nerp.training.adversarial.patches import Windows, cut, patch_side, sample_windows


@dataclass(frozen=True)
class Showing:
    """What was drawn for the B images of one side, P patches of each.

    Args:
        settings:    that it was drawn by.
        zooms:       (B,) of the whole images.
        shifts:      (B, 2) of the whole images, fraction of the side.
        looks:       of the whole images; None where they stay as they are.
        windows:     of the B P patches; None where none are judged.
        patch_looks: of the patches.
    """

    settings: DiscriminatorSettings
    zooms: Tensor
    shifts: Tensor
    looks: Looks | None = None
    windows: Windows | None = None
    patch_looks: Looks | None = None

    def whole(self, images: Tensor) -> Tensor:
        """(B, 1, H, W) as the discriminator sees (B, 1, H, W) in 0 to 1; differentiable in the images."""
        moved = zoom_shift(images, self.zooms, self.shifts)
        return moved if self.looks is None else changed(moved, self.looks)

    def patches(self, images: Tensor) -> Tensor:
        """(B P, 1, h, w) as the patch discriminator sees (B, 1, H, W) in 0 to 1; differentiable in the images."""
        assert self.windows is not None  # drawn wherever there is a patch discriminator
        shape, extent = (images.shape[2], images.shape[3]), self.settings.patch_extent
        parts = cut(images, self.windows, patch_side(shape, extent, 2**self.settings.depth))
        return parts if self.patch_looks is None else changed(parts, self.patch_looks)


def draw_showings(settings: DiscriminatorSettings, n: int, draws: Draws, step: int) -> tuple[Showing, Showing]:
    """How the real images of a step are shown, and how the rendered ones.

    Args:
        settings: ranges and counts.
        n:        images of each side, of one process.
        draws:    of the process.
        step:     counted from 1.
    """
    n_all = n * draws.of
    zooms, shifts = sample_zoom_shift(2 * n_all, settings.zoom, settings.shift, draws.stream(step, "zoom_shift"))

    def showing(side: slice, name: str) -> Showing:
        more = _drawn(settings, n_all, draws, step, name)
        return Showing(settings, draws.own(zooms[side]), draws.own(shifts[side]), *more)

    return showing(slice(0, n_all), "real"), showing(slice(n_all, None), "fake")


def _drawn(
    settings: DiscriminatorSettings, n: int, draws: Draws, step: int, side: str
) -> tuple[Looks | None, Windows | None, Looks | None]:
    """Looks of the whole images, windows, and looks of the patches, where they are wanted."""

    def stream(what: str) -> torch.Generator:
        return draws.stream(step, f"{what} of {side}")

    n_patches, strength = n * settings.patches, STRENGTHS.get(settings.augment)

    def looks(count: int, what: str) -> Looks | None:
        return sample_looks(count, strength, stream(what)).own(draws) if strength else None

    of_whole = looks(n, "looks")
    if not n_patches:
        return of_whole, None, None
    windows = sample_windows(n_patches, settings.patch_extent, stream("windows")).own(draws)
    return of_whole, windows, looks(n_patches, "looks of patches")
