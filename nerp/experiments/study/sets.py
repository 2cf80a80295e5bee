"""The sets of pairs of a study, each made where it is not there yet, with the phantoms and runs that it asks for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nerp.config import read_settings
from nerp.config.reading import table_path
from nerp.errors import ConfigError
from nerp.experiments.study.settings import StudyConfig
from nerp.experiments.study.volumes import COLUMNS, hold, lay_out, listed
from nerp.phantom import write_phantoms
from nerp.settings import dotted, flatten
from nerp.synthesis import synthesize
from nerp.synthesis.config import SynthesisConfig, load_image_config
from nerp.training.adversarial import train
from nerp.training.config import Config
from nerp.training.loop import Bars

PHANTOMS = "phantoms"
"""What a set says of `ct` that is of phantoms."""
OF_THE_MACHINE = ("device", "backend", "devices", "nodes")


def recipe_of(config: StudyConfig, name: str) -> dict[str, Any]:
    """All that decides a set, what is left to defaults too, as dotted keys and JSON values: no path, no machine.

    Args:
        config: the study.
        name:   of one of its sets.

    Raises:
        ConfigError: settings that cannot be, no list of CTs, or no such run.
    """
    stated = {"seed": config.seed, **config.common, **(config.sets[name] or {}), "mask.labels": "1"}
    source, run = stated.pop("ct", None), stated.pop("run", None)
    recipe: dict[str, Any] = {} if run is None else {"run": run, **dotted(_run_recipe(config, run), "run.")}
    stated.setdefault("mode", "drr" if run is None else "vrr")
    settings = load_image_config(SynthesisConfig, None, [], stated).set_settings().as_json()
    recipe |= {key: value for key, value in dotted(settings).items() if key not in OF_THE_MACHINE}
    if source == PHANTOMS:
        return recipe | {name: getattr(config, name) for name in ("phantoms", "phantom_mm", "findings")}
    return recipe | {f"volumes.{row['name']}": [row[key] for key in COLUMNS[1:]] for row in listed(_list(config))}


def _run_recipe(config: StudyConfig, name: str) -> dict[str, Any]:
    """All settings of a run but where it lies and what it is computed on."""
    options = _run_settings(config, name)
    settings = flatten(read_settings(Config, options.pop("preset", None), options=options))
    return {key: value for key, value in settings.items() if key not in OF_THE_MACHINE and not key.endswith("_dir")}


def make_set(config: StudyConfig, name: str, *, progress: Bars) -> Path:
    """Make a set of pairs, or complete it; it is kept in OUT/sets/NAME, what it is made by in OUT/sets/NAME.json.

    Args:
        config:   the study.
        name:     of one of its sets.
        progress: called as progress(task, done, total).

    Raises:
        ConfigError: settings of the set, or a run, that cannot be.
        CheckpointError: it was begun by another recipe.
        DataError, UsageError, VolumeError, TrainingError: see `synthesize`, `lay_out`, `train`.
    """
    out, stated = Path(str(config.out)), {**config.common, **(config.sets[name] or {})}
    hold(out / "sets" / f"{name}.json", recipe_of(config, name))
    if stated.pop("ct", None) == PHANTOMS:
        ct, labels = _phantoms(config, out, progress)
        stated |= {"mask.labels": "lung_*", "mask.label_names": str(ct.parent / "labels.csv")}
    else:
        ct, labels = lay_out(_list(config), out / "volumes", data=config.data)
        stated.setdefault("mask.labels", "1")
    if stated.get("run") is not None:
        stated["run"] = str(make_run(config, stated["run"], progress=progress))
    machine = {"seed": config.seed, "device": config.device}
    settings = load_image_config(SynthesisConfig, None, [], machine | stated)
    folder = out / "sets" / name

    def tick(done: int, total: int) -> None:
        progress(f"set {name}", done, total)

    synthesize(ct, labels, out=folder, settings=settings.set_settings(), run=settings.run, progress=tick)
    return folder


def _list(config: StudyConfig) -> Path:
    if config.volumes is None:
        raise ConfigError("volumes is not given; expected a CSV of the CTs: name,ct,labels,lungs")
    return table_path(config.volumes)


def _phantoms(config: StudyConfig, out: Path, progress: Bars) -> tuple[Path, Path]:
    folder = out / f"phantoms-{config.phantoms}"
    made: dict[str, Any] = {"count": config.phantoms, "spacing_mm": config.phantom_mm, "findings": config.findings}
    write_phantoms(folder, seed=config.seed, progress=lambda done, total: progress("phantoms", done, total), **made)
    return folder / "ct", folder / "labels"


def _run_settings(config: StudyConfig, name: str) -> dict[str, Any]:
    if name not in config.runs:
        known = ", ".join(config.runs) or "none, as the study names none"
        raise ConfigError(f"a set is of run {name!r}; expected one of the study's runs: {known}")
    return {"seed": config.seed, **config.generator, **(config.runs[name] or {})}


def make_run(config: StudyConfig, name: str, *, progress: Bars) -> Path:
    """Train a generator of the study, or continue it; it is kept in OUT/runs/NAME.

    Args:
        config:   the study.
        name:     of one of its runs.
        progress: called as progress(task, done, total).

    Raises:
        ConfigError: no such run, or settings that cannot be.
        TrainingError, CheckpointError: see `train`.
    """
    options = {"device": config.device, **_run_settings(config, name)}
    preset, out = options.pop("preset", None), Path(str(config.out))
    options.setdefault("data.ct_dir", str(lay_out(_list(config), out / "volumes", data=config.data)[0]))
    if config.radiographs:
        options.setdefault("data.radiographs_dir", config.radiographs[0])
    settings = read_settings(Config, preset, options={**options, "run_dir": str(out / "runs" / name)})
    return train(settings, progress=lambda task, *at: progress(f"{name}: {task}", *at))
