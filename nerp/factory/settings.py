"""What a plan of a data set may say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from nerp.config import read_settings
from nerp.errors import ConfigError
from nerp.settings import Settings, choice, dotted, number, section
from nerp.synthesis.config import SynthesisConfig, load_image_config
from nerp.synthesis.settings import TERMS

_LEAVES = ("labels", "numbers", "label_names")
"""Settings of masks that are mappings themselves."""
LAYOUTS = ("imagefolder", "webdataset", "coco", "drr-rate", "dicom")
TABLES = ("labels", "metadata", "reports")
WHOLE = "train"
"""The only part of a set that is not split."""


@dataclass(frozen=True)
class SourceSettings(Settings):
    """Where CTs come from.

    Args:
        ct:              folder of CTs, one CT, or a CSV that lists them: columns `ct`, `labels`, and `patient_id`.
        labels:          folder of their labels; of a CSV, none.
        labels_pattern:  where a CT's labels lie below it, such as `{name}_mask.nii.gz`.
        patients:        CSV of file,patient_id; none: see `patient_pattern`.
        patient_pattern: regular expression whose group is the patient in a CT's name below the folder, such as
            `([^/]+)/` for a folder a patient; none: every CT is a patient of its own.
        findings:        CSV of file and a column a finding, carried over to each pair's record.
        metadata:        CSV files of CT-RATE's metadata, commas between: the CTs are CT-RATE's as published. Names tell
            patients, the tables their voxels; `findings` and `reports` are then its tables, too.
        reports:         CSV files of its reports, commas between, carried over.
        names:           `hashed`: the set names patients by a hash; `kept`: as the source does.
        tables:          further CSVs of the CTs by their files, such as {labels: a.csv, metadata: b.csv,
            reports: c.csv}: layouts that have a place for them carry the rows of the set's CTs over as they stand.
    """

    SECTION: ClassVar[str] = "sources"

    ct: str | None = None
    labels: str | None = None
    labels_pattern: str | None = None
    patients: str | None = None
    patient_pattern: str | None = None
    findings: str | None = None
    metadata: str | None = None
    reports: str | None = None
    names: str = choice("hashed", "kept")
    tables: dict[str, str] = field(default_factory=dict)

    @property
    def carried(self) -> dict[str, list[str]]:
        """The CSV files of each table that is carried over; CT-RATE's own, too, where names are kept."""
        published = {"labels": self.findings, "metadata": self.metadata, "reports": self.reports}
        own = published if self.metadata is not None and self.names == "kept" else {}
        return {kind: files_of(text) for kind, text in {**own, **self.tables}.items() if text}


def files_of(text: str | None) -> list[str]:
    """Files of which several are named, commas between."""
    return [part.strip() for part in (text or "").split(",") if part.strip()]


@dataclass(frozen=True)
class SplitSettings(Settings):
    """How patients are dealt out; every one whole.

    Args:
        parts:    names and fractions, such as {train: 0.8, valid: 0.1, test: 0.1}; none: all is `train`.
        folds:    of cross-validation, written beside as a column; 0: none.
        stratify: findings that are spread evenly, rarest first; none: all that the sources tell.
        seed:     of the order.
    """

    SECTION: ClassVar[str] = "split"

    parts: dict[str, float] = field(default_factory=dict)
    folds: int = number(0, 0, 100)
    stratify: tuple[str, ...] = ()
    seed: int = number(0, 0, 2**32 - 1)


