"""What decides a set of pairs, beside the CTs themselves: the view, the mask, and the set."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

from nerp.camera import Camera, ViewSettings
from nerp.camera.itk import itk_camera
from nerp.devices import choose_device
from nerp.errors import UsageError
from nerp.label_names import lung_labels, obscuring_labels, select_labels
from nerp.physics.beam import Beam
from nerp.physics.detector import Detector
from nerp.physics.film import Film
from nerp.physics.settings import Physics
from nerp.projection import RULES, MaskRule
from nerp.settings import Settings, choice, number, section
from nerp.synthesis.chance import ObjectSettings
from nerp.synthesis.finding_settings import FindingSettings
from nerp.variation import DeformationSettings, InsertSettings
from nerp.volume import MAX_LABEL, MAX_VOXELS, Volume

LARGEST_SIDE = 4096
"""Pixels; the largest flat detectors have about as many."""
OF_PHYSICS = ("beam", "detector", "film", "physics")
"""Settings of mode `physics`."""
MARCHED = ("vrr", "emission")
"""Modes whose rays march through fields."""
OF_THE_CT = ("deformation", "insert")
"""Settings that vary the CT itself."""
DEFAULTS: dict[str, Settings] = {"beam": Beam(), "detector": Detector(), "film": Film(), "physics": Physics()}
BY_LABEL = "by label"
"""What a set's settings call the rule that is chosen for each mask: `visible` for lungs, else `any`."""
TERMS = "The terms of the CTs and of the labels they were made from hold for these pairs."

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


@dataclass(frozen=True)
class MaskSettings(Settings):
    """Which labels make the masks, and when a ray counts as inside.

    Args:
        labels:      label values whose union is the mask; none takes those that the names call lungs.
        structures:  instead, several masks: each one's name, and its labels by value or name, such as
                     `{"lungs": "lung_*", "heart": "heart"}`. A single one may be called "".
        rule:        with its numbers; None takes `visible` for lungs and parts of lungs, `any` for everything else.
        numbers:     of the rule `visible`, where it is not stated but taken.
        obscuring:   label values that obscure lung under rule `visible`, or their names; None takes those whose names
                     tell so.
        label_names: name of each label value, before what the label file tells.
        force:       draw `visible` of what is no lung.

    Raises:
        UsageError: label values, names of masks or numbers that cannot be.
    """

    SECTION: ClassVar[str] = "mask"

    labels: tuple[int, ...] = ()
    structures: Mapping[str, str] = field(default_factory=dict)
    rule: MaskRule | None = None
    numbers: Mapping[str, float] = field(default_factory=dict)
    obscuring: tuple[int, ...] | str | None = None
    label_names: dict[int, str] = field(default_factory=dict)
    force: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        known = () if self.structures else tuple(sorted(lung_labels(self.label_names)))
        object.__setattr__(self, "labels", tuple(self.labels) or known)
        if not all(1 <= label < MAX_LABEL for label in self.labels) or len(set(self.labels)) != len(self.labels):
            expected = f"distinct label values from 1 to {MAX_LABEL - 1}, such as 10,11"
            raise UsageError(f"mask is {list(self.labels)}; expected {expected}")
        if self.labels and self.structures:
            raise UsageError(f"mask is {list(self.labels)} and {dict(self.structures)}; expected one of them")
        for name in self.structures:
            if not (_NAME.fullmatch(name) or (name == "" and len(self.structures) == 1)):
                raise UsageError(f"a mask is called {name!r}; expected letters, digits, - and _, such as lungs=lung_*")
        MaskRule("visible", self.numbers)

    def chosen(self, names: Mapping[int, str]) -> dict[str, tuple[int, ...]]:
        """The label values of each mask, under its name; a single mask's may be "".

        Args:
            names: of the label values.

        Raises:
            UsageError: nothing is chosen, or a name that is none of these.
        """
        if self.structures:
            return {name: select_labels(text, dict(names)) for name, text in self.structures.items()}
        labels = self.labels or tuple(sorted(lung_labels(names)))
        if not labels:
            raise UsageError(
                "no mask is chosen; give label values such as 10,11, or label names that tell the lungs (--label-names)"
            )
        return {"": labels}

    def obscuring_labels(self, names: Mapping[int, str] | None = None) -> list[int]:
        """The label values that obscure lung to a reader, for the rule `visible`; of other rules none.

        Args:
            names: of the label values; None takes `label_names`.
        """
        if self.rule is not None and self.rule.name != "visible":
            return []
        names = self.label_names if names is None else names
        if isinstance(self.obscuring, str):
            return sorted(select_labels(self.obscuring, dict(names)))
        return sorted(obscuring_labels(names) if self.obscuring is None else self.obscuring)

    def as_json(self) -> dict[str, Any]:
        """What decides the masks, as JSON values."""
        obscuring = self.obscuring if isinstance(self.obscuring, str) else self.obscuring_labels()
        chosen = {"labels": dict(self.structures) or list(self.labels), "obscuring": obscuring}
        if self.rule is None:
            return {**chosen, "rule": {"name": BY_LABEL, **RULES["visible"], **self.numbers}}
        return {**chosen, "rule": self.rule.to_dict(), **({"force": True} if self.force else {})}


