"""What `nerp evaluate alignment` and `nerp evaluate quality` are told."""

from __future__ import annotations

from dataclasses import dataclass

from nerp.settings import Settings, choice, number


@dataclass(frozen=True)
class AlignmentConfig(Settings):
    """Images with masks, and how the masks' borders are compared with the images' edges.

    Args:
        pairs:         folder with images/ and masks/, a set of pairs, or a public set, such as `montgomery:FOLDER`.
        mask_name:     which mask, where the images have several.
        masks_pattern: how a mask is called, such as `{name}_lung.png`.
        inside:        whether the structure is darker than what is around it, as lungs, or brighter; `auto` takes what
                       fits the whole set better.
        tolerance_px:  distance that leaves 61 % of the score, pixels: masks 4 px off are to be found.
        reach_px:      farthest shift that is looked at, pixels; a mask further off is not found, and scores low.
        side:          images with a longer side are shrunk to it, pixels.
        probe_px:      also score the masks shifted by so much and mirrored, and tell if the score finds them; 0: no.
        ct, labels:    where a set's CTs and labels lie: to tell how much of the lungs the masks leave out.
        skip_bad:      go on without files that cannot be used, and list them.
        seed:          of the intervals' draws.
        n_resamples:   bootstrap sets an interval.
    """

    pairs: str | None = None
    mask_name: str | None = None
    masks_pattern: str | None = None
    inside: str = choice("auto", "dark", "bright")
    tolerance_px: float = number(4.0, 0.5, 100.0)
    reach_px: int = number(12, 2, 128)
    side: int = number(512, 32, 4096)
    probe_px: int = number(0, 0, 64)
    ct: str | None = None
    labels: str | None = None
    skip_bad: bool = False
    seed: int = number(0, 0, 2**32 - 1)
    n_resamples: int = number(1000, 1, 100_000)
