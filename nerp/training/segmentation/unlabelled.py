"""A training that goes on from pairs to radiographs without masks: whether it may, and how it is put together."""

from __future__ import annotations

from typing import Any

from nerp.data.structures import structure_names
from nerp.errors import UsageError
from nerp.settings import flatten
from nerp.training.budget import Budget
from nerp.training.segmentation.films import Films, load_films
from nerp.training.segmentation.self_training import Rounds, SelfTrainer
from nerp.training.segmentation.trainer import SegmenterTrainer
from nerp.training.settings import ArmConfig, SegmenterConfig
from nerp.training.unlabelled_settings import UnlabelledSettings


def check_unlabelled(config: SegmenterConfig | ArmConfig) -> None:
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


def shared_rounds(budget: Budget, settings: UnlabelledSettings) -> Rounds:
    """The parts of a training whose steps in all are given: rounds take of them, so that arms do equally many.

    Args:
        budget:   of all steps.
        settings: rounds and their steps; none: half as many each as on pairs alone.

    Raises:
        UsageError: the rounds leave no step for the pairs alone.
    """
    each = settings.steps or budget.planned // (settings.rounds + 2)
    plain = budget.planned - settings.rounds * each
    if plain < 1 or each < 1:
        raise UsageError(
            f"{budget.planned} steps hold no {settings.rounds} rounds of {max(1, each)} and one on pairs alone; give "
            "more steps, or fewer unlabelled.steps"
        )
    return Rounds(budget, plain, settings.rounds, each)


def films_of(config: SegmenterConfig | ArmConfig) -> Films | None:
    """The radiographs that a configuration names; None where it names none, or no round.

    Raises:
        UsageError: see `check_unlabelled`.
        DataError:  see `load_films`.
    """
    check_unlabelled(config)
    if not config.unlabelled.is_used:
        return None
    return load_films(config.unlabelled.folders, config.segmenter.side, skip_bad=config.skip_bad)


def with_films(
    plain: SegmenterTrainer, config: SegmenterConfig | ArmConfig, *, films: Films, rounds: Rounds, pairs: range
) -> SelfTrainer:
    """The trainer of pairs, and after them of radiographs without masks.

    Args:
        plain:  of the pairs.
        config: views, limits, batch size and seed.
        films:  the radiographs.
        rounds: which step is of which.
        pairs:  indices of those that the rounds learn from, too.
    """
    order = config.segmenter.batch_size, config.seed
    return SelfTrainer(plain, films, settings=config.unlabelled, rounds=rounds, pairs=pairs, order=order)


def deciding_films(films: Films | None, settings: UnlabelledSettings) -> dict[str, Any]:
    """Dotted keys and values of what decides the weights of radiographs without masks; nothing where there are none.

    Args:
        films:    the radiographs.
        settings: views and limits.
    """
    if films is None:
        return {}
    keys = flatten(settings, "unlabelled.")
    del keys["unlabelled.folders"]  # the images' hash decides, wherever they lie
    return {**keys, "unlabelled.images_sha256": films.sha256}