@dataclass(frozen=True)
class FactoryConfig(Settings):
    """A data set to be made: CTs, views, modes, masks, parts, layout.

    Args:
        sources:       by name, each as `SourceSettings`.
        images:        by name, what is made of every CT: dotted settings of `nerp synthesize`, and `run` of mode `vrr`.
        common:        dotted settings of all images.
        split:         how patients are dealt out.
        layouts:       how the set lies on disk.
        measures:      tell of every pair what its labels measure: cardiothoracic ratio, lung areas and volumes, ...
        title:         of the set, on its card.
        description:   what it is for, on its card.
        licence:       its terms; a set cannot be freer than its CTs.
        seed:          of all cameras and chance.
        shard:         CTs that a worker takes at a time; all of them or none are kept.
        workers:       processes.
        threads:       of each.
        ray:           address of a Ray cluster, instead of processes.
        max_failures:  CTs that may fail before the work stops; none: any number.
        device:        `auto` takes a GPU where there is one.
        out:           folder to write.
    """

    sources: dict[str, Any] = field(default_factory=dict)
    images: dict[str, Any] = field(default_factory=dict)
    common: dict[str, Any] = field(default_factory=dict)
    split: SplitSettings = section(SplitSettings)
    layouts: tuple[str, ...] = ("imagefolder",)
    measures: bool = False
    title: str = "Synthetic chest radiographs"
    description: str = ""
    licence: str = TERMS
    seed: int = number(0, 0, 2**32 - 1)
    shard: int = number(4, 1, 10_000)
    workers: int = number(1, 1, 1024)
    threads: int = number(1, 1, 1024)
    ray: str | None = None
    max_failures: int | None = number(None, 0)
    device: str = choice("auto", "cpu", "cuda")
    out: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for what, given in (("sources", self.sources), ("images", self.images)):
            if not given:
                raise ConfigError(f"{what} is empty; expected one or more by name, such as {EXAMPLES[what]}")
        unknown = [name for name in self.layouts if name not in LAYOUTS]
        if unknown or not self.layouts:
            found = repr(unknown[0]) if unknown else "nothing"
            raise ConfigError(f"layouts names {found}; expected one or more of {', '.join(LAYOUTS)}")
        _check_parts(self.split.parts)
        for name, source in self.source_settings.items():
            if source.ct is None:
                raise ConfigError(f"sources.{name}.ct is not given; expected a folder of CTs, or a CSV that lists them")
            if other := [kind for kind in source.tables if kind not in TABLES]:
                raise ConfigError(f"sources.{name}.tables has {other[0]!r}; expected some of {', '.join(TABLES)}")
        _ = self.image_settings  # a key mistyped is met at once

    @cached_property
    def source_settings(self) -> dict[str, SourceSettings]:
        """The sources, each key checked.

        Raises:
            ConfigError: keys that are none.
        """
        return {
            name: _named(f"sources.{name}", lambda given=given: read_settings(SourceSettings, options=given or {}))
            for name, given in self.sources.items()
        }

    @cached_property
    def image_settings(self) -> dict[str, SynthesisConfig]:
        """What is made of every CT, each key checked.

        Raises:
            ConfigError: keys that are none, or values that cannot be.
        """
        return {name: self._image(name, given or {}) for name, given in self.images.items()}

    def _image(self, name: str, given: Mapping[str, Any]) -> SynthesisConfig:
        stated = {"seed": self.seed, "views": 1, "device": self.device, "licence": self.licence}
        options = {**stated, **dotted(self.common, whole=_LEAVES), **dotted(given, whole=_LEAVES)}
        return _named(f"images.{name}", lambda: load_image_config(SynthesisConfig, None, [], options))


EXAMPLES = {
    "sources": "sources: {mine: {ct: ct, labels: labels}}",
    "images": "images: {pa: {mode: drr}, lateral: {camera.view: lateral}}",
}


def load_plan(source: str | Path, overrides: Sequence[str] = (), *, options: Mapping[str, Any]) -> FactoryConfig:
    """The settings of a plan.

    Args:
        source:    YAML file, or the name of a preset.
        overrides: such as `["seed=3"]`.
        options:   dotted keys and values that a command's options state.

    Raises:
        ConfigError: see `read_settings`.
    """
    return read_settings(FactoryConfig, source, overrides, options=options)


def _named(where: str, read: Any) -> Any:
    try:
        return read()
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error


def _check_parts(parts: Mapping[str, float]) -> None:
    if not parts:
        return
    wrong = [name for name, part in parts.items() if not isinstance(part, int | float) or not 0 < part <= 1]
    named = [name for name in parts if not name.replace("-", "").replace("_", "").isalnum()]
    if wrong or named or abs(sum(parts.values()) - 1) > 1e-6:
        raise ConfigError(f"split.parts is {dict(parts)}; expected names and fractions above 0 whose sum is 1")
