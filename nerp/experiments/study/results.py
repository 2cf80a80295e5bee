"""What a study found and all that decided it, without lists by image: for a repository, or a paper's supplement."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nerp.config import read_settings
from nerp.data.pairs import RECORDS
from nerp.errors import DataError
from nerp.experiments.study.machine import machine
from nerp.experiments.study.settings import StudyConfig
from nerp.files import sha256
from nerp.runs import RunFolder
from nerp.settings import flatten


def results_of(folder: Path) -> dict[str, Any]:
    """A study's table, with what made it.

    Args:
        folder: as `nerp study` leaves it.

    Returns:
        JSON-ready: `study`, its name; `scale`, `small` or `full`; `seeds` of each row that were trained; `table`, see
        `run_study`, the worst tenth by name alone; `config`, the settings; `decided`, by cell and look: hashes of what
        it learned from and was held to; `sets` and `weights`, hashes by name; `made_on`, the machines that cells were
        made on, as far as they tell, and `written_on`, this one.

    Raises:
        DataError: no table, or a file that is none.
    """
    table, cells = _read(folder / "table.json"), list(_cells(folder))
    config = read_settings(StudyConfig, folder / "config.yaml")
    for worst in table["worst_tenth"].values():
        worst["images"] = list(worst["images"])
    machines = [one["made_on"] for one in cells if "made_on" in one]
    return {
        "study": folder.resolve().name,
        "scale": config.scale,
        "seeds": {name: _seeds(name, cells) for name in table["arms"]},
        "table": table,
        "config": flatten(config),
        "decided": {str(one.get("cell") or one.get("look")): one["decided"] for one in cells},
        "sets": {path.parent.name: sha256(path) for path in sorted(folder.glob(f"sets/*/{RECORDS}"))},
        "weights": dict(_weights(folder)),
        "made_on": [one for place, one in enumerate(machines) if one not in machines[:place]],
        "written_on": machine(),
    }


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise DataError(f"no {path.name} in {path.parent}; expected the folder of a study that has been run")
    try:
        found = json.loads(path.read_bytes())
    except ValueError as error:
        raise DataError(f"{path} is no JSON ({error}); remove it, and run the study again") from error
    return dict(found)


def _cells(folder: Path) -> Iterator[dict[str, Any]]:
    """Every cell of the part that the table is of, and every look."""
    part = str(_read(folder / "table.json")["part"])
    for path in sorted([*folder.glob(f"cells/{part}/*.json"), *folder.glob("cells/fidelity/*.json")]):
        yield _read(path)


def _seeds(row: str, cells: list[dict[str, Any]]) -> list[int]:
    told = [str(one.get("cell", "")).rpartition(":") for one in cells]
    return sorted(int(seed) for name, _, seed in told if name == row)


def _weights(folder: Path) -> Iterator[tuple[str, str]]:
    """Hashes of the generators that rendered, and of the segmenters that were scored."""
    for path in sorted(folder.glob("runs/*")):
        if RunFolder(path).best.is_file():
            yield f"runs/{path.name}", sha256(RunFolder(path).best)
    for path in sorted(folder.glob("trainings/*/seed-*")):
        if RunFolder(path).segmenter.is_file():
            yield f"trainings/{path.parent.name}/{path.name}", sha256(RunFolder(path).segmenter)
