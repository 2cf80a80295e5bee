"""The sets of pairs of a study, each made where it is not there yet, with the phantoms and runs that it asks for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from nerp.config.reading import table_path
from nerp.errors import ConfigError
from nerp.experiments.study.settings import StudyConfig
from nerp.experiments.study.volumes import lay_out
from nerp.phantom import write_phantoms
from nerp.synthesis import synthesize
from nerp.synthesis.config import SynthesisConfig, load_image_config
from nerp.training.config import Config
from nerp.training.loop import Bars

PHANTOMS = "phantoms"
"""What a set says of `ct` that is of phantoms."""


def make_set(config: StudyConfig, name: str, *, progress: Bars) -> Path:
    """Make a set of pairs, or complete it; it is kept in OUT/sets/NAME.

    Args:
        config:   the study.
        name:     of one of its sets.
        progress: called as progress(task, done, total).

    Raises:
        ConfigError: settings of the set, or a run, that cannot be.
        DataError, UsageError, VolumeError, TrainingError: see `synthesize`, `lay_out`, `train`.
    """
    recipe = {"seed": config.seed, "device": config.device, **config.common, **(config.sets[name] or {})}
    out = Path(str(config.out))
    of_phantoms = recipe.pop("ct", None) == PHANTOMS
    ct, labels = _phantoms(config, out, progress) if of_phantoms else _volumes(config, out)
    if of_phantoms:
        recipe |= {"mask.labels": "lung_*", "mask.label_names": str(out / "phantoms" / "labels.csv")}
    else:
        recipe.setdefault("mask.labels", "1")
    run = None if recipe.get("run") is None else str(make_run(config, recipe["run"], progress=progress))
    settings = load_image_config(SynthesisConfig, None, [], recipe | ({} if run is None else {"run": run}))
    folder = out / "sets" / name

    def tick(done: int, total: int) -> None:
        progress(f"set {name}", done, total)

    synthesize(ct, labels, out=folder, settings=settings.set_settings(), run=run, progress=tick)
    return folder


def _volumes(config: StudyConfig, out: Path) -> tuple[Path, Path]:
    if config.volumes is None:
        raise ConfigError("volumes is not given; expected a CSV of the CTs: name,ct,labels,lungs")
    return lay_out(table_path(config.volumes), out / "volumes", data=config.data)


def _phantoms(config: StudyConfig, out: Path, progress: Bars) -> tuple[Path, Path]:
    folder = out / "phantoms"
    made: dict[str, Any] = {"count": config.phantoms, "spacing_mm": config.phantom_mm, "findings": config.findings}
    write_phantoms(folder, seed=config.seed, progress=lambda done, total: progress("phantoms", done, total), **made)
    return folder / "ct", folder / "labels"


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
    from nerp.config import read_settings
    from nerp.training.adversarial import train

    if name not in config.runs:
        raise ConfigError(f"a set is of run {name!r}; expected one of the study's runs: {', '.join(config.runs)}")
    stated = dict(config.runs[name] or {})
    ct, _ = _volumes(config, Path(str(config.out)))
    options = {"data.ct_dir": str(ct), "seed": config.seed, "device": config.device, **stated}
    preset = options.pop("preset", None)
    if config.radiographs:
        options.setdefault("data.radiographs_dir", config.radiographs[0])
    settings = read_settings(Config, preset, options=options)
    folder = Path(str(config.out)) / "runs" / name
    return train(replace(settings, run_dir=str(folder)), progress=lambda task, *at: progress(f"{name}: {task}", *at))
