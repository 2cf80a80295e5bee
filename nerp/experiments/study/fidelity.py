"""How close a study's sets of pairs are to real radiographs: set by extractor, each kept in a file of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nerp.data.folders import find_radiographs
from nerp.data.pairs import RECORDS
from nerp.evaluation.alignment import evaluate_alignment
from nerp.evaluation.extractors import load_extractor
from nerp.evaluation.fidelity import evaluate_fidelity
from nerp.evaluation.pair_settings import AlignmentConfig
from nerp.evaluation.settings import FidelityConfig
from nerp.evaluation.statistics import ENDING, files_hash
from nerp.experiments.study.machine import machine
from nerp.experiments.study.sets import recipe_of
from nerp.experiments.study.settings import ALIGNMENT, StudyConfig
from nerp.files import json_bytes, sha256, write_bytes
from nerp.training.checkpoint import check_settings
from nerp.training.loop import Bars

PER_PAIR = ("per_image", "settings")
"""What a cell does not keep of an alignment: the set tells it again."""


@dataclass(frozen=True)
class Look:
    """One set as one extractor sees it, or how well its masks lie on its images.

    Args:
        set_name:  of the study's sets.
        extractor: as the study names it, or `alignment`.
    """

    set_name: str
    extractor: str

    @property
    def by(self) -> str:
        """The extractor's name; of a network's file without its folder."""
        return Path(self.extractor).name

    @property
    def label(self) -> str:
        """`vrr:squeezenet`, as `only` names it."""
        return f"{self.set_name}:{self.by}"

    def file(self, config: StudyConfig) -> Path:
        """Where its scores are kept."""
        return Path(str(config.out)) / "cells" / "fidelity" / f"{self.set_name}-{self.by.replace(':', '-')}.json"


def looks_of(config: StudyConfig) -> list[Look]:
    """All that is asked of all sets; alignment first, which is soon done."""
    return [Look(name, one) for one in (ALIGNMENT, *config.extractors) for name in config.fidelity]


class Looks:
    """The looks of a study; the real images are hashed once, and each extractor sees them once.

    Args:
        config:   the study.
        make_set: gives the folder of a set by its name, made where it is not there.
    """

    def __init__(self, config: StudyConfig, make_set: Callable[[str], Path]):
        self._config, self._make_set = config, make_set
        self._real: tuple[list[str], str] | None = None

    def kept(self, look: Look) -> dict[str, Any] | None:
        """The scores that are kept; None where none are.

        Raises:
            CheckpointError: they were made with other settings, or against other images; they are named.
            DataError: no radiographs.
        """
        path = look.file(self._config)
        if not path.is_file():
            return None
        found = json.loads(path.read_bytes())
        check_settings(found["asked"], self._asked(look), path)
        scores: dict[str, Any] = found["scores"]
        return scores

    def make(self, look: Look, *, progress: Bars) -> None:
        """Score, and keep the scores with all that decided them.

        Args:
            look:     which.
            progress: called as progress(task, done, total).

        Raises:
            DataError, EvaluationError, UsageError: see `evaluate_fidelity` and `evaluate_alignment`.
            Errors of making a set, see `make_set`.
        """
        pairs = self._make_set(look.set_name)

        def tick(done: int, total: int) -> None:
            progress(look.label, done, total)

        if look.by == ALIGNMENT:
            settings = AlignmentConfig(pairs=str(pairs), seed=self._config.seed)
            scores = evaluate_alignment(settings, progress=tick)
            scores = {key: value for key, value in scores.items() if key not in PER_PAIR}
        else:
            scores = self._fidelity(look, pairs, tick)
        asked, decided = self._asked(look), {"pairs_sha256": sha256(pairs / RECORDS)}
        if look.by != ALIGNMENT:
            decided |= {"real_sha256": asked["real_sha256"], "extractor_sha256": scores["extractor"]["sha256"]}
        kept = {"kind": "look", "look": look.label, "asked": asked, "decided": decided}
        write_bytes(look.file(self._config), json_bytes({**kept, "made_on": machine(), "scores": scores}))

    def _fidelity(self, look: Look, pairs: Path, tick: Callable[[int, int], None]) -> dict[str, Any]:
        """In one extractor's eyes; what it says of the real images is kept by its weights, and not asked again."""
        config, extractor = self._config, load_extractor(look.extractor, device=self._config.device)
        digests = f"{extractor.sha256[:8]}-{self._radiographs()[1][:12]}"
        statistics = Path(str(config.out)) / "fidelity" / f"{look.by.replace(':', '-')}-{digests}{ENDING}"
        is_new = not statistics.is_file()
        settings = FidelityConfig(
            seed=config.seed, left_out=True, skip_bad=True, save_statistics=str(statistics) if is_new else None
        )
        real = list(config.radiographs) if is_new else statistics
        result = evaluate_fidelity(pairs, real, extractor=extractor, settings=settings, progress=tick)
        return {key: value for key, value in result.items() if key != "extractors"}

    def _radiographs(self) -> tuple[list[str], str]:
        """Names and hash of the real images."""
        if self._real is None:
            found = {path.resolve(): path for one in self._config.radiographs for path in find_radiographs(one)}
            files = list(found.values())
            self._real = sorted(path.name for path in files), files_hash(files)
        return self._real

    def _asked(self, look: Look) -> dict[str, Any]:
        """Dotted keys and JSON values of all that a study says of it: no path, so that it may be brought elsewhere."""
        recipe = recipe_of(self._config, look.set_name)
        asked = {"by": look.by, "seed": self._config.seed, **{f"set.{key}": value for key, value in recipe.items()}}
        if look.by != ALIGNMENT:
            names, digest = self._radiographs()
            asked |= {"real": len(names), "real_sha256": digest}
        return dict(json.loads(json.dumps(asked)))
