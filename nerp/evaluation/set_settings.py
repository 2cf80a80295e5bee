"""What `nerp evaluate integrity` and `nerp evaluate memorisation` are told."""

from __future__ import annotations

from dataclasses import dataclass

from nerp.settings import Settings, choice, number


@dataclass(frozen=True)
class IntegrityConfig(Settings):
    """Two sets of images, and how they are searched for what tells them apart.

    Args:
        fake:        folder of generated images; see `nerp.data.folders.find_radiographs`.
        real:        folder of real images, or a public set, such as `shenzhen:FOLDER`.
        patients:    CSV of files and patients; without one, records and names tell them where they can.
        out:         folder for pictures of what gives images away.
        side:        pixels to which images are brought; never enlarged.
        n_folds:     of the cross-validation; fewer where there are fewer patients or CTs.
        max_images:  of each set at most, drawn at random where there are more.
        n_resamples: bootstrap sets an interval; 0 leaves the intervals out.
        skip_bad:    go on without images that cannot be read, and list them.
        seed:        of folds, draws and intervals.
    """

    fake: str | None = None
    real: str | None = None
    patients: str | None = None
    out: str | None = None
    side: int = number(256, 64, 2048)
    n_folds: int = number(5, 2, 100)
    max_images: int = number(2000, 2, 100_000)
    n_resamples: int = number(1000, 0, 100_000)
    skip_bad: bool = False
    seed: int = number(0, 0, 2**32 - 1)


@dataclass(frozen=True)
class MemorisationConfig(Settings):
    """Generated images, and the real ones that they may have been copied from.

    Args:
        fake:        folder of generated images; see `nerp.data.folders.find_radiographs`.
        real:        folder of the real images that were learned from, or a public set.
        held_out:    folder of real images of other patients that were not.
        patients:    CSV of files and patients; without one, records and names tell them where they can.
        extractor:   network whose features are compared, as of `nerp evaluate fidelity`; `none` compares pixels alone.
        weights:     the extractor's weights file.
        false_alarm: part of real images of new patients that may be flagged as copies.
        listed:      nearest neighbours that the result lists, the nearest first.
        n_resamples: bootstrap sets an interval; 0 leaves the intervals out.
        skip_bad:    go on without images that cannot be read, and list them.
        seed:        of the intervals.
        device:      where features are extracted; `auto` takes a GPU where there is one.
    """

    fake: str | None = None
    real: str | None = None
    held_out: str | None = None
    patients: str | None = None
    extractor: str = "efficientnet-lite0"
    weights: str | None = None
    false_alarm: float = number(0.01, 0.0001, 0.5)
    listed: int = number(50, 1, 100_000)
    n_resamples: int = number(1000, 0, 100_000)
    skip_bad: bool = False
    seed: int = number(0, 0, 2**32 - 1)
    device: str = choice("auto", "cpu", "cuda")
