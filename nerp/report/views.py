"""The same view in every mode, where the CTs of a set of pairs are given."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from nerp.data.records import PairRecord
from nerp.report.parts import Gallery, Notes, Part, Picture, Section, Text, present
from nerp.report.pictures import evenly
from nerp.report.settings import ReportConfig
from nerp.report.shelf import found_pair

Progress: TypeAlias = Callable[[int, int], None]

NAMES = {
    "drr": "line integrals (DRR)",
    "physics": "physical radiograph",
    "vrr": "learned radiograph (VRR)",
    "emission": "emission and absorption in the CT as it is",
    "itk": "sums of HU as by ITK's tool",
}
_LEAD = (
    "The CTs were found by their hashes and the recorded cameras rendered again. Other modes than the set's own have "
    "their default settings."
)


def view_sections(
    folder: Path, records: list[PairRecord], config: ReportConfig, progress: Progress | None = None
) -> list[Section]:
    """Some views as they are in the set, and rendered again in every mode; nothing where no CT is given.

    Args:
        folder:   PAIRS.
        records:  of its pairs.
        config:   where CTs, labels and a trained run lie.
        progress: called as progress(views done, views in all).

    Raises:
        DataError, UsageError, CheckpointError: a CT, labels or weights of other hashes than recorded.
    """
    if config.ct is None:
        return []
    chosen = [records[i] for i in evenly(len(records), config.views)]
    parts: list[Part] = []
    for done, record in enumerate(chosen):
        if progress:
            progress(done, len(chosen))
        parts.append(_of_view(folder, record, config))
    if progress:
        progress(len(chosen), len(chosen))
    return [Section("The same view in every mode", [Text(_LEAD), *parts])]


def _of_view(folder: Path, record: PairRecord, config: ReportConfig) -> Section:
    from nerp.synthesis.views import views_of

    views = views_of(record, ct=str(config.ct), labels=config.labels, run=config.run, device=config.device)
    file = found_pair(folder, record)
    pictures = [file.picture(f"radiograph {record.id} as in the set", "as in the set")]
    for view in views:
        if view.mode == "thickness":
            name = f"thickness of the mask's labels, black 0 to white {view.most_mm:.0f} mm"
        else:
            name = NAMES[view.mode]
        pictures.append(Picture(view.image, f"view {record.id}: {name}", name, file.outlines))
    other = any(view.is_same is False for view in views)
    notes = [_OTHER] if other else []
    same = "" if other else "Rendered again, it equals the set's file byte for byte."
    return Section(f"View {record.id}", present(Notes(notes), Text(same), Gallery(pictures, name=f"view {record.id}")))


_OTHER = (
    "Rendered again here, the pair's own mode differs from the set's file: another platform, thread count or version."
)
