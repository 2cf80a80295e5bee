"""The worth of labelled pairs: a segmenter learns on them and is scored on other images and masks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nerp.config import save_settings
from nerp.data.checking import Bad, write_skipped
from nerp.data.images import read_image, read_mask
from nerp.data.pixel_spacing import spacing_finder
from nerp.data.structures import Outlined, check_outlined, find_outlined, structure_names
from nerp.devices import choose_device
from nerp.errors import DataError, UsageError
from nerp.evaluation.segmentation import Scored, channels_of, mean_of, score_structures, summarise
from nerp.experiments.settings import ArmsConfig, SegmentationConfig
from nerp.experiments.splits import Split, check_split, check_splits
from nerp.files import check_folder, json_bytes, write_bytes
from nerp.networks.segmenter import Segmenter, load_segmenter
from nerp.runs import RunFolder
from nerp.training.loop import Progress
from nerp.training.segmentation import TrainedSegmenter, train_segmenter
from nerp.training.segmentation.films import find_films
from nerp.training.segmentation.unlabelled import check_unlabelled

__all__ = ["SegmentationConfig", "evaluate_segmentation"]

WEIGHTS_KNOW_NO_PATIENTS = (
    "weights do not tell whom they learned from: whether a patient is both learned and tested was not checked"
)


def evaluate_segmentation(config: SegmentationConfig, *, progress: Progress | None = None) -> dict[str, Any]:
    """Train on one folder of pairs, or load weights, and score on another folder.

    With `config.out`, its folder is a run's (see `train_segmenter`), with predictions/*.png and scores.json in it; an
    interrupted training is continued.

    Args:
        config:   the folders, the device, the seed and the training's settings.
        progress: called as progress(steps done, steps planned) while training.

    Returns:
        JSON-ready: for `dice`, `jaccard`, `hd`, `hd95`, `asd` a dict of mean, ci95, n, per_image; `distance_unit`,
        "mm" or "px" of the mask files; `training`, or null; `weights`; `clean`; `images_without_mask`; `skipped`;
        `warnings`; of several structures `structures`, with each one's scores, the others being means over them;
        `patients` of the test, by which the intervals are drawn, or null;
        `empty` (counts of empty masks); `device`, `cpu` or `cuda`, that trained and segmented.

    Raises:
        DataError: a patient, a CT or a file is both learned and tested.
        UsageError: both or neither of `train` and `weights`, no `test`, or tests among what is trained on.
        DataError, TrainingError, CheckpointError: see `train_segmenter`, `find_pairs`, `load_segmenter`.
    """
    source = _checked_sources(config)
    known = None if config.weights is None else load_segmenter(config.weights)
    names = structure_names(config.mask_name) or (() if known is None else known.structures)
    if known is not None:
        channels_of(known, names)
    tests, unmatched, skipped = find_tests(source, names, pattern=config.masks_pattern, skip_bad=config.skip_bad)
    split = _split(config, [image for image, _ in tests])
    run = None if config.out is None else RunFolder(Path(config.out))
    if run is not None:
        check_folder(run.predictions)
    network, trained = _segmenter(config, known, progress)
    spacing_mm = spacing_finder([image for image, _ in tests], config.spacing_mm)
    predictions = None if run is None else run.predictions
    places: dict[str, Any] = {"predictions": predictions, "spacing_mm": spacing_mm}
    each = score_structures(network, tests, names, **places, clean=config.clean)
    scored, result = mean_of(list(each.values())), _summary(each, config.seed, split)
    result |= {"distance_unit": scored.unit, "training": trained and trained.record(), "empty": scored.empty}
    result |= {"warnings": [*split.warnings, *spacing_warnings(scored, len(tests))], "patients": split.count}
    result |= {"weights": config.weights and Path(config.weights).name, "images_without_mask": unmatched}
    result |= {"clean": config.clean}
    result |= {"device": network.device.type, "skipped": [one.path.name for one in skipped]}
    if run is not None:
        write_skipped(run.skipped, skipped)
        save_settings(config, run.config)
        write_bytes(run.scores, json_bytes(result))
    return result


def _split(config: SegmentationConfig, tested: list[Path]) -> Split:
    """Whom the tests are of, once it is sure that nobody of them is learned."""
    if config.train is None:
        split = check_split([], tested, index=config.patients)
        return Split(split.groups, [*split.warnings, WEIGHTS_KNOW_NO_PATIENTS])
    learned = [image for image, _ in find_outlined(config.train, structure_names(config.mask_name))[0]]
    films = unlabelled_files(config)
    return check_splits({"training folder": learned, **films}, tested, index=config.patients)


def unlabelled_files(config: SegmentationConfig | ArmsConfig) -> dict[str, list[Path]]:
    """Where the radiographs without masks are, for messages, and their files; nothing where none are learned from.

    Raises:
        DataError: see `find_films`.
    """
    if not config.unlabelled.is_used:
        return {}
    return {"folder of unlabelled radiographs": find_films(config.unlabelled.folders, skip_bad=config.skip_bad)}


def spacing_warnings(scored: Scored, count: int) -> list[str]:
    """What is to be said where only some masks' pixel spacing is known.

    Args:
        scored: the scores.
        count:  of all images.
    """
    if scored.unit == "mm" or scored.unknown_spacing == count:
        return []
    return [
        f"the pixel spacing of {scored.unknown_spacing} of {count} masks is not known: distances are in px of the mask "
        "files; give --spacing-mm where it is one for all"
    ]


def _summary(each: dict[str, Scored], seed: int, split: Split) -> dict[str, Any]:
    """The scores, of several structures each one's and above them the mean of all."""
    mean = summarise(mean_of(list(each.values())).scores, seed=seed, groups=split.groups)
    if len(each) == 1:
        return {"kind": "segmentation", **mean}
    structures = {
        name: {**summarise(one.scores, seed=seed, groups=split.groups), "empty": one.empty}
        for name, one in each.items()
    }
    return {"kind": "segmentation", **mean, "structures": structures}


