"""What each row of a study learns from: real images of a stated split, and sets of pairs, read once."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from nerp.config.reading import table_path
from nerp.data.structures import Outlined, find_outlined
from nerp.errors import ConfigError, DataError
from nerp.experiments.splits import check_splits
from nerp.experiments.study.settings import Row, StudyConfig
from nerp.training.digest import digest
from nerp.training.segmentation.arms import SELF_TRAINED, ArmPairs
from nerp.training.segmentation.films import Films, find_films, load_films
from nerp.training.segmentation.pairs import load_outlined, load_pairs

Pair = tuple[Tensor, Tensor]
"""Images and masks, each (N, 1, side, side) uint8."""


def real_part(config: StudyConfig, part: str) -> Outlined:
    """The real images of a part of the split, with their masks, in the order of their names.

    Args:
        config: the study.
        part:   train, dev or test.

    Raises:
        ConfigError: no images or no split is named.
        DataError:   the split lists none of the images in this part.
    """
    if config.real is None or config.split is None:
        raise ConfigError("real or split is not given; expected images with masks, and a CSV of file,part")
    with open(table_path(config.split), newline="", encoding="utf-8") as file:
        chosen = {row["file"] for row in csv.DictReader(file) if row.get("part") == part}
    found = [one for one in find_outlined(config.real)[0] if one[0].name in chosen]
    if not found:
        raise DataError(f"{config.split} has no image of {config.real} in part {part}; expected file,part")
    return sorted(found, key=lambda one: one[0].name)


def check_radiographs(config: StudyConfig) -> None:
    """Make sure that no radiograph without a mask is one of the dev or test images.

    Raises:
        DataError: a file, an image or a patient is on both sides.
    """
    films = find_films(config.radiographs, skip_bad=True)
    tested = [image for part in ("dev", "test") for image, _ in real_part(config, part)]
    check_splits({"folder of radiographs": films}, tested)


def fraction_of(outlined: Outlined, fraction: float) -> Outlined:
    """A part of some images, two at least, drawn by their names' hashes: the smaller parts lie in the larger ones.

    Args:
        outlined: images with masks.
        fraction: 0 to 1.
    """
    drawn = sorted(outlined, key=lambda one: hashlib.sha256(one[0].name.encode()).hexdigest())
    return drawn[: max(2, round(fraction * len(outlined)))]


class StudyPairs:
    """The pairs of a study's rows; each set and part is read once.

    Args:
        config:   the study.
        make_set: gives the folder of a set by its name, made where it is not there.
    """

    def __init__(self, config: StudyConfig, make_set: Callable[[str], Path]):
        self._config, self._make_set = config, make_set
        self._sets: dict[str, Pair] = {}
        self._films: Films | None = None

    def of(self, row: Row) -> ArmPairs:
        """What a row learns from.

        Raises:
            DataError: see `load_pairs` and `real_part`.
        """
        real = [self._real(row.fraction)] if row.learns_real else []
        synthetic = [self._set(name) for name in row.sets]
        images, masks = _joined(real + synthetic)
        kinds = {"real": real, "synthetic": synthetic}
        hashes = {kind: digest(*_joined(pairs)) if pairs else None for kind, pairs in kinds.items()}
        films = self._unlabelled() if row.arm == SELF_TRAINED else None
        return ArmPairs(images, masks, sum(len(pair[0]) for pair in real), hashes, films)

    def _real(self, fraction: float) -> Pair:
        return load_outlined(fraction_of(real_part(self._config, "train"), fraction), self._config.segmenter.side)

    def _set(self, name: str) -> Pair:
        if name not in self._sets:
            self._sets[name] = load_pairs(self._make_set(name), self._config.segmenter.side)
        return self._sets[name]

    def _unlabelled(self) -> Films:
        if self._films is None:
            self._films = load_films(self._config.radiographs, self._config.segmenter.side)
        return self._films


def _joined(pairs: list[Pair]) -> Pair:
    images, masks = zip(*pairs, strict=True)
    return torch.cat(images), torch.cat(masks)