READINGS = ("orientation", "spacing_mm", "affine", "rescale")
"""What may be stated of a CT's voxels, and is kept in its records."""


@dataclass(frozen=True)
class InputSettings(Settings):
    """How the CTs and labels are read, and what is done about those that are not as they should be.

    Args:
        series:            of a DICOM folder: its number, UID or description.
        orientation:       of the CT's index axes, such as `LPS`, where its file does not tell or tells wrong.
        spacing_mm:        likewise its voxel size along each index axis.
        affine:            likewise the upper three rows, one after another, of the matrix from voxel index to RAS+ mm.
        rescale:           slope and intercept that make HU of the stored numbers, where the file does not tell.
        max_voxels:        a header that promises more is refused.
        labels_pattern:    how the labels of a CT are called, such as `{name}_mask.nii.gz`.
        labels_on_ct_grid: lay labels of the CT's shape on its grid, whatever place their file gives.
        strict:            refuse what is otherwise warned of.
        skip_bad:          go on without the CTs that cannot be used, and list them.
    """

    SECTION: ClassVar[str] = "inputs"

    series: str | None = None
    orientation: str | None = None
    spacing_mm: tuple[float, float, float] | None = None
    affine: tuple[float, ...] | None = number(None, length=12)
    rescale: tuple[float, float] | None = number(None, length=2)
    max_voxels: int = number(MAX_VOXELS, 1)
    labels_pattern: str | None = None
    labels_on_ct_grid: bool = False
    strict: bool = False
    skip_bad: bool = False

    def ct_reading(self) -> dict[str, Any]:
        """What is stated of a CT's place, as its record keeps it; its series is known by the CT's hash."""
        stated = {name: getattr(self, name) for name in READINGS}
        return json.loads(json.dumps({name: value for name, value in stated.items() if value is not None}))

    @classmethod
    def of_reading(cls, reading: Mapping[str, Any], **more: Any) -> InputSettings:
        """The settings that read a CT as `ct_reading` of a record tells.

        Args:
            reading: of a record.
            more:    further settings.
        """
        given = {name: reading[name] for name in READINGS if reading.get(name) is not None}
        stated: dict[str, Any] = {name: tuple(one) if isinstance(one, list) else one for name, one in given.items()}
        return cls(**stated, **more)

    def as_json(self) -> dict[str, Any]:
        """What of it decides the pairs, where anything is stated."""
        return {**self.ct_reading(), **({"labels_on_ct_grid": True} if self.labels_on_ct_grid else {})}


