"""The card of a data set: what is in it, how it was made, and what it is not for; Markdown with Hugging Face's head."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from nerp.config.reading import as_yaml
from nerp.factory.settings import FactoryConfig

WHAT_LIES_THERE = {
    "imagefolder": "`PART/IMAGE/` with `images/`, `masks/`, `metadata.jsonl`; `croissant.json`",
    "webdataset": "`PART/IMAGE-SHARD.tar`: `png`, `mask.png`, `json` of each pair",
    "coco": "`annotations/instances_PART.json` with run lengths, `polygons_PART.json` with polygons",
    "drr-rate": "`PART/VIEW/PATIENT/SCAN/NAME.png`, masks in `masks/`, tables of the CTs",
    "dicom": "`PART/IMAGE/images/ID.dcm`, a segmentation of each in `masks/`, `index.csv`",
}
TASKS = ["image-segmentation", "image-classification"]


def card_of(
    config: FactoryConfig, rows: Sequence[dict[str, Any]], summary: dict[str, Any], *, sheet: str | None = None
) -> str:
    """The card as a text.

    Args:
        config:  of the plan.
        rows:    of all pairs, see `Sample.row`.
        summary: counts and settings.
        sheet:   file of the picture of some pairs; none: there is none.
    """
    records = [row["record"] for row in rows]
    head = {"pretty_name": config.title, "task_categories": TASKS, "tags": ["chest", "x-ray", "synthetic", "medical"]}
    head |= _views(config, summary) if "imagefolder" in config.layouts else {}
    parts = [
        f"---\n{as_yaml(head)}---",
        f"# {config.title}",
        config.description.strip(),
        "Digitally reconstructed radiographs of CTs with masks of the same rays, made by "
        f"[nerp](https://pypi.org/project/nerp) {summary['nerp']}. {summary['use']}",
        "## Counts",
        _table(
            ("part", "pairs", "CTs", "patients"),
            [(name, one["pairs"], one["cts"], one["patients"]) for name, one in summary["parts"].items()],
        ),
        f"{summary['counts']['failed']} of {summary['counts']['cts']} CTs could not be used; `errors.csv` says why.",
        "## Images",
        _table(("image", "mode", "view", "pixels", "pairs"), _image_rows(summary)),
        f"![Some pairs, their masks outlined]({sheet})" if sheet else "",
        "## Masks",
        _table(("mask", "rule", "pairs with it", "mean part of the image"), _mask_rows(records)),
        *_finding_part(records),
        "## Cameras",
        _cameras(records),
        "## Provenance",
        "Every record holds the SHA-256 of its CT and labels, its camera, its rule and the versions that made it; "
        f"`nerp replay` renders it again from the CT. {_names(config)}",
        "## Files",
        _table(("layout", "folder", "what lies there"), _layout_rows(config)),
        "## Terms",
        f"{config.licence}\n\nCite: {summary['citation']}",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _views(config: FactoryConfig, summary: dict[str, Any]) -> dict[str, Any]:
    """What makes `datasets.load_dataset(FOLDER, IMAGE)` load each image's pairs, their parts as splits."""
    home = "" if len(config.layouts) == 1 else "imagefolder/"
    return {
        "configs": [
            {
                "config_name": image,
                "data_files": [
                    {"split": part.replace("-", "_"), "path": f"{home}{part}/{image}/**"} for part in summary["parts"]
                ],
            }
            for image in summary["images"]
        ]
    }


def _names(config: FactoryConfig) -> str:
    """What the set tells of its sources' names."""
    sources = config.source_settings.values()
    if any(one.carried for one in sources) and "drr-rate" in config.layouts:
        return "Tables of the sources are carried over as they stand, with whatever they tell of patients."
    if any(one.names == "kept" for one in sources):
        return "CTs and patients are called as in the sources."
    return "No file name, date or name of a patient is kept."


def _layout_rows(config: FactoryConfig) -> list[tuple[str, str, str]]:
    several = len(config.layouts) > 1
    return [(name, f"`{name}/`" if several else "here", WHAT_LIES_THERE[name]) for name in config.layouts]


def _table(titles: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in (titles, ["---"] * len(titles), *rows)]
    return "\n".join(lines)


def _image_rows(summary: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [
        (
            name,
            one["mode"],
            one["camera"]["view"],
            " × ".join(map(str, one["shape"])),
            summary["counts"]["images"].get(name, 0),
        )
        for name, one in summary["images"].items()
    ]


def _mask_rows(records: Sequence[dict[str, Any]]) -> list[tuple[Any, ...]]:
    masks = [mask for record in records for mask in _masks(record)]
    found = Counter((name, rule) for name, rule, fraction in masks if fraction)
    areas: dict[tuple[str, str], list[float]] = {}
    for name, rule, fraction in masks:
        areas.setdefault((name, rule), []).append(fraction)
    return [
        (name or "mask", rule, found[name, rule], f"{sum(sorted(values)) / len(values):.3f}")
        for (name, rule), values in sorted(areas.items())
    ]


def _masks(record: dict[str, Any]) -> list[tuple[str, str, float]]:
    if record["mask_file_name"] is None:
        return []
    first = (record["mask_name"], record["rule"]["name"], record["mask_fraction"])
    return [first, *((one["name"], one["rule"]["name"], one["fraction"]) for one in record["more_masks"])]


def _finding_part(records: Sequence[dict[str, Any]]) -> list[str]:
    told = [(name, value) for record in records for name, value in record.get("findings", {}).items()]
    if not told:
        return []
    counts = Counter(told)
    rows = [(name, counts[name, 1], counts[name, 0], counts[name, None]) for name in sorted({name for name, _ in told})]
    return ["## Findings", _table(("finding", "pairs with it", "without", "not known"), rows)]


def _cameras(records: Sequence[dict[str, Any]]) -> str:
    views = Counter(record["view"] for record in records)
    return _table(("measured view", "pairs"), sorted(views.items()))
