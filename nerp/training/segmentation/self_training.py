"""Self-training: after the pairs, rounds on radiographs without masks, which the network outlines by itself."""

from __future__ import annotations

import copy
import json
import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nerp.networks.segmenter import Segmenter
from nerp.randomness import stream
from nerp.training.budget import Budget
from nerp.training.checkpoint import State, pack_module, unpack_module
from nerp.training.curriculum import Curriculum
from nerp.training.digest import digest
from nerp.training.segmentation.augmentation import augment_soft, cover
from nerp.training.segmentation.films import Films
from nerp.training.segmentation.pseudo_labels import PseudoLabels, label_films
from nerp.training.segmentation.trainer import COLUMNS, Batch, SegmenterTrainer
from nerp.training.unlabelled_settings import UnlabelledSettings

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rounds:
    """The parts of a run: on pairs alone, then each round.

    Args:
        budget: of all steps; where it shrinks, all parts shrink alike.
        plain:  planned steps on pairs alone.
        count:  of rounds.
        steps:  planned ones of each.
    """

    budget: Budget
    plain: int
    count: int
    steps: int

    def of(self, step: int) -> int:
        """The round of a step, counted from 1; 0 is the part before the first."""
        return next((number for number, end in enumerate(self._ends()) if step <= end), self.count)

    def fraction(self, step: int) -> float:
        """How far a step is along its part, 0 to 1: each warms up and anneals by itself."""
        ends, number = self._ends(), self.of(step)
        begin = ends[number - 1] if number else 0
        return (step - 1 - begin) / max(1, ends[number] - begin)

    def after_pairs(self, steps: int) -> int:
        """How many of so many steps done belong to rounds."""
        return max(0, steps - self._ends()[0])

    def _ends(self) -> list[int]:
        shrunk = self.budget.total / self.budget.planned
        return [round((self.plain + number * self.steps) * shrunk) for number in range(self.count + 1)]


