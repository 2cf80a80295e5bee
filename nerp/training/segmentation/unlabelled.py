"""A training that goes on from pairs to radiographs without masks: whether it may, and how it is put together."""

from __future__ import annotations

from typing import Any

from nerp.data.structures import structure_names
from nerp.errors import UsageError
from nerp.settings import flatten
from nerp.training.budget import Budget
from nerp.training.segmentation.films import load_films
from nerp.training.segmentation.self_training import Rounds, SelfTrainer
from nerp.training.segmentation.trainer import SegmenterTrainer
from nerp.training.settings import SegmenterConfig


def check_unlabelled(config: SegmenterConfig) -> None:
    """Refuse what cannot be learned from radiographs without masks.

    Raises:
        UsageError: another structure than lungs, or several; or batches of one.
    """
    if not config.unlabelled.is_used:
        return
    names = structure_names(config.mask_name)
    if len(names) > 1 or (names and "lung" not in names[0].lower()):
        raise UsageError(
            f"the masks are of {config.mask_name}; radiographs without masks (--unlabelled) teach lungs alone: take "
            "one mask whose name has lung in it, or leave them out"
        )
    if config.segmenter.batch_size < 2:
        raise UsageError("segmenter.batch_size is 1; with --unlabelled expected 2 or more: a pair and a radiograph")


def planned_rounds(config: SegmenterConfig, n_pairs: int) -> Rounds:
    """The parts of a training and the budget of all its steps.

    Args:
        config:  how long, and whether there are rounds.
        n_pairs: labelled ones.
    """
    plain, unlabelled = config.segmenter.steps(n_pairs), config.unlabelled
    count = unlabelled.rounds if unlabelled.is_used else 0
    each = unlabelled.steps or max(1, plain // 2)
    return Rounds(Budget(plain + count * each, config.segmenter.minutes), plain, count, each)


def with_films(plain: SegmenterTrainer, config: SegmenterConfig, rounds: Rounds, n_pairs: int) -> SelfTrainer:
    """The trainer of pairs, and after them of the radiographs that a configuration names.

    Args:
        plain:   of the pairs.
        config:  folders, views, limits.
        rounds:  from `planned_rounds`.
        n_pairs: labelled ones.

    Raises:
        DataError: see `load_films`.
    """
    films = load_films(config.unlabelled.folders, config.segmenter.side, skip_bad=config.skip_bad)
    order = config.segmenter.batch_size, config.seed
    return SelfTrainer(plain, films, settings=config.unlabelled, rounds=rounds, n_pairs=n_pairs, order=order)


def deciding_films(trainer: SegmenterTrainer | SelfTrainer, config: SegmenterConfig) -> dict[str, Any]:
    """Dotted keys and values of what decides the weights of radiographs without masks; nothing where there are none.

    Args:
        trainer: with the radiographs.
        config:  views and limits.
    """
    if not isinstance(trainer, SelfTrainer):
        return {}
    keys = flatten(config.unlabelled, "unlabelled.")
    del keys["unlabelled.folders"]  # the images' hash decides, wherever they lie
    return {**keys, "unlabelled.images_sha256": trainer.films.sha256}