def _segmenter(
    config: SegmentationConfig, known: Segmenter | None, progress: Progress | None
) -> tuple[Segmenter, TrainedSegmenter | None]:
    if known is not None:
        return known.to(choose_device(config.device)), None
    trained = train_segmenter(config, progress=progress)
    return trained.network, trained


def _checked_sources(config: SegmentationConfig) -> str:
    """The folder to test on, once it is sure that there is one, and no other mistake in what is given."""
    if (config.train is None) == (config.weights is None):
        raise UsageError(
            "give either a folder of pairs to train on, or the weights of an earlier run, not both or none"
        )
    if config.weights is not None and config.unlabelled.is_used:
        raise UsageError("--weights are trained already; --unlabelled needs --train, a folder of pairs")
    check_unlabelled(config)
    if config.test is None:
        raise UsageError("no images to test on; give test=… a folder with images/ and masks/")
    if config.train is not None and Path(config.train).resolve() == Path(config.test).resolve():
        raise UsageError(
            f"{config.test} is both the folder to train on and to test on; give images that were not learned"
        )
    return config.test


def find_tests(
    folder: str | Path, names: tuple[str, ...], *, pattern: str | None, skip_bad: bool
) -> tuple[Outlined, list[str], list[Bad]]:
    """Images with their masks to test on, each looked at.

    Args:
        folder:   with images/ and masks/, or a public set.
        names:    of the structures, or none of a single one.
        pattern:  how a mask is called, or none.
        skip_bad: leave out what cannot be read.

    Returns:
        The pairs, stems of images without a mask, and what is left out.

    Raises:
        DataError: no pairs, or files that cannot be read.
    """
    pairs, unmatched = find_outlined(folder, names, pattern=pattern)
    if not pairs:
        raise DataError(
            f"no image in {folder}/images has a mask of its name in {folder}/masks; expected equal file stems, or "
            "--masks-pattern"
        )
    pairs, skipped = check_outlined(pairs, skip_bad=skip_bad)
    image, masks = pairs[0]  # a set of another kind is met before the training, not after
    read_image(image)
    for files in masks:
        read_mask(files)
    return pairs, unmatched, skipped