class SelfTrainer:
    """Trains on pairs as `SegmenterTrainer`, then in rounds on pairs and radiographs without masks, half and half.

    At the start of a round the average of the weights so far outlines the radiographs (`label_films`); the steps of the
    round learn from the sure ones, strongly changed, pixel by pixel as sure as they are. Before the first round the
    weights are, bit for bit, those of a training without radiographs.

    Args:
        plain:    of the pairs, of one structure.
        films:    the radiographs.
        settings: views and limits.
        rounds:   which step belongs to which.
        pairs:    indices of those that the rounds learn from, the plain training's last.
        order:    batch size and seed.

    Source: mean teacher, Tarvainen & Valpola 2017, for the average; strong changes, Xie et al. 2020 (noisy student).
    """

    def __init__(
        self,
        plain: SegmenterTrainer,
        films: Films,
        *,
        settings: UnlabelledSettings,
        rounds: Rounds,
        pairs: range,
        order: tuple[int, int],
    ):
        self.plain, self.films, self.found = plain, films, list[dict[str, Any]]()
        self._settings, self._rounds, self._pairs = settings, rounds, pairs
        self._batch_size, self._seed = order
        self._teacher = copy.deepcopy(plain.network).requires_grad_(False).eval()
        self._labels: PseudoLabels | None = None

    @property
    def network(self) -> Segmenter:
        """What is trained."""
        return self.plain.network

    @property
    def loss(self) -> float:
        """Of the last step."""
        return self.plain.loss

    def record(self) -> dict[str, Any]:
        """What was found in each round begun, the limits, and the radiographs' hash; JSON-ready."""
        settings = {key: value for key, value in vars(self._settings).items() if key != "folders"}
        return {"settings": settings, "images_sha256": self.films.sha256, "rounds": self.found}

    def step(self, step: int, /) -> dict[str, float]:
        """Do a step, counted from 1; returns its loss, gradient norm and learning rate.

        Raises:
            TrainingError: the loss or the gradient is not finite; the step is named.
        """
        if self._rounds.of(step) > len(self.found):
            self._begin_round(step)
        batch = self._batch(step) if self._labels is not None and len(self._labels.chosen) else self.plain.batch(step)
        metrics = self.plain.learn(step, batch, fraction=self._rounds.fraction(step))
        self._average(step)
        return metrics

    def state(self) -> State:
        """Weights, their average, the optimiser's tensors, the outlines of this round and what was found in each."""
        told = np.frombuffer(json.dumps(self.found).encode(), np.uint8).copy()
        labels = {} if self._labels is None else self._labels.state()
        teacher = pack_module("teacher", self._teacher)
        return {**self.plain.state(), **teacher, **labels, "rounds": torch.from_numpy(told)}

    def restore(self, tensors: State, /) -> None:
        """Put back what `state` gave."""
        self.plain.restore(tensors)
        unpack_module("teacher", self._teacher, tensors)
        self._labels = PseudoLabels.of_state(tensors)
        self.found = json.loads(tensors["rounds"].numpy().tobytes())

    def picture(self) -> dict[str, Tensor]:
        """The plain training's rows, and the first radiographs with what is seen in them: (N, 1, H, W), 0 to 1."""
        rows, films = self.plain.picture(), self.films.images[:COLUMNS] / 255.0
        if len(films) < len(rows["image"]):
            return rows
        films = films[: len(rows["image"])]
        return {**rows, "film": films, "film prediction": self.plain.predict(films)}

    def _begin_round(self, step: int) -> None:
        number = len(self.found) + 1
        draw = stream(self._seed, number, "views of radiographs")
        self._labels, found = label_films(self._teacher, self.films, settings=self._settings, generator=draw)
        if not found["used"]:
            _log.warning(
                "round %d: none of %d radiographs is outlined surely enough (%s); it learns from pairs alone: train on "
                "pairs for longer, or lower unlabelled.agreement",
                number,
                found["films"],
                found["refused_for"],
            )
        hashes = {"teacher_sha256": digest(*self._teacher.state_dict().values()), "labels_sha256": self._labels.sha256}
        self.found.append({"round": number, "step": step, **hashes, **found})

    def _batch(self, step: int) -> Batch:
        """Half of pairs, half of radiographs."""
        assert self._labels is not None
        films = range(self._pairs.stop, self._pairs.stop + len(self._labels.chosen))
        both = Curriculum(((self._pairs, films),), self._batch_size, self._seed)
        chosen = both.indices(step, self._rounds.budget.total)
        ours = self.plain.batch(step, chosen[chosen < films.start])
        theirs = self._films(step, chosen[chosen >= films.start] - films.start)
        weights = torch.cat([torch.ones_like(ours.masks), theirs[2]])
        return Batch(torch.cat([ours.images, theirs[0]]), torch.cat([ours.masks, theirs[1]]), weights)

    def _films(self, step: int, chosen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Radiographs, their outlines and weights, strongly changed; what comes from outside is surely no lung."""
        assert self._labels is not None
        draw = stream(self._seed, step, "augmentation of radiographs")
        images = self.films.images[self._labels.chosen[chosen]] / 255.0
        doubt = 1.0 - self._labels.weights[chosen] / 255.0
        images, maps = augment_soft(images, torch.cat([self._labels.masks[chosen].float(), doubt], 1), draw)
        return cover(images, draw), (maps[:, :1] > 0.5).float(), 1.0 - maps[:, 1:]

    @torch.no_grad()
    def _average(self, step: int) -> None:
        """EMA of the weights, with a shorter memory in the first steps (Tarvainen & Valpola 2017)."""
        decay = min(self._settings.ema_decay, step / (step + 9.0))
        for kept, new in zip(self._teacher.parameters(), self.plain.network.parameters(), strict=True):
            kept.lerp_(new, 1.0 - decay)
