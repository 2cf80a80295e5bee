"""How surely generated images are told from real ones by their spectrum and texture, and what gives them away."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nerp.errors import EvaluationError
from nerp.evaluation.auroc import auroc, auroc_interval
from nerp.evaluation.fair_images import FairImages, read_fairly
from nerp.evaluation.image_sets import ImageSet, read_set
from nerp.evaluation.patch_discriminator import (
    auroc_by_place,
    auroc_by_wave,
    cross_validated_logits,
    telling_patches,
    widened,
)
from nerp.evaluation.patches import PATCH, patch_corner, patch_features, wave_frequencies
from nerp.evaluation.score import Score
from nerp.evaluation.set_settings import IntegrityConfig
from nerp.evaluation.spectral_score import compare_spectra
from nerp.randomness import choose, stream

FEW = 20
"""Patients or CTs of a set below which a warning says that the interval knows little of others."""
TELLING = 16
"""Patches that are listed of each set."""


@dataclass(frozen=True)
class Evidence:
    """What an integrity score was taken from.

    Args:
        images:   of both sets, the generated ones first.
        fake:     the set of generated images.
        real:     the set of real ones.
        features: (N, P, 126) of their patches.
        logits:   (N, P) how generated each patch looks.
        n_folds:  of the cross-validation.
    """

    images: FairImages
    fake: ImageSet
    real: ImageSet
    features: Tensor
    logits: Tensor
    n_folds: int

    @property
    def labels(self) -> list[int]:
        """1 for a generated image, 0 for a real one."""
        return [1] * len(self.fake.files) + [0] * len(self.real.files)

    @property
    def groups(self) -> list[Hashable]:
        """The patient or CT of each image."""
        return [*self.fake.groups, *self.real.groups]


def evaluate_integrity(
    settings: IntegrityConfig, *, progress: Callable[[int, int], None] | None = None
) -> dict[str, Any]:
    """Spectra and a cross-validated patch discriminator between a folder of generated images and one of real ones.

    Args:
        settings: names both; with `out`, pictures are written there.
        progress: called as progress(images read, images in all).

    Returns:
        JSON-ready. `auroc`: whole images told apart by the mean log odds of their patches, with its interval by
        patients and CTs; `auroc_patch`: single patches; .5 is the goal. `spectrum`: see `compare_spectra`. `by_place`
        and `by_wave`: see `auroc_by_place` and `auroc_by_wave`. `telling`: the patches that look most generated, and
        the real ones that look least so. `images`: their size and treatment; `fake`, `real`: counts; `warnings`,
        `skipped`; `pictures`, names and SHA-256 of what was written to `out`.

    Raises:
        DataError: a folder that is missing or empty, or a file that is no image.
        EvaluationError: fewer than two images or patients of a set, or images that are too small.
    """
    evidence, warnings = gather(settings, progress=progress)
    result = _scores(evidence, settings) | {"warnings": warnings}
    result["skipped"] = evidence.fake.skipped + evidence.real.skipped
    if settings.out is not None:
        from nerp.evaluation.integrity_pictures import write_pictures

        result["pictures"] = write_pictures(Path(settings.out), evidence, result)
    return result


def gather(
    settings: IntegrityConfig, *, progress: Callable[[int, int], None] | None = None
) -> tuple[Evidence, list[str]]:
    """Read both sets, and let the discriminator judge each patch; with what is to be warned of.

    Args:
        settings: names both.
        progress: called as progress(images read, images in all).
    """
    reading: dict[str, Any] = {"index": settings.patients, "skip_bad": settings.skip_bad}
    fake, cut_fake = _at_most(read_set(settings.fake, what="generated", **reading), settings)
    real, cut_real = _at_most(read_set(settings.real, what="real", **reading), settings)
    images = read_fairly(fake.files, real.files, side=settings.side, progress=progress)
    features = torch.cat([patch_features(images.levels(rows)) for rows in _blocks(len(images.pixels))])
    labels, groups = [1] * len(fake.files) + [0] * len(real.files), [*fake.groups, *real.groups]
    n_folds = _possible_folds(fake, real, settings.n_folds)
    logits = cross_validated_logits(
        features, labels, groups, n_folds=n_folds, generator=stream(settings.seed, 0, "folds")
    )
    warnings = cut_fake + cut_real + images.warnings + _warnings(fake, real, images, n_folds, settings.n_folds)
    return Evidence(images, fake, real, features, logits, n_folds), warnings


def _blocks(count: int) -> list[slice]:
    return [slice(start, start + 64) for start in range(0, count, 64)]


def _at_most(images: ImageSet, settings: IntegrityConfig) -> tuple[ImageSet, list[str]]:
    """The set, or as many of its images as are looked at, with a word on it."""
    count, wanted = len(images.files), settings.max_images
    if count <= wanted:
        return images, []
    rows = sorted(choose(wanted, count, stream(settings.seed, 0, "images")))
    return images.chosen(rows), [f"{wanted} of {count} images of {images.files[0].parent} were drawn (max_images)"]


def _possible_folds(fake: ImageSet, real: ImageSet, wanted: int) -> int:
    """As many folds as the set of fewer patients allows.

    Raises:
        EvaluationError: only one.
    """
    counts = {"generated": len(set(fake.groups)), "real": len(set(real.groups))}
    for what, count in counts.items():
        if count < 2:
            raise EvaluationError(
                f"all {what} images are of one patient or CT; expected 2 or more: what is told of one cannot be tested "
                "on another"
            )
    return min(wanted, *counts.values())


def _scores(evidence: Evidence, settings: IntegrityConfig) -> dict[str, Any]:
    labels, logits, side = evidence.labels, evidence.logits, evidence.images.side
    n_patches = logits.shape[1]
    by_patch = auroc(logits.flatten().numpy(), [label for label in labels for _ in range(n_patches)])
    spectra = compare_spectra(
        evidence.images, evidence.groups, len(evidence.fake.files), n_resamples=settings.n_resamples, seed=settings.seed
    )
    return {
        "kind": "integrity",
        "auroc": _image_score(evidence, settings).to_dict(),
        "auroc_patch": Score(by_patch, None, logits.numel()).to_dict(),
        "spectrum": spectra,
        "by_place": {"auroc": auroc_by_place(logits, labels, side).round(4).tolist(), "patch_pixels": PATCH},
        "by_wave": {
            "auroc": auroc_by_wave(evidence.features, labels).round(4).tolist(),
            "cycles_per_pixel": [0.0, *(round(float(one), 4) for one in wave_frequencies())],
        },
        "telling": {"generated": telling(evidence, of_fake=True), "real": telling(evidence, of_fake=False)},
        "images": {"side": side, "jpeg": evidence.images.compressed, "patches": n_patches, "folds": evidence.n_folds},
        "fake": evidence.fake.counted,
        "real": evidence.real.counted,
    }


def _image_score(evidence: Evidence, settings: IntegrityConfig) -> Score:
    scores, labels = evidence.logits.mean(1).numpy(), evidence.labels
    value, interval = auroc(scores, labels), None
    if settings.n_resamples:
        generator = stream(settings.seed, 0, "auroc")
        drawn = auroc_interval(scores, labels, evidence.groups, generator, n_resamples=settings.n_resamples)
        interval = widened(drawn, value, evidence.n_folds)
    return Score(value, interval, len(labels))


def telling(evidence: Evidence, *, of_fake: bool) -> list[dict[str, Any]]:
    """The patches that give generated images away most, or the real ones that look least generated.

    Args:
        evidence: of the score.
        of_fake:  which of the two.

    Returns:
        JSON-ready: `file`, `row` and `column` of the patch's corner in pixels of the compared image, `log_odds`.
    """
    files = [*evidence.fake.files, *evidence.real.files]
    rows = [row for row, label in enumerate(evidence.labels) if bool(label) == of_fake]
    sign = 1 if of_fake else -1
    found = telling_patches(sign * evidence.logits, rows, count=TELLING)
    return [_patch(files[row], place, evidence.images.side, float(evidence.logits[row, place])) for row, place in found]


def _patch(file: Path, place: int, side: int, log_odds: float) -> dict[str, Any]:
    top, left = patch_corner(place, side)
    return {"file": file.name, "row": top, "column": left, "log_odds": round(log_odds, 3)}


def _warnings(fake: ImageSet, real: ImageSet, images: FairImages, n_folds: int, wanted: int) -> list[str]:
    found = _shared(images.pixels, len(fake.files))
    for what, one in (("generated", fake), ("real", real)):
        count = len(set(one.groups))
        if one.patients.by == "nothing":
            found.append(
                f"nothing tells patients of the {what} images: each is taken for one of its own (--patients FILE)"
            )
        if count < FEW:
            found.append(f"the {what} images are of {count} patients or CTs: the interval knows little of others")
    if n_folds < wanted:
        found.append(f"{n_folds} folds instead of {wanted}: no set has fewer patients or CTs than folds")
    return found


def _shared(pixels: Tensor, n_fake: int) -> list[str]:
    """A word on images that stand in both sets."""
    seen = [{image.tobytes() for image in part.numpy()} for part in (pixels[:n_fake], pixels[n_fake:])]
    shared = len(seen[0] & seen[1])
    if not shared:
        return []
    if seen[0] == seen[1]:
        return ["the two sets are the same images: nothing can tell them apart"]
    return [f"{shared} images are in both sets: they cannot be told apart"]
