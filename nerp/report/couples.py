"""Images beside what they are near to: those that are flagged as copies, and the nearest others."""

from __future__ import annotations

from typing import Any

from nerp.report.parts import Gallery, Notes, Part, Picture, Section, Text, present
from nerp.report.results import SavedResult, items_of
from nerp.report.shelf import Shelves
from nerp.report.words import number

NAMES = ("name", "id", "image", "fake", "synthetic", "file_name", "file", "pair")
"""Keys under which a result's entries name the image that they speak of."""
OTHERS = ("real", "neighbour", "nearest", "training")
"""Keys under which they name the one that it is near to."""
FLAGS = ("flagged_by", "flagged", "is_copy", "copy")
"""Keys under which they say that it is too near."""

_LEAD = "Each generated image, and beside it the real one that is nearest to it."
_LOST = "The images were not found; say where they lie (--images)."


def couples(result: SavedResult, shelves: Shelves, most: int) -> list[Part]:
    """A section of the flagged images of a result's lists of neighbours, and one of the others.

    Args:
        result:  of an evaluation.
        shelves: where the images are.
        most:    couples that are shown of each.
    """
    parts: list[Part] = []
    for key, value in result.values.items():
        rows = [row for row in value if _couple(row)] if isinstance(value, list) else []
        flagged = [row for row in rows if _is_flagged(row)]
        others = [row for row in rows if not _is_flagged(row)]
        title = key.replace("_", " ").capitalize()
        parts += _section(f"{title}, flagged as copies", flagged, shelves, most)
        parts += _section(f"{title}, not flagged" if flagged else title, others, shelves, most)
    return parts


def _section(title: str, rows: list[dict[str, Any]], shelves: Shelves, most: int) -> list[Part]:
    if not rows:
        return []
    shown = [_side_by_side(row, shelves) for row in rows[:most]]
    whole = [picture for pictures in shown if len(pictures) == 2 for picture in pictures]
    single = [picture for pictures in shown if len(pictures) == 1 for picture in pictures]
    heading = f"{title}: {len(rows)}" + (f", the first {most}" if len(rows) > most else "")
    inner = present(
        Text(_LEAD if whole else ""),
        Notes([] if whole or single else [_LOST]),
        Gallery(whole, "couples", heading),
        Gallery(single, name=f"{heading}, one of two found"),
    )
    return [Section(heading, inner)]


def _is_flagged(row: dict[str, Any]) -> bool:
    return any(row.get(word) for word in FLAGS)


def _couple(row: Any) -> tuple[str, str] | None:
    """The names of an image and of its neighbour: in the space that flags it, else in the first that tells one."""
    if not isinstance(row, dict):
        return None
    one = next((row[key] for key in NAMES if isinstance(row.get(key), str)), None)
    by = row.get("flagged_by")
    flagged = [row[name] for name in (by if isinstance(by, list) else ()) if isinstance(row.get(name), dict)]
    places = [row, *flagged, *(value for value in row.values() if isinstance(value, dict))]
    other = next((place[key] for place in places for key in OTHERS if isinstance(place.get(key), str)), None)
    return (one, other) if one is not None and other is not None else None


def _numbers(row: dict[str, Any]) -> str:
    """The numbers of an entry, and of what it holds, in words."""
    nested = {f"{key} {name}": one for key, value in row.items() for name, one in items_of(value).items()}
    found = {**items_of(row), **nested}
    return ", ".join(f"{key.replace('_', ' ')} {number(value)}" for key, value in found.items())


def _side_by_side(row: dict[str, Any], shelves: Shelves) -> list[Picture]:
    couple = _couple(row)
    if couple is None:
        return []
    found = (shelves.own.get(couple[0]), shelves.get_other(couple[1]))
    by = row.get("flagged_by")
    flags = f" · flagged by {' and '.join(map(str, by))}" if isinstance(by, list) and by else ""
    captions = (
        f"{couple[0]}{flags} · {_numbers(row)}",
        f"nearest to it: {couple[1]}" if found[0] else f"nearest to {couple[0]}: {couple[1]}",
    )
    return [
        one.picture(f"radiograph {name}", caption, is_bad=_is_flagged(row))
        for one, name, caption in zip(found, couple, captions, strict=True)
        if one is not None
    ]
