"""The report of a folder of labelled pairs."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from nerp.camera import Camera, view_angles
from nerp.data.pairs import RECORDS, read_dataset, read_pair, read_records
from nerp.data.records import PairRecord
from nerp.errors import DataError
from nerp.report import figures, page
from nerp.report.scores import score_sections

SHOWN = 20


def pairs_page(folder: Path) -> str:
    """The HTML report of PAIRS.

    Raises:
        DataError: no records, or a pair that cannot be read.
    """
    dataset, records = read_dataset(folder), read_records(folder / RECORDS)
    if not records:
        raise DataError(f"{folder} holds no pair yet; run nerp synthesize to its end first")
    settings = dataset["settings"]
    _check_whole(folder, settings)
    n_cts = len({record.ct_sha256 for record in records})
    title = f"{_count(len(records), 'labelled radiograph')} from {_count(n_cts, 'CT')}"
    return page.page(
        title,
        _lead(settings, dataset),
        [
            page.facts(_facts(records, n_cts)),
            page.section("Images and masks", page.paragraph(_shown(records)), page.grid(_grid(folder, records))),
            page.section("Masks", *_mask_charts(records)),
            page.section("Cameras", page.paragraph(_CAMERAS), *_camera_charts(records)),
            *score_sections(folder),
            page.section("Settings", page.table(_rows(settings)), page.folded("Labels", page.table(_labels(dataset)))),
            page.section("Made by", page.table(_made_by(records)), page.table(_terms(dataset))),
        ],
    )


def _check_whole(folder: Path, settings: dict) -> None:
    missing = {"mode"} - settings.keys()
    if not isinstance(_view(settings), str) or not isinstance(_rule(settings), dict):
        missing |= {"camera.view", "mask.rule"}
    if missing:
        lacking = ", ".join(sorted(missing))
        raise DataError(f"{folder} lacks {lacking} in its settings; synthesize the pairs again")


def _view(settings: dict):
    """The view that the cameras vary about; former sets name it beside the cameras."""
    camera = settings.get("camera")
    return camera.get("view") if isinstance(camera, dict) else settings.get("view")


def _rule(settings: dict):
    mask = settings.get("mask")
    return mask.get("rule") if isinstance(mask, dict) else settings.get("rule")


_ENVIRONMENT = ("nerp", "torch", "device", "threads", "processor", "backend")

_CAMERAS = (
    "Read back from the records: angles of the central beam against the patient's axes, the source's distance from "
    "the detector, and the detector's width."
)


_VIEWS = {"pa": "PA", "ap": "AP"}


def _count(n: int, thing: str) -> str:
    return f"{n} {thing}{'' if n == 1 else 's'}"


def _lead(settings: dict, dataset: dict) -> str:
    how = {
        "drr": "Line integrals of the CTs' attenuation (DRR)",
        "vrr": "Learned radiographs (VRR)",
        "physics": "Simulated physical radiographs",
    }
    unfinished = (
        "" if dataset.get("complete") else " The set is not complete: run the same synthesis again to finish it."
    )
    view, rule = _VIEWS.get(_view(settings), _view(settings)), _rule(settings)["name"]
    made = how.get(settings["mode"], settings["mode"])
    return f"{made}, {view} view; masks by the rule “{rule}” on the same rays.{unfinished}"


def _facts(records: list[PairRecord], n_cts: int) -> dict[str, str]:
    fractions = [record.mask_fraction or 0.0 for record in records]
    cut = [record.mask_outside_fraction for record in records if record.mask_outside_fraction is not None]
    height, width = records[0].camera["shape"]
    return {
        "pairs": str(len(records)),
        "CTs": str(n_cts),
        "pixels": f"{height} × {width}",
        "mask, mean fraction of the image": f"{np.mean(fractions):.1%}",
        "empty masks": str(sum(value == 0 for value in fractions)),
        "labelled tissue cut off, at most": f"{max(cut, default=0):.1%}",
    }


def _spread(records: list[PairRecord]) -> list[PairRecord]:
    index = np.unique(np.linspace(0, len(records) - 1, min(SHOWN, len(records))).round().astype(int))
    return [records[i] for i in index]


def _shown(records: list[PairRecord]) -> str:
    n = len(_spread(records))
    which = "All pairs" if n == len(records) else f"{n} pairs, evenly spread over the set"
    return f"{which}. The line is the mask's edge; the number its fraction of the image."


def _grid(folder: Path, records: list[PairRecord]) -> list[str]:
    cells = []
    for record in _spread(records):
        caption = f"{record.id} · {record.mask_fraction or 0.0:.1%}"
        png = figures.outlined(*read_pair(folder, record))
        cells.append(page.figure(png, caption, alt=f"radiograph {record.id} with its mask outlined"))
    return cells


def _mask_charts(records: list[PairRecord]) -> list[str]:
    cut = [100 * record.mask_outside_fraction for record in records if record.mask_outside_fraction is not None]
    fractions = {"mask, % of the image": [100 * (record.mask_fraction or 0.0) for record in records]}
    return _histograms({**fractions, "labelled tissue cut off by the border, %": cut} if cut else fractions)


def _camera_charts(records: list[PairRecord]) -> list[str]:
    angles = [camera_angles(record.make_camera()) for record in records]
    first = angles[0][_AZIMUTH]
    for camera in angles:  # views from the front lie about 180 degrees, on either side of the seam
        camera[_AZIMUTH] = first + (camera[_AZIMUTH] - first + 180.0) % 360.0 - 180.0
    return _histograms({name: [camera[name] for camera in angles] for name in angles[0]})


def _histograms(samples: dict[str, list[float]]) -> list[str]:
    """Charts of what varies, and one line on what does not."""
    same = {name: values[0] for name, values in samples.items() if np.ptp(values) <= 1e-6 * max(1.0, abs(values[0]))}
    charts = [
        page.figure(figures.histogram(name, values), alt=f"histogram of {name}")
        for name, values in samples.items()
        if name not in same
    ]
    message = "; ".join(f"{what} {value:.4g} {unit}" for (what, _, unit), value in _parted(same))
    return [page.charts(charts), page.paragraph(f"The same in every pair: {message}.") if message else ""]


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


def _rows(settings: dict, prefix: str = "") -> list[tuple[str, str]]:
    rows = []
    for key, value in settings.items():
        if value is None or value == []:
            continue
        if isinstance(value, dict):
            rows += _rows(value, f"{prefix}{key}.")
        else:
            message = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            rows.append((f"{prefix}{key}", message))
    return rows


def _labels(dataset: dict) -> list[tuple[str, str, str]]:
    names = dataset.get("label_names", {})
    return [(label, name, role) for role, labels in names.items() for label, name in labels.items()]


def _made_by(records: list[PairRecord]) -> list[tuple[str, str]]:
    """Each environment that rendered part of the set, with how many pairs it made."""
    rows = []
    for key in _ENVIRONMENT:
        counts = Counter(str(getattr(record, key)) for record in records)
        message = ", ".join(
            value if len(counts) == 1 else f"{value} ({n} pairs)" for value, n in sorted(counts.items())
        )
        rows.append((key, message))
    return rows


def _terms(dataset: dict) -> list[tuple[str, str]]:
    return [(key, str(dataset[key])) for key in ("licence", "citation") if key in dataset]
