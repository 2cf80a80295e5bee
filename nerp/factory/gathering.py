"""From finished shards to the finished set: files moved to their places, tables, card; done again, it is the same."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nerp import __version__
from nerp.data.images import read_colour
from nerp.factory.card import card_of
from nerp.factory.layouts import LAYOUTS, home_of
from nerp.factory.looks import alike
from nerp.factory.planning import WORK, Plan
from nerp.factory.shard import FILES, TILES, Made, read_shard, shard_folder
from nerp.factory.sheet import sheet_of, shown_shards
from nerp.factory.tables import csv_text
from nerp.files import json_bytes, write_bytes, write_text
from nerp.synthesis.dataset import CITATION, NOTICE

DONE = f"{WORK}.done"
ERRORS, REMARKS, FOLDS, SUMMARY, CARD = "errors.csv", "remarks.csv", "folds.csv", "factory.json", "README.md"
SHEET = "card.png"


def gather(plan: Plan, out: Path) -> dict[str, Any]:
    """Finish a set of which every shard is there.

    Args:
        plan: of the set.
        out:  its folder.

    Returns:
        What `factory.json` then holds: counts, settings, terms.

    Raises:
        OSError: the folder cannot be written; called again, it goes on.
    """
    shards = [read_shard(out, number) for number in range(len(plan.shards))]
    made = [one for one in shards if one is not None]
    assert len(made) == len(shards)
    rows = [row for one in made for row in one.records]
    for number in range(len(plan.shards)):
        _move(shard_folder(out, number) / FILES, out)
    for name in plan.config.layouts:
        LAYOUTS[name].finish(rows, plan.config, home_of(name, plan.config.layouts, out))
    doubles = _doubles(plan, made)
    _write_tables(plan, made, rows, out, doubles)
    summary = _summary(plan, made, rows, doubles)
    tiles = _tiles(plan, out)
    if tiles:
        write_bytes(out / SHEET, sheet_of(tiles))
    write_text(out / CARD, card_of(plan.config, rows, summary, sheet=SHEET if tiles else None))
    write_bytes(out / SUMMARY, json_bytes(summary))
    os.replace(out / WORK, out / DONE)  # at once: a part of it would be taken for unfinished work
    shutil.rmtree(out / DONE)
    return summary


def _tiles(plan: Plan, out: Path) -> list[np.ndarray]:
    folders = [shard_folder(out, number) / TILES for number in sorted(shown_shards(len(plan.shards)))]
    files = [path for folder in folders if folder.is_dir() for path in sorted(folder.glob("*.png"))]
    return [np.rint(255 * read_colour(path)).astype(np.uint8) for path in files]


def _move(source: Path, target: Path) -> None:
    """Move every file of a tree to its place in another."""
    for folder, _, names in os.walk(source):
        home = target / Path(folder).relative_to(source)
        home.mkdir(parents=True, exist_ok=True)
        for name in names:
            os.replace(Path(folder) / name, home / name)


def _doubles(plan: Plan, made: Sequence[Made]) -> list[list[str]]:
    """CTs that look like one of another patient in another part: source, name, and which it is like."""
    failed = {(line[0], line[1]) for one in made for line in one.errors}
    volumes = [one for one in plan.volumes if (one.listed.source, one.listed.name) not in failed]
    looks = [look for one in made for look in one.looks]
    if not looks:
        return []
    patients, parts = [one.listed.patient for one in volumes], [one.part for one in volumes]
    return [
        [
            volumes[here].listed.source,
            volumes[here].listed.name,
            f"looks like {volumes[there].listed.name} of {volumes[there].listed.source}, of another patient and part "
            f"(correlation {much:.4f}): is it the same patient?",
        ]
        for here, there, much in alike(np.stack(looks), patients, parts)
    ]


def _write_tables(
    plan: Plan, made: Sequence[Made], rows: Sequence[dict[str, Any]], out: Path, doubles: Sequence[list[str]]
) -> None:
    _write_csv(out / ERRORS, ("source", "file", "error"), [line for one in made for line in one.errors])
    _write_csv(out / REMARKS, ("source", "file", "remark"), [*doubles, *(line for one in made for line in one.remarks)])
    titles = ("ct", "patient_id", "part", *(("fold",) if plan.config.split.folds else ()))
    told = {
        row["record"]["ct_sha256"]: (row["record"]["patient_id"], row["part"], row["record"].get("fold"))
        for row in rows
    }
    _write_csv(out / FOLDS, titles, [(sha[:12], *told[sha])[: len(titles)] for sha in sorted(told)])


def _write_csv(path: Path, titles: Sequence[str], lines: Iterable[Sequence[Any]]) -> None:
    write_text(path, csv_text(titles, lines))


def _summary(
    plan: Plan, made: Sequence[Made], rows: Sequence[dict[str, Any]], doubles: Sequence[list[str]]
) -> dict[str, Any]:
    errors = [line for one in made for line in one.errors]
    parts = {
        part: {
            "pairs": sum(row["part"] == part for row in rows),
            "cts": len({row["record"]["ct_sha256"] for row in rows if row["part"] == part}),
            "patients": len({row["record"]["patient_id"] for row in rows if row["part"] == part}),
        }
        for part in sorted({row["part"] for row in rows})
    }
    stated = plan.as_json()
    return {
        "kind": "factory",
        "counts": {
            "cts": len(plan.volumes),
            "failed": len(errors),
            "alike": len(doubles),
            "pairs": len(rows),
            "images": dict(sorted(Counter(row["image"] for row in rows).items())),
        },
        "parts": parts,
        "images": stated["images"],
        "split": stated["split"],
        "nerp": __version__,
        "licence": plan.config.licence,
        "citation": CITATION,
        "use": NOTICE,
        "complete": True,
    }