@dataclass(frozen=True)
class PairSettings(Settings):
    """Everything but files that decides the pairs; the same settings make the same pairs.

    Args:
        mode:        `drr`, line integrals of the attenuation; `physics`, what a detector reads; `vrr`, a trained run's
            radiographs; `emission`, emission and absorption in the CT as it is; `itk`, sums of HU by ITK's tool.
        shape:       (H, W) pixels.
        bits:        8 or 16, of each pixel of an image's file; masks have 8.
        camera:      the view, and the ranges that cameras are drawn from.
        mask:        labels and rule.
        inputs:      how CTs and labels are read.
        objects:     what lies on and in the patient; not with `vrr`.
        deformation: how body and breath differ from the CT's.
        insert:      findings drawn into the lungs.
        findings:    whether records tell which findings the films show.
        beam:        of mode `physics`, as the next three.
        detector:    panel, dose.
        film:        how the signal is developed.
        physics:     scatter, grid, noise, density of structures.
        views:       cameras for each CT.
        seed:        of the cameras; each pair draws from (seed, hash of its CT, view index) alone.
        device:      `auto` takes a GPU where there is one.
        backend:     of the projection.
        licence:     terms of the set, as told in `dataset.json`.
        allow_empty: keep CTs on none of whose views the mask has a pixel, such as those without a finding.

    Raises:
        UsageError: a value that cannot be.
    """

    mode: str = choice("drr", "physics", "vrr", "emission", "itk")
    shape: tuple[int, int] = number((256, 256), 1, LARGEST_SIDE)
    bits: int = choice(8, 16)
    camera: ViewSettings = section(ViewSettings)
    mask: MaskSettings = section(MaskSettings)
    inputs: InputSettings = section(InputSettings)
    objects: ObjectSettings = section(ObjectSettings)
    deformation: DeformationSettings = section(DeformationSettings)
    insert: InsertSettings = section(InsertSettings)
    findings: FindingSettings = section(FindingSettings)
    beam: Beam = section(Beam)
    detector: Detector = section(Detector)
    film: Film = section(Film)
    physics: Physics = section(Physics)
    views: int = number(10, 1)
    seed: int = number(0, 0)
    device: str = choice("auto", "cpu", "cuda")
    backend: str = choice("auto", "reference", "cpu", "cuda")
    licence: str = TERMS
    allow_empty: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        stated = [name for name in OF_PHYSICS if self.mode != "physics" and getattr(self, name) != DEFAULTS[name]]
        if stated:
            raise UsageError(f"{stated[0]} is stated for mode physics, but mode is {self.mode}; add --mode physics")
        if self.mask.rule is not None and self.mask.rule.name == "rendered" and self.mode not in MARCHED:
            raise UsageError(f"mask rule 'rendered' needs the fields of mode vrr, but mode is {self.mode}")

    def as_json(self) -> dict[str, Any]:
        """What decides the pairs, as JSON values, for `dataset.json` and for comparing.

        Not what only tells of them, nor `allow_empty`, which may be allowed when a set is taken up again.
        """
        camera = {**asdict(self.camera), "angle_deg": self.camera.turn_deg}
        values = {name: getattr(self, name) for name in ("mode", "views", "seed", "shape", "backend")}
        device = choose_device(self.device).type
        stated: dict[str, Any] = {"inputs": self.inputs.as_json()} if self.inputs.as_json() else {}
        stated |= {"bits": self.bits} if self.bits != 8 else {}
        stated |= {"objects": asdict(self.objects)} if self.objects.any else {}
        stated |= {name: asdict(getattr(self, name)) for name in OF_THE_CT if self.varies}
        stated |= {"findings": asdict(self.findings)} if self.findings.visibility else {}
        stated |= self.physics_json() if self.mode == "physics" else {}
        mask = self.mask.as_json()
        return json.loads(json.dumps({**values, "device": device, "camera": camera, "mask": mask, **stated}))

    @property
    def varies(self) -> bool:
        """Whether the CT itself is varied."""
        return self.deformation.any or self.insert.any

    def physics_json(self) -> dict[str, Any]:
        """What decides a physical radiograph beside its camera, as JSON values."""
        return json.loads(json.dumps({name: asdict(getattr(self, name)) for name in OF_PHYSICS}))

    def base_camera(self, ct: Volume) -> Camera:
        """The view's preset on a CT `(1, D, H, W)`, a batch of one, float64; in mode `itk` that of ITK's tool."""
        if self.mode == "itk":
            return itk_camera(ct, self.camera.view, shape=self.shape)
        return self.camera.base_camera(ct, self.shape)


OF_SETS = ("views", "seed", "allow_empty", "licence")
"""Settings of a set of pairs that a single view does not have, or has for itself."""


def restated(settings: PairSettings) -> dict[str, Any]:
    """Settings as a YAML file states them, without paths: `--config` of it makes the same pairs again."""
    mask = settings.mask
    camera = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(settings.camera).items()}
    names = ("mode", "device", "backend", *OF_SETS)
    values = {name: getattr(settings, name) for name in names} | ({"bits": settings.bits} if settings.bits != 8 else {})
    stated = {
        "labels": dict(mask.structures) or list(mask.labels),
        "rule": None if mask.rule is None else mask.rule.name,
        "numbers": dict(mask.numbers if mask.rule is None else mask.rule.numbers),
        "obscuring": mask.obscuring
        if mask.obscuring is None or isinstance(mask.obscuring, str)
        else list(mask.obscuring),
        "label_names": dict(mask.label_names) or None,
        "force": mask.force,
    }
    inputs = {key: list(value) if isinstance(value, tuple) else value for key, value in vars(settings.inputs).items()}
    parts = [*(OF_PHYSICS if settings.mode == "physics" else ()), *(("objects",) if settings.objects.any else ())]
    made = {name: asdict(getattr(settings, name)) for name in (*parts, *(OF_THE_CT if settings.varies else ()))}
    made |= {"findings": asdict(settings.findings)} if settings.findings.visibility else {}
    del inputs["series"]  # its UID, or what it is called, may tell of a patient
    return {
        **values,
        "shape": list(settings.shape),
        "camera": camera,
        "mask": stated,
        "inputs": inputs,
        **_listed(made),
    }


def _listed(values: dict[str, Any]) -> dict[str, Any]:
    """Nested values with lists for tuples, as YAML has them."""
    return json.loads(json.dumps(values))
