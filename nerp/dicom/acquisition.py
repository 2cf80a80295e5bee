"""How a radiograph was taken, in DICOM's words: beam, distances, detector, grid, and which view it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nerp.errors import GeometryError, UsageError

SCT = "SCT"
CHEST = ("816094009", SCT, "Chest")
"""CID 4009, DX Anatomy Imaged (DICOM PS3.16)."""

VIEWS = {
    "PA": ("272479007", SCT, "postero-anterior"),
    "AP": ("399348003", SCT, "antero-posterior"),
    "LL": ("399173006", SCT, "left lateral"),
    "RL": ("399198007", SCT, "right lateral"),
    "LAO": ("399135007", SCT, "left anterior oblique"),
    "RAO": ("399356000", SCT, "right anterior oblique"),
    "LPO": ("399006002", SCT, "left posterior oblique"),
    "RPO": ("399038007", SCT, "right posterior oblique"),
}
"""Views by the side that lies against the detector, and their codes of CID 4010, DX View (DICOM PS3.16)."""

POSITIONS = ("PA", "AP", "LL", "RL")
"""Views for which ViewPosition has a term."""

STRAIGHT_DEG = 20.0
"""A beam this close to an axis of the patient is called by it, as cameras are named."""

LEAST_PART = 0.1
"""Component of a unit direction from which PatientOrientation names it: some 6 degrees."""

MOST_MM = 1e5
AMOUNTS = (
    "kvp",
    "aluminium_mm",
    "copper_mm",
    "half_value_layer_mm",
    "entrance_dose_mgy",
    "exposure_mas",
    "grid_ratio",
    "grid_pitch_mm",
    "grid_focus_mm",
)
"""Fields of an `Acquisition` that are numbers from 0."""


@dataclass(frozen=True)
class Acquisition:
    """How a radiograph was taken; what is None is not known, and its tags are left out.

    Args:
        beam:                (3,) unit direction of the central ray, from the source, RAS+.
        image_right:         (3,) unit direction in which columns grow, RAS+.
        image_down:          (3,) unit direction in which rows grow, RAS+.
        pixel_mm:            at the detector: between rows, between columns.
        source_detector_mm:  from the focus to the detector.
        source_object_mm:    from the focus to the middle of the chest: the magnification is that of this plane.
        kvp:                 peak voltage.
        aluminium_mm:        total filtration in mm of aluminium.
        copper_mm:           added, in mm of copper.
        half_value_layer_mm: of the filtered beam, in mm of aluminium.
        entrance_dose_mgy:   air kerma where the beam enters, without what the patient scatters back.
        exposure_mas:        tube current by time.
        grid_ratio:          height by distance of the grid's strips; 0 without a grid.
        grid_pitch_mm:       from one strip to the next.
        grid_focus_mm:       focal distance of the grid; None where its strips are parallel.
        grid_interspace:     what is between the strips, such as `ALUMINUM`.
        collimated:          first and last column, first and last row within the collimator's edges, from 1.
        detector:            what the detector is made of, 64 characters at most.

    Raises:
        GeometryError: directions that are no unit vectors, pixels or distances that cannot be.
        UsageError:    a number below 0, or not finite.
    """

    beam: Sequence[float]
    image_right: Sequence[float]
    image_down: Sequence[float]
    pixel_mm: tuple[float, float]
    source_detector_mm: float | None = None
    source_object_mm: float | None = None
    kvp: float | None = None
    aluminium_mm: float | None = None
    copper_mm: float | None = None
    half_value_layer_mm: float | None = None
    entrance_dose_mgy: float | None = None
    exposure_mas: float | None = None
    grid_ratio: float | None = None
    grid_pitch_mm: float | None = None
    grid_focus_mm: float | None = None
    grid_interspace: str = ""
    collimated: tuple[int, int, int, int] | None = None
    detector: str = ""

    def __post_init__(self) -> None:
        for name in ("beam", "image_right", "image_down"):
            _check_direction(name, getattr(self, name))
        if abs(float(np.dot(self.image_right, self.image_down))) > 1e-3:
            raise GeometryError("image_right and image_down of an acquisition are not perpendicular; expected an image")
        lengths = {"pixel_mm": self.pixel_mm, "source_detector_mm": self.source_detector_mm}
        for name, value in {**lengths, "source_object_mm": self.source_object_mm}.items():
            if value is not None and not (np.greater(value, 0) & np.less(value, MOST_MM)).all():
                raise GeometryError(f"{name} of an acquisition is {value}; expected above 0 and below {MOST_MM:g} mm")
        for name in AMOUNTS:
            value = getattr(self, name)
            if value is not None and not 0 <= value < 1e6:
                raise UsageError(f"{name} of an acquisition is {value}; expected a number of at least 0")

    @property
    def view(self) -> str:
        """The name of the view, a key of `VIEWS`, by the part of the patient that the beam leaves through."""
        return view_of(self.beam)


def view_of(beam: Sequence[float]) -> str:
    """Which view a beam takes, a key of `VIEWS`; its climb towards head or feet is left aside.

    Args:
        beam: (3,) direction, RAS+.
    """
    right, front = float(beam[0]), float(beam[1])
    off_deg = np.degrees(np.arctan2(abs(right), abs(front)))
    if off_deg <= STRAIGHT_DEG:
        return "PA" if front > 0 else "AP"
    side = "R" if right > 0 else "L"
    if off_deg >= 90 - STRAIGHT_DEG:
        return f"{side}L"
    return f"{side}{'A' if front > 0 else 'P'}O"


def patient_direction(direction: Sequence[float]) -> str:
    """A direction in the letters of PatientOrientation, the largest component first, such as `LA`.

    Args:
        direction: (3,) unit vector, RAS+.

    Source: DICOM PS3.3, C.7.6.1.1.1.
    """
    letters = ("RL", "AP", "HF")
    order = sorted(range(3), key=lambda axis: -abs(direction[axis]))
    named = [axis for axis in order if abs(direction[axis]) >= LEAST_PART]
    return "".join(letters[axis][0 if direction[axis] > 0 else 1] for axis in named)


def positioning(taken: Acquisition) -> dict[str, Any]:
    """Keywords of the modules DX Positioning and DX Anatomy Imaged (DICOM PS3.3, C.8.11.5 and C.8.11.2)."""
    known = taken.source_detector_mm is not None and taken.source_object_mm is not None
    return {
        "PatientOrientation": [patient_direction(taken.image_right), patient_direction(taken.image_down)],
        "ViewPosition": taken.view if taken.view in POSITIONS else None,
        "ViewCodeSequence": [{**coded(VIEWS[taken.view]), "ViewModifierCodeSequence": []}],
        "PositionerType": "NONE",
        "DistanceSourceToDetector": taken.source_detector_mm,
        "DistanceSourceToPatient": taken.source_object_mm,
        "EstimatedRadiographicMagnificationFactor": _magnification(taken) if known else None,
        "BodyPartExamined": "CHEST",
        "ImageLaterality": "U",
        "AnatomicRegionSequence": [coded(CHEST)],
    }


def exposure(taken: Acquisition) -> dict[str, Any]:
    """Keywords of the modules X-Ray Generation, Filtration, Collimator, Grid, Acquisition Dose (DICOM PS3.3, C.8.7)."""
    mas = taken.exposure_mas
    kerma = "Entrance dose is air kerma in free air, without backscatter."
    return {
        "KVP": taken.kvp,
        "Exposure": None if mas is None else round(mas),
        "ExposureInuAs": None if mas is None else round(mas * 1000),
        "EntranceDoseInmGy": taken.entrance_dose_mgy,
        "CommentsOnRadiationDose": None if taken.entrance_dose_mgy is None else kerma,
        "HalfValueLayer": taken.half_value_layer_mm,
        **_filter(taken),
        **_collimator(taken),
        **_grid(taken),
    }


def panel(taken: Acquisition) -> dict[str, Any]:
    """Keywords of the module DX Detector (DICOM PS3.3, C.8.11.4)."""
    return {
        "DetectorType": "SCINTILLATOR",
        "DetectorConfiguration": "AREA",
        "DetectorDescription": taken.detector[:64] or None,
        "ImagerPixelSpacing": list(taken.pixel_mm),
    }


def _filter(taken: Acquisition) -> dict[str, Any]:
    thickness = {"ALUMINUM": taken.aluminium_mm, "COPPER": taken.copper_mm}
    sheets = {name: value for name, value in thickness.items() if value}
    if not sheets:
        return {}
    both = {f"FilterThickness{end}": list(sheets.values()) for end in ("Minimum", "Maximum")}
    kind = "MULTIPLE" if len(sheets) > 1 else None  # what is one flat sheet has no term
    return {"FilterType": kind, "FilterMaterial": list(sheets), **both}


def _collimator(taken: Acquisition) -> dict[str, Any]:
    if taken.collimated is None:
        return {}
    edges = ("LeftVerticalEdge", "RightVerticalEdge", "UpperHorizontalEdge", "LowerHorizontalEdge")
    places = {f"Collimator{edge}": place for edge, place in zip(edges, taken.collimated, strict=True)}
    return {"CollimatorShape": "RECTANGULAR", **places}


def _grid(taken: Acquisition) -> dict[str, Any]:
    if taken.grid_ratio is None:
        return {}
    if taken.grid_ratio == 0:
        return {"Grid": "NONE"}
    ratio = [round(taken.grid_ratio), 1] if float(taken.grid_ratio).is_integer() else None
    kind = ["FIXED", "PARALLEL" if taken.grid_focus_mm is None else "FOCUSED"]
    return {
        "Grid": kind,
        "GridAbsorbingMaterial": "LEAD",
        "GridSpacingMaterial": taken.grid_interspace or None,
        "GridPitch": taken.grid_pitch_mm,
        "GridAspectRatio": ratio,
        "GridFocalDistance": taken.grid_focus_mm,
    }


def _magnification(taken: Acquisition) -> float:
    return float(taken.source_detector_mm or 0) / float(taken.source_object_mm or 1)


def coded(concept: tuple[str, str, str]) -> dict[str, Any]:
    """An item of a code sequence, of (value, scheme, meaning)."""
    value, scheme, meaning = concept
    return {"CodeValue": value, "CodingSchemeDesignator": scheme, "CodeMeaning": meaning}


def _check_direction(name: str, direction: Sequence[float]) -> None:
    found = np.asarray(direction, np.float64)
    if found.shape != (3,) or not abs(np.linalg.norm(found) - 1) < 1e-3:
        raise GeometryError(f"{name} of an acquisition is {np.round(found, 4).tolist()}; expected a unit vector (3,)")
