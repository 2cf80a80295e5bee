"""What a person states of images and pairs: files, names of labels, settings; from options, YAML and `key=value`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from nerp.camera import ViewSettings
from nerp.camera.itk import check_view
from nerp.config import read_settings
from nerp.errors import UsageError
from nerp.label_names import read_label_names, select_labels
from nerp.physics.beam import Beam
from nerp.physics.detector import Detector
from nerp.physics.film import Film
from nerp.physics.settings import Physics
from nerp.projection import MaskRule
from nerp.runs import RunFolder
from nerp.settings import Settings, choice, flatten, number, section
from nerp.synthesis.chance import ObjectSettings
from nerp.synthesis.finding_settings import FindingSettings
from nerp.synthesis.settings import LARGEST_SIDE, OF_PHYSICS, OF_SETS, TERMS, InputSettings, MaskSettings, PairSettings
from nerp.training.config import load_config
from nerp.variation import DeformationSettings, InsertSettings


@dataclass(frozen=True)
class MaskConfig(Settings):
    """The masks, as a person names them.

    Args:
        labels:      values or names, such as `lung_*` or `10,11`; of several masks each one's, under its name, such as
                     `{lungs: lung_*, heart: heart}`; none takes what the names call lungs.
        rule:        `any`, `thickness`, `visible`, `rendered`; none takes `visible` for lungs and parts of lungs, `any`
                     for everything else.
        numbers:     numbers of the rule that differ from its defaults, such as `{thickness_mm: 15}`.
        obscuring:   labels that obscure lung under the rule `visible`; none takes those whose names tell so.
        label_names: table that names the label values, or the names themselves, such as `{10: lung_left}`; none takes
                     what the label file tells.
        force:       draw `visible` of what is no lung.
    """

    SECTION: ClassVar[str] = "mask"

    labels: Any = None
    rule: str | None = None
    numbers: dict[str, float] = field(default_factory=dict)
    obscuring: Any = None
    label_names: Any = None
    force: bool = False

    def resolved(self) -> MaskSettings:
        """The settings, by label values where the names are known already.

        Raises:
            UsageError: a label that is no value and fits no name, or an unknown rule or number.
            DataError: label names that cannot be read.
        """
        names = self._names()
        rule = {"numbers": self.numbers} if self.rule is None else {"rule": MaskRule(self.rule, self.numbers)}
        common: dict[str, Any] = {
            **rule,
            "obscuring": self._obscuring(names),
            "label_names": names,
            "force": self.force,
        }
        if isinstance(self.labels, Mapping):
            return MaskSettings(structures={str(name): _text(one) for name, one in self.labels.items()}, **common)
        text = _text(self.labels)
        if text and not names and not _are_values(text):
            return MaskSettings(structures={"": text}, **common)
        return MaskSettings(labels=select_labels(text, names) if text else (), **common)

    def _obscuring(self, names: dict[int, str]) -> tuple[int, ...] | str | None:
        text = _text(self.obscuring)
        if self.obscuring is None or not (names or _are_values(text)):
            return None if self.obscuring is None else text
        return select_labels(text, names) if text else ()

    def _names(self) -> dict[int, str]:
        if isinstance(self.label_names, Mapping):
            return {int(value): str(name) for value, name in self.label_names.items()}
        return read_label_names(self.label_names) if self.label_names else {}


@dataclass(frozen=True)
class ImageConfig(Settings):
    """What single views and sets of pairs have in common.

    Args:
        ct:      CT file, DICOM folder, or folder of CTs.
        labels:  label map of the CT, or folder of maps.
        run:     RUN, for mode `vrr`.
        out:     folder to write.
        mode:    `drr`, `physics`, `vrr`, `emission` or `itk`; none: `vrr` where a run is given, else `drr`.
        shape:   rows, columns; none: the run's own, else 256 x 256.
        bits:    8 or 16, of each pixel of an image's file.
        device:  `auto` takes a GPU where there is one.
        backend: of the projection.
        camera:  the view, and the ranges of the cameras.
        mask:    labels and rule.
        inputs:  how CTs and labels are read, and what is done about bad ones.
        objects: what lies on and in the patient.
        deformation: how body and breath differ from the CT's.
        insert:  findings drawn into the lungs.
        findings: whether records tell which findings the films show.
        beam, detector, film, physics: of mode `physics`.
    """

    ct: str | None = None
    labels: str | None = None
    run: str | None = None
    out: str | None = None
    mode: str | None = None
    shape: tuple[int, int] | None = number(None, 1, LARGEST_SIDE, length=2)
    bits: int = choice(8, 16)
    device: str = choice("auto", "cpu", "cuda")
    backend: str = choice("auto", "reference", "cpu", "cuda")
    camera: ViewSettings = section(ViewSettings)
    mask: MaskConfig = section(MaskConfig)
    inputs: InputSettings = section(InputSettings)
    objects: ObjectSettings = section(ObjectSettings)
    deformation: DeformationSettings = section(DeformationSettings)
    insert: InsertSettings = section(InsertSettings)
    findings: FindingSettings = section(FindingSettings)
    beam: Beam = section(Beam)
    detector: Detector = section(Detector)
    film: Film = section(Film)
    physics: Physics = section(Physics)

    def pair_settings(self, **more: Any) -> PairSettings:
        """What decides the images; `more` are the settings of a set.

        Raises:
            UsageError, DataError: see `MaskConfig.resolved` and `PairSettings`; a view that mode `itk` has not.
        """
        if self.mode == "itk":
            check_view(self.camera.view)
        shape: dict[str, Any] = {} if self.shape is None else {"shape": self.shape}
        physics: dict[str, Any] = {name: getattr(self, name) for name in OF_PHYSICS}
        return PairSettings(
            mode=self.mode or ("drr" if self.run is None else "vrr"),
            camera=self.camera,
            mask=self.mask.resolved(),
            inputs=self.inputs,
            device=self.device,
            backend=self.backend,
            bits=self.bits,
            objects=self.objects,
            deformation=self.deformation,
            insert=self.insert,
            findings=self.findings,
            **physics,
            **shape,
            **more,
        )

    def required(self, *names: str) -> list[str]:
        """The values of settings that must be given.

        Raises:
            UsageError: one is missing; the option and the key are named.
        """
        missing = [name for name in names if getattr(self, name) is None]
        if missing:
            name = missing[0]
            raise UsageError(f"{name} is not given; give --{name}, or {name}: in the --config file")
        return [getattr(self, name) for name in names]


@dataclass(frozen=True)
class RenderConfig(ImageConfig):
    """Of `nerp render`: an `ImageConfig`, and the camera's seed.

    Args:
        seed: varies the camera within the ranges; none takes the view's preset.
    """

    seed: int | None = number(None, 0)


@dataclass(frozen=True)
class SynthesisConfig(ImageConfig):
    """Of `nerp synthesize`: an `ImageConfig`, and the set.

    Args:
        views:       cameras for each CT.
        seed:        of the cameras.
        allow_empty: keep CTs without a pixel of the mask.
        licence:     terms of the set, as told in `dataset.json`.
    """

    views: int = number(10, 1)
    seed: int = number(0, 0, 2**32 - 1)
    allow_empty: bool = False
    licence: str = TERMS

    def set_settings(self) -> PairSettings:
        """What decides the pairs; errors as `pair_settings`."""
        return self.pair_settings(**{name: getattr(self, name) for name in OF_SETS})


Kind = TypeVar("Kind", bound=ImageConfig)


def load_image_config(
    kind: type[Kind], source: str | Path | None, overrides: Sequence[str], options: Mapping[str, Any]
) -> Kind:
    """The settings of a command: a trained run's own shape and cameras, then YAML, options and `key=value`.

    Args:
        kind:      `RenderConfig` or `SynthesisConfig`.
        source:    YAML file, or None.
        overrides: such as `["views=3"]`.
        options:   dotted keys that the command's options state.

    Raises:
        ConfigError: see `read_settings`.
    """
    first = read_settings(kind, source, overrides, options=options)
    run = None if first.run is None else RunFolder(Path(first.run)).config
    if run is None or not run.is_file():
        return first
    trained = load_config(run, warn=False)
    own = {f"camera.{key}": value for key, value in flatten(trained.camera).items()}
    base = {**own, "shape": list(trained.viewer.shape)}
    return read_settings(kind, source, overrides, base=base, options=options, warn=False)


def _text(labels: Any) -> str:
    """`10,11` or `lung_*` of a text, a number, or a list of either; nothing of nothing."""
    if labels is None:
        return ""
    return ",".join(map(str, labels)) if isinstance(labels, list | tuple) else str(labels)


def _are_values(text: str) -> bool:
    return all(part.strip().isdecimal() for part in text.split(",") if part)
