"""What a study is told: its folders, and by name its sets of pairs, its adversarial runs, and the rows of its table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from nerp.errors import ConfigError
from nerp.settings import Settings, choice, number, section
from nerp.training.arms import uses
from nerp.training.segmentation.arms import SELF_TRAINED
from nerp.training.settings import ArmSettings
from nerp.training.unlabelled_settings import UnlabelledSettings

MEAN_MASK = "mean-mask"
"""The arm that learns nothing: the mean of the real masks, whatever the image."""

ALIGNMENT = "alignment"
"""Stands where a set is not seen by an extractor, but its masks are held to its images."""

_SETS = {True: "sets: names of sets of pairs", False: "none, since it learns from real images alone"}


@dataclass(frozen=True)
class Row(Settings):
    """A row of a table of segmenters.

    Args:
        arm:      what is learned from, as in `evaluate arms`; or `mean-mask`.
        sets:     names of the study's sets of pairs, taken together.
        fraction: of the real images to learn from; the smaller parts lie in the larger ones.
        seeds:    how many trainings; none: the study's.
        steps:    of each training, rounds on radiographs without masks among them; none: the study's.
    """

    SECTION: ClassVar[str] = "rows"

    arm: str = choice("synthetic", "real", "mixed", "fine-tune", "self-trained", MEAN_MASK)
    sets: tuple[str, ...] = ()
    fraction: float = number(1.0, 0.0, 1.0)
    seeds: int | None = number(None, 1, 1000)
    steps: int | None = number(None, 1)

    @property
    def learns_real(self) -> bool:
        """Whether it is made of real images."""
        return self.arm == MEAN_MASK or uses(self.arm, "real")

    @property
    def learns_sets(self) -> bool:
        """Whether it is made of sets of pairs."""
        return self.arm == SELF_TRAINED or uses(self.arm, "synthetic")


@dataclass(frozen=True)
class StudyConfig(Settings):
    """A table of segmenters: each row's training with each seed is a cell, kept in a file of its own.

    Args:
        volumes:     CSV of the CTs: `name,ct,labels,lungs`, paths beside it or below `data`, lungs by value or name.
        data:        folder that relative paths start from; none: the folder of the CSV.
        real:        real images and masks: a folder, or a public set.
        split:       CSV of them: `file,part`, parts train, dev and test.
        part:        that is scored: `dev` while choosing, `test` once at the end.
        radiographs: folders of real radiographs without masks: for discriminators, self-training, and fidelity.
        out:         folder that keeps everything, and continues it.
        seeds:       trainings of each row.
        seed:        the first of them, and that of every set.
        only:        cells to make, such as `physics:0` or `vrr:squeezenet`, with commas between; none: all.
        clean:       keep the one or two largest parts of what a network outlines, closed and filled.
        device:      `auto` takes a GPU where there is one.
        precision:   of the networks while they learn.
        segmenter:   the network, and the steps of every row that states no other.
        unlabelled:  how the arm `self-trained` learns; its folders are `radiographs`.
        phantoms:    how many phantoms stand for CTs where a set says `ct: phantoms`; `phantom_mm` their voxels.
        phantom_mm:  between the voxels of phantoms.
        findings:    of the phantoms.
        common:      settings of all sets, as `nerp synthesize` reads them.
        sets:        by name, settings that differ from these.
        generator:   settings of all runs, as `nerp train` reads them, and what they differ from (`preset`).
        runs:        by name, settings that differ from these.
        rows:        by name, see `Row`.
        contrasts:   couples of rows, later minus earlier.
        fidelity:    sets that are held to `radiographs`, the first being what the others are compared with.
        extractors:  that look at these sets, see `nerp evaluate fidelity`; how masks lie on images is told beside.
        scale:       `small` for two CPU cores, `full` for a GPU, which takes `full` (by `study_settings`).
        full:        dotted keys and values that the scale `full` takes instead.
    """

    volumes: str | None = None
    data: str | None = None
    real: str | None = None
    split: str | None = None
    part: str = choice("dev", "test")
    radiographs: tuple[str, ...] = ()
    out: str | None = None
    seeds: int = number(2, 1, 1000)
    seed: int = number(0, 0, 2**31)
    only: str = ""
    clean: bool = True
    device: str = choice("auto", "cpu", "cuda")
    precision: str = choice("32-true", "bf16-mixed")
    segmenter: ArmSettings = section(ArmSettings)
    unlabelled: UnlabelledSettings = section(UnlabelledSettings)
    phantoms: int = number(40, 1, 100_000)
    phantom_mm: float = number(2.0, 0.5, 10.0)
    findings: str = "none"
    common: dict[str, Any] = field(default_factory=dict)
    sets: dict[str, Any] = field(default_factory=dict)
    generator: dict[str, Any] = field(default_factory=dict)
    runs: dict[str, Any] = field(default_factory=dict)
    rows: dict[str, Any] = field(default_factory=dict)
    contrasts: Any = ()
    fidelity: tuple[str, ...] = ()
    extractors: tuple[str, ...] = ("efficientnet-lite0", "squeezenet")
    scale: str = choice("small", "full")
    full: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, row in self.table.items():
            if bool(row.sets) != row.learns_sets:
                found = f"sets {', '.join(row.sets)}" if row.sets else "no sets"
                raise ConfigError(f"row {name!r} of arm {row.arm} has {found}; expected {_SETS[row.learns_sets]}")
            if row.arm == SELF_TRAINED and not self.radiographs:
                raise ConfigError(
                    f"row {name!r} learns from radiographs without masks; give their folders: radiographs"
                )
            unknown = [one for one in row.sets if one not in self.sets]
            if unknown:
                known = ", ".join(self.sets) or "none, as the study names none"
                raise ConfigError(f"row {name!r} learns from set {unknown[0]!r}; expected some of {known}")
        for couple in self.contrasts:
            unknown = [one for one in couple if one not in self.rows]
            if unknown or len(couple) != 2:
                raise ConfigError(f"contrast {list(couple)}; expected two of the rows {', '.join(self.rows)}")
        self._check_fidelity()

    def _check_fidelity(self) -> None:
        unknown = [one for one in self.fidelity if one not in self.sets]
        if unknown:
            known = ", ".join(self.sets) or "none, as the study names none"
            raise ConfigError(f"fidelity is of set {unknown[0]!r}; expected some of {known}")
        if self.fidelity and not (self.radiographs and self.extractors):
            raise ConfigError("fidelity needs radiographs to hold sets to, and extractors; give folders and names")
        names = [ALIGNMENT, *(Path(one).name for one in self.extractors)]
        if len(set(names)) < len(names):
            raise ConfigError(f"extractors are called {', '.join(names[1:])}; expected names that tell them apart")

    @cached_property
    def table(self) -> dict[str, Row]:
        """The rows by name.

        Raises:
            ConfigError: a row of unknown keys.
        """
        from nerp.config import read_settings

        rows = {name: given or {} for name, given in self.rows.items()}
        return {name: read_settings(Row, options=given) for name, given in rows.items()}


def study_settings(source: str, overrides: Sequence[str] = (), *, options: Mapping[str, Any]) -> StudyConfig:
    """The settings of a study, those of its scale.

    Args:
        source:    a YAML file, or the name of a preset.
        overrides: such as `["seeds=5"]`.
        options:   dotted keys and values that a command's options state.

    Raises:
        ConfigError: see `read_settings`, and what a study cannot be.
    """
    from nerp.config import read_settings

    settings = read_settings(StudyConfig, source, overrides, options=options)
    if settings.scale == "small":
        return settings
    return read_settings(StudyConfig, source, overrides, options={**settings.full, **options})
