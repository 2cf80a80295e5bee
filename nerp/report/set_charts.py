"""What varies over a set of pairs: its masks' areas and its cameras, as charts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nerp.camera import Camera, view_angles
from nerp.data.records import PairRecord
from nerp.report import figures
from nerp.report.parts import Chart, Charts, Part, Text, present


def mask_charts(records: Sequence[PairRecord]) -> list[Part]:
    """How much of the image masks cover, and how much of what they show is cut off by the border."""
    cut = [100 * record.mask_outside_fraction for record in records if record.mask_outside_fraction is not None]
    fractions = {"mask, % of the image": [100 * (record.mask_fraction or 0.0) for record in records]}
    return histograms({**fractions, "labelled tissue cut off by the border, %": cut} if cut else fractions)


def camera_charts(records: Sequence[PairRecord]) -> list[Part]:
    """Where the cameras stood."""
    angles = [camera_angles(record.make_camera()) for record in records]
    first = angles[0][_AZIMUTH]
    for camera in angles:  # views from the front lie about 180 degrees, on either side of the seam
        camera[_AZIMUTH] = first + (camera[_AZIMUTH] - first + 180.0) % 360.0 - 180.0
    return histograms({name: [camera[name] for camera in angles] for name in angles[0]})


def histograms(samples: dict[str, list[float]]) -> list[Part]:
    """Charts of what varies, and one line on what does not.

    Args:
        samples: `quantity, unit` and its values.
    """
    same = {name: values[0] for name, values in samples.items() if np.ptp(values) <= 1e-6 * max(1.0, abs(values[0]))}
    charts = [
        Chart(figures.histogram(values), name, f"histogram of {name}: {_range(values)}")
        for name, values in samples.items()
        if name not in same
    ]
    message = "; ".join(f"{what} {value:.4g} {unit}" for (what, _, unit), value in _parted(same))
    return present(Charts(charts), Text(f"The same in every pair: {message}." if message else ""))


def _range(values: Sequence[float]) -> str:
    return f"{min(values):.4g} to {max(values):.4g}, median {float(np.median(values)):.4g}"


def _parted(values: dict[str, float]) -> list[tuple[tuple[str, str, str], float]]:
    """Each `quantity, unit` taken apart."""
    return [(name.rpartition(", "), value) for name, value in values.items()]


def camera_angles(camera: Camera) -> dict[str, float]:
    """What a camera (a batch of one) looks like to a radiographer: `view_angles` in degrees, distances in mm."""
    angles = view_angles(camera)
    return {
        _AZIMUTH: angles.azimuth_deg.item(),
        "elevation, degrees": angles.elevation_deg.item(),
        "roll, degrees": angles.roll_deg.item(),
        "source to detector, mm": (camera.detector_centre - camera.source).norm().item(),
        "detector width, mm": camera.size_mm[0, 1].item(),
    }


_AZIMUTH = "azimuth, degrees"
