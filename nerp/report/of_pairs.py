"""The report of a folder of labelled pairs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from nerp.data.pairs import RECORDS, read_dataset, read_records
from nerp.data.records import PairRecord
from nerp.errors import DataError
from nerp.files import sha256
from nerp.report.examples import result_sections
from nerp.report.parts import Facts, Folded, Gallery, Page, Part, Picture, Section, Table, Text, present
from nerp.report.pictures import evenly
from nerp.report.set_charts import camera_charts, mask_charts
from nerp.report.settings import ReportConfig
from nerp.report.shelf import Shelf, Shelves, found_pair
from nerp.report.views import Progress, view_sections


def pairs_page(folder: Path, config: ReportConfig, progress: Progress | None = None) -> Page:
    """The report of PAIRS.

    Args:
        folder:   PAIRS.
        config:   how much is shown, and where CTs lie.
        progress: called as progress(views done, views in all) while views are rendered again.

    Raises:
        DataError: no records, or a pair that cannot be read.
    """
    dataset, records = read_dataset(folder), read_records(folder / RECORDS)
    if not records:
        raise DataError(f"{folder} holds no pair yet; run nerp synthesize to its end first")
    settings = dataset["settings"]
    check_whole(folder, settings)
    n_cts = len({record.ct_sha256 for record in records})
    shelves = Shelves(Shelf().add_records(folder, records), config.images)
    parts: list[Part] = [
        Facts(_facts(records, n_cts)),
        Section("Images and masks", [Text(_shown(records, config.pairs)), _gallery(folder, records, config.pairs)]),
        *view_sections(folder, records, config, progress),
        *result_sections(folder, shelves, config.worst),
        Section("Masks", mask_charts(records)),
        Section("Cameras", [Text(_CAMERAS), *camera_charts(records)]),
        _settings(dataset, settings),
        _made_by(folder, dataset, records),
    ]
    title = f"{count(len(records), 'labelled radiograph')} from {count(n_cts, 'CT')}"
    return Page(title, lead(settings, dataset), present(*parts))


def check_whole(folder: Path, settings: dict) -> None:
    """Make sure that a set's settings say what its report tells.

    Args:
        folder:   PAIRS.
        settings: of its `dataset.json`.

    Raises:
        DataError: mode, view or rule are lacking.
    """
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


MOST_OPEN = 24
"""Settings that are shown without a click."""
_VIEWS = {"pa": "PA", "ap": "AP"}
MADE_AS = {
    "drr": "Line integrals of the CTs' attenuation (DRR)",
    "vrr": "Learned radiographs (VRR)",
    "physics": "Simulated physical radiographs",
    "emission": "Emission and absorption in the CTs as they are",
    "itk": "Sums of HU above a threshold, as ITK's tool makes them",
}


def count(n: int, thing: str) -> str:
    """`1 CT`, `2 CTs`.

    Args:
        n:     how many.
        thing: in the singular.
    """
    return f"{n} {thing}{'' if n == 1 else 's'}"


def lead(settings: dict, dataset: dict) -> str:
    """What a set is, in a sentence or two.

    Args:
        settings: of the set.
        dataset:  what `dataset.json` says beside them.
    """
    unfinished = (
        "" if dataset.get("complete") else " The set is not complete: run the same synthesis again to finish it."
    )
    chosen = settings.get("chosen")
    told = chosen if isinstance(chosen, dict) else {}
    part = f" Chosen from a larger set: {told['rejected']} of its pairs were left out." if told.get("rejected") else ""
    view, rule = _VIEWS.get(_view(settings), _view(settings)), _rule(settings)["name"]
    made = MADE_AS.get(settings["mode"], settings["mode"])
    return f"{made}, {view} view; masks by the rule “{rule}” on the same rays.{part}{unfinished}"


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


def _shown(records: list[PairRecord], most: int) -> str:
    n = len(evenly(len(records), most))
    which = "All pairs" if n == len(records) else f"{n} pairs, evenly spread over the set"
    return f"{which}. The line is the mask's edge; the number its fraction of the image."


def _gallery(folder: Path, records: list[PairRecord], most: int) -> Gallery:
    return Gallery([_picture(folder, records[i]) for i in evenly(len(records), most)], name="images with masks")


def _picture(folder: Path, record: PairRecord) -> Picture:
    caption = f"{record.id} · {record.mask_fraction or 0.0:.1%}"
    return found_pair(folder, record).picture(f"radiograph {record.id} with its mask outlined", caption)


def _settings(dataset: dict, settings: dict) -> Section:
    names = dataset.get("label_names", {})
    labels = [(label, name, role) for role, known in names.items() for label, name in known.items()]
    folded = [Folded("Labels", [Table(labels)])] if labels else []
    rows = _rows(settings)
    table = Table(rows, name="Settings")
    shown = table if len(rows) <= MOST_OPEN else Folded(f"All {len(rows)} settings", [table])
    return Section("Settings", [shown, *folded])


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


def _made_by(folder: Path, dataset: dict, records: list[PairRecord]) -> Section:
    """Each environment that rendered part of the set, its terms, and the hashes by which all of it is known."""
    environment = [(key, _counted(getattr(record, key) for record in records)) for key in _ENVIRONMENT]
    terms = [(key, str(dataset[key])) for key in ("licence", "citation") if key in dataset]
    hashes = [(f"SHA-256 of {RECORDS}", sha256(folder / RECORDS))]
    for what, key in (("weights", "weights_sha256"), ("generator's settings", "config_sha256")):
        values = {getattr(record, key) for record in records} - {None}
        hashes += [(f"SHA-256 of the {what}", value) for value in sorted(values)]
    cts = Counter((record.ct_sha256, record.labels_sha256 or "none") for record in records)
    rows = [(ct, labels, str(n)) for (ct, labels), n in sorted(cts.items())]
    sources: list[Part] = [Table(rows, ("SHA-256 of the CT", "of its labels", "pairs"), name="CTs and labels")]
    tables = present(Table(environment, name="Environment"), Table(terms), Table(hashes, name="Hashes"))
    return Section("Made by", [*tables, Folded(f"Hashes of {count(len(rows), 'CT')} and labels", sources)])


def _counted(values: Iterable[object]) -> str:
    """Each value, with how many pairs have it where they differ."""
    counts = Counter(map(str, values))
    return ", ".join(value if len(counts) == 1 else f"{value} ({n} pairs)" for value, n in sorted(counts.items()))
