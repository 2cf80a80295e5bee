"""What `nerp evaluate alignment` and `nerp evaluate quality` are told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from nerp.settings import Settings, choice, limits, number, section


@dataclass(frozen=True)
class AlignmentConfig(Settings):
    """Images with masks, and how the masks' borders are compared with the images' edges.

    Args:
        pairs:         folder with images/ and masks/, a set of pairs, or a public set, such as `montgomery:FOLDER`.
        mask_name:     which mask, where the images have several.
        masks_pattern: how a mask is called, such as `{name}_lung.png`.
        inside:        whether the structure is darker than what is around it, as lungs, or brighter; `auto` takes what
                       fits the whole set better.
        about:         where masks are to fit: on the `image`, or off it as the `set` does in common (the median shift).
        tolerance_px:  distance that leaves 61 % of the score, pixels: masks 4 px off are to be found.
        reach_px:      farthest shift that is looked at, pixels; a mask further off is not found, and scores low.
        side:          images with a longer side are shrunk to it, pixels.
        probe_px:      also score the masks shifted by so much and mirrored, and tell if the score finds them; 0: no.
        patients:      CSV of files and patients, by whom intervals are drawn; none: what records and names tell.
        ct, labels:    where a set's CTs and labels lie: to tell how much of the lungs the masks leave out.
        skip_bad:      go on without files that cannot be used, and list them.
        seed:          of the intervals' draws.
        n_resamples:   bootstrap sets an interval.
    """

    pairs: str | None = None
    mask_name: str | None = None
    masks_pattern: str | None = None
    inside: str = choice("auto", "dark", "bright")
    about: str = choice("image", "set")
    tolerance_px: float = number(4.0, 0.5, 100.0)
    reach_px: int = number(12, 2, 128)
    side: int = number(512, 32, 4096)
    probe_px: int = number(0, 0, 64)
    patients: str | None = None
    ct: str | None = None
    labels: str | None = None
    skip_bad: bool = False
    seed: int = number(0, 0, 2**32 - 1)
    n_resamples: int = number(1000, 1, 100_000)


@dataclass(frozen=True)
class Limits(Settings):
    """What a pair may be before it is rejected; measured beside them on sets that people made and looked through.

    Args:
        spread_least:    of the grey scale from the 1st to the 99th percentile; bedside radiographs fall to .35.
        entropy_least:   of the grey values, bits; radiographs of 8 bits have 5.2 to 7.9.
        black_most:      part of the image that is black; collimated radiographs come to .45.
        white_most:      part that is white; radiographs that are not over-exposed stay below .02.
        lungs_area:      part of the image that lungs cover; people's masks cover .08 to .43.
        other_area:      likewise of any other structure.
        parts_most:      connected parts of a mask; lungs of two halves, with specks of the trachea, have up to 10.
        crumbs_most:     of the mask's area outside its two largest parts.
        balance_least:   the smaller lung's area by the larger one's; effusions and collapse come down to .1.
        width_least:     of the image that lungs in several parts span; people's masks span .56 or more.
        lone_width_least: likewise of a mask in one part, which is a single lung unless both touch; one spans up to .43.
        cut_most:        part of the mask's border on the image's border; a lung that touches it has up to .04.
        outside_most:    part of the labelled tissue that the detector misses, where records tell.
        alignment_least: score of `nerp evaluate alignment` about the set's common shift, of lungs; masks that were
                         rendered have .86 or more, people's .72 or more but for 1 %; rendered ones 4 px off have under
                         .7 but for 1 %.
        common_most:     common shift that is left out of account, pixels; people's masks may all lie 2 px off.
        false_alarms:    rate of ordinary images taken for outliers in feature space, if their distances are log-normal.
    """

    SECTION: ClassVar[str] = "limits"

    spread_least: float = number(0.2, 0.0, 1.0)
    entropy_least: float = number(4.0, 0.0, 8.0)
    black_most: float = number(0.6, 0.0, 1.0)
    white_most: float = number(0.2, 0.0, 1.0)
    lungs_area: tuple[float, float] = limits((0.04, 0.6), 0.0, 1.0)
    other_area: tuple[float, float] = limits((0.0005, 0.9), 0.0, 1.0)
    parts_most: int = number(16, 1)
    crumbs_most: float = number(0.1, 0.0, 1.0)
    balance_least: float = number(0.08, 0.0, 1.0)
    width_least: float = number(0.4, 0.0, 1.0)
    lone_width_least: float = number(0.5, 0.0, 1.0)
    cut_most: float = number(0.08, 0.0, 1.0)
    outside_most: float = number(0.1, 0.0, 1.0)
    alignment_least: float = number(0.7, 0.0, 1.0)
    common_most: float = number(3.0, 0.0, 12.0)
    false_alarms: float = number(0.001, 1e-6, 0.5)


@dataclass(frozen=True)
class QualityConfig(Settings):
    """Pairs to look through, and what is rejected.

    Args:
        pairs:         folder with images/ and masks/, a set of pairs, or a public set, such as `montgomery:FOLDER`.
        mask_name:     which mask, where the images have several.
        masks_pattern: how a mask is called, such as `{name}_lung.png`.
        structure:     `lungs` or `other`; `auto` asks the records, and takes lungs where there are none.
        inside:        as for the alignment: `dark`, `bright`, or `auto`.
        extractor:     network for outliers in feature space, such as `efficientnet-lite0`; none: they are not sought.
        weights:       the extractor's weights file.
        limits:        what is rejected.
        patients:      CSV of files and patients, by whom intervals are drawn; none: what records and names tell.
        reject:        where the pairs that are kept are written: a new folder, or an index FILE.jsonl.
        seed:          of the interval's draws.
        n_resamples:   bootstrap sets an interval.
        device:        where features are extracted; `auto` takes a GPU where there is one.
    """

    pairs: str | None = None
    mask_name: str | None = None
    masks_pattern: str | None = None
    structure: str = choice("auto", "lungs", "other")
    inside: str = choice("auto", "dark", "bright")
    extractor: str | None = None
    weights: str | None = None
    limits: Limits = section(Limits)
    patients: str | None = None
    reject: str | None = None
    seed: int = number(0, 0, 2**32 - 1)
    n_resamples: int = number(1000, 1, 100_000)
    device: str = choice("auto", "cpu", "cuda")
