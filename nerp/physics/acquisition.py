"""What a film's header says of how it was taken: from camera, beam and detector."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor, float64, linalg

from nerp.camera import Camera
from nerp.dicom.acquisition import Acquisition
from nerp.errors import UsageError
from nerp.physics.beam import Beam, spectrum
from nerp.physics.detector import Detector
from nerp.physics.dose import air_kerma_ugy, half_value_layer_mm


def acquisition_of(
    camera: Camera,
    *,
    beam: Beam | None = None,
    detector: Detector | None = None,
    entrance_mm: float | None = None,
    border_mm: float = 0.0,
) -> Acquisition:
    """How a radiograph was taken, for its DICOM header.

    Args:
        camera:      one view; the magnification is that of its isocentre's plane.
        beam:        voltage and filtration; None for an image that no beam made.
        detector:    its scintillator and dose.
        entrance_mm: from the focus to where the beam enters the patient; with a beam and a detector the tube
                     current by time follows from it and the dose.
        border_mm:   width of the collimator's shadow at the detector's edges; 0 for none.

    Returns:
        What is known; the rest is None.

    Raises:
        UsageError: a camera of several views.
    """
    if len(camera) != 1:
        raise UsageError(f"a camera of {len(camera)} views; expected one: a DICOM file holds one radiograph")
    known = _places(camera.to("cpu", float64))
    if beam is not None:
        layer = half_value_layer_mm(spectrum(beam))
        known = replace(known, kvp=beam.kvp, aluminium_mm=beam.aluminium_mm, copper_mm=beam.copper_mm)
        known = replace(known, half_value_layer_mm=layer)
    if detector is not None:
        made_of = f"caesium iodide, {detector.csi_um:g} um, simulated"
        known = replace(known, entrance_dose_mgy=detector.dose_mgy, detector=made_of)
    if border_mm:
        known = replace(known, collimated=_collimated(camera.shape, known.pixel_mm, border_mm))
    if beam is not None and detector is not None and entrance_mm is not None:
        known = replace(known, exposure_mas=exposure_mas(beam, detector, entrance_mm))
    return known


def exposure_mas(beam: Beam, detector: Detector, entrance_mm: float) -> float:
    """The tube current by time that gives the detector's stated dose, mAs.

    Args:
        beam:        voltage and filtration.
        detector:    its `dose_mgy`.
        entrance_mm: from the focus to where the beam enters the patient.

    Source: output of the tabulated tubes, see `spectrum`; inverse square law.
    """
    per_mas_ugy = air_kerma_ugy(spectrum(beam)) * (1000.0 / entrance_mm) ** 2
    return detector.dose_mgy * 1e3 / per_mas_ugy


def _places(camera: Camera) -> Acquisition:
    """Directions and distances of one float64 view; what the camera does not say is None."""
    heading = camera.detector_centre - camera.source
    normal = linalg.cross(camera.image_right, camera.image_down)
    height, width = camera.pixel_mm[0].tolist()
    middle = None if camera.isocentre is None else abs(float(((camera.isocentre - camera.source) * normal).sum()))
    return Acquisition(
        beam=_plain(heading / heading.norm()),
        image_right=_plain(camera.image_right),
        image_down=_plain(camera.image_down),
        pixel_mm=(height, width),
        source_detector_mm=abs(float((heading * normal).sum())),
        source_object_mm=middle,
    )


def _collimated(shape: tuple[int, int], pixel_mm: tuple[float, float], border_mm: float) -> tuple[int, int, int, int]:
    """First and last column, first and last row that lie mostly within the collimator's edges, from 1."""
    (top, bottom), (left, right) = (
        (round(border_mm / side) + 1, count - round(border_mm / side))
        for count, side in zip(shape, pixel_mm, strict=True)
    )
    return left, right, top, bottom


def _plain(direction: Tensor) -> tuple[float, float, float]:
    right, front, up = direction[0].tolist()
    return right, front, up
