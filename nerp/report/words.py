"""What a reader is told of each kind of result and of each score: names, and which way is better."""

from __future__ import annotations

import re
from collections.abc import Mapping

from nerp.settings import dotted

KINDS = {
    "fidelity": ("Fidelity", "How close the generated images are, as a set, to the real ones, in an extractor's eyes."),
    "alignment": ("Alignment", "Whether the masks' borders fall on edges of the images."),
    "quality": ("Quality of the pairs", "Which pairs are unfit to learn from, and why."),
    "integrity": (
        "Integrity",
        "Whether something beside anatomy tells generated from real images; an AUROC of 0.5: nothing.",
    ),
    "memorisation": ("Memorisation", "How near generated images lie to real ones that may have been learned from."),
    "segmentation": ("Segmentation", "How well a network that learned from one set outlines the images of another."),
    "classification": (
        "Classification",
        "How well a network that learned from one set finds findings in another, as areas under the ROC curve (AUROC): "
        "0.5 is chance, 1 tells all apart.",
    ),
    "arms": (
        "Arms",
        "One network, trained for as many steps on real pairs, on synthetic ones or on both, and tested on the same "
        "images.",
    ),
}
"""Title of each kind of result, and what it measures."""

TYPICAL = {
    "fidelity": {"fid", "kid", "isc"},
    "segmentation": {"dice", "jaccard", "hd95", "asd"},
    "classification": {"auroc"},
}
"""Scores by which a result of before, which does not tell its kind, is known."""

SCORES = {
    "fid": ("FID", "lower is closer; its bias falls with the number of images"),
    "fid_infinity": ("FID∞", "FID extrapolated to infinitely many images; lower is closer"),
    "kid": ("KID", "lower is closer; without bias, so that it may fall below 0"),
    "isc": ("Inception score", "higher is clearer and more varied; says nothing of real images"),
    "precision": ("precision", "part of the generated images that look real; higher is better, 1 at most"),
    "recall": ("recall", "part of the real images that are covered; higher is better, 1 at most"),
    "density": ("density", "about 1 where generated images lie as dense about real ones as these themselves"),
    "coverage": ("coverage", "part of the real images with a generated one near; higher is better, 1 at most"),
    "copies": ("part of the images that are copies", "0 where nothing was copied"),
    "nearer": ("nearer than others", "0.5: as near as real images of others are; 1: all are nearer"),
    "very_near": ("part that is very near", "beside what is expected of real images"),
    "dice": ("Dice", "overlap; higher is better, 1 at most"),
    "jaccard": ("Jaccard", "overlap over union; higher is better, 1 at most"),
    "hd95": ("HD95", "95th percentile of the distance between borders; lower is better"),
    "hd": ("Hausdorff", "largest distance between borders; lower is better"),
    "asd": ("ASD", "average distance between borders; lower is better"),
    "alignment": ("alignment", "1 where all borders fall on edges, about 0 by chance; higher is better"),
    "agreement": ("agreement of the borders", "as they are: 1 on edges, -1 where these run the other way"),
    "dx": ("shift that would fit better, columns", "0 where the masks lie right"),
    "dy": ("shift that would fit better, rows", "0 where the masks lie right"),
    "uncovered": ("part of the lungs outside the masks", "radiologists' outlines leave out 0.27"),
    "rejected": ("part of the pairs that is rejected", "0 where all can be learned from"),
    "mirrored": ("part that fits better mirrored", "0 where nothing is flipped"),
    "distance": ("distance of the spectra", "lower is closer; the floor is that of two halves of the real images"),
    "auroc_patch": ("AUROC of single patches", "0.5 is chance, 1 tells all apart"),
    "auroc": ("AUROC", "0.5 is chance, 1 tells all apart"),
}
"""How a score is called, and how it is read."""


GROUPED = {
    ("spectrum", "floor"): ("spectrum / two halves of the real images", "what a distance of 0 is worth"),
    ("false_alarm", "real"): ("false alarms among real images", "part that the thresholds flag beside other patients'"),
    ("false_alarm", "pairs"): ("false alarms among pairs of real images", "of different patients"),
    ("false_alarm", "held_out"): ("false alarms among held-out images", "part that the thresholds flag"),
    ("uncovered", "lungs"): ("part of the lungs outside the masks", "radiologists' outlines leave out 0.27"),
    ("uncovered", "right"): ("part of the right lung outside the masks", "radiologists' outlines leave out 0.23"),
    ("uncovered", "left"): ("part of the left lung outside the masks", "radiologists' outlines leave out 0.33"),
    ("separation", "shifted"): ("masks shifted on purpose, AUROC", "1 where the score finds them all"),
    ("separation", "mirrored"): ("masks mirrored on purpose, AUROC", "1 where the score finds them all"),
}
"""Likewise of scores whose own key says too little, by the key that leads to it and their own.

Source of what radiologists leave out: arXiv 2402.11510.
"""

HIGH_IS_BAD = frozenset({"hd", "hd95", "asd", "distance", "shift_px"})
"""Measures of which more is worse."""


def score_name(key: str) -> str:
    """A score's usual name: `FID` of `fid`; others as they are."""
    return SCORES[key][0] if key in SCORES else key


def score_reading(key: str) -> str:
    """Which way is better, in words; empty for scores that are not known."""
    return SCORES[key][1] if key in SCORES else ""


def number(value: object) -> str:
    """A number for people, four digits of a broken one; other values as text, nothing of None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def without_folders(text: str) -> str:
    """A text whose absolute paths are files' names alone: folders name people and projects."""
    if re.match(_ROOT, text) and ": " not in text:  # a path as a whole, whose folders' names may hold blanks
        return re.split(r"[/\\]", text.rstrip("/\\"))[-1]
    return _FOLDERS.sub("", text)


_ROOT = r"(?:~?/|[A-Za-z]:[/\\])(?=[^\s/])"
_FOLDERS = re.compile(rf"(?<![\w.:/\\]){_ROOT}(?:[^/\\\s'\",;]+[/\\])*")


def setting(value: object) -> str:
    """A setting's value as text; `none` where there is none."""
    return "none" if value is None else str(value)


def settings_shown(values: Mapping[str, object]) -> dict[str, str]:
    """Settings by dotted key, as texts without folders.

    Args:
        values: plain values, and dictionaries of such.
    """
    return {key: without_folders(setting(value)) for key, value in dotted(values).items()}
