"""Public sets of chest CTs and radiographs: where they come from, how they lie on disk, what is there.

Nothing is fetched: a set is found below a root folder under the name that its archive unpacks to. The
sets themselves stand in `public_sets.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nerp.data.public_sets import PUBLIC_SETS, PublicSet


@dataclass(frozen=True)
class Status:
    """What is there of one set.

    Args:
        name:            of the set.
        folder:          where it was found.
        found:           images there.
        expected:        images in the whole set.
        masked:          images there that have masks.
        masked_expected: of the whole set.
        state:           `missing`, `incomplete` or `complete`.
        hint:            what to do.
    """

    name: str
    folder: Path | None
    found: int
    expected: int
    masked: int
    masked_expected: int
    state: str
    hint: str


def survey(root: str | Path) -> list[Status]:
    """The state of every known set below a root folder; nothing is read but names and DICOM headers."""
    return [_status(known, root) for known in PUBLIC_SETS.values()]


def locate(known: PublicSet, root: str | Path) -> Path | None:
    """The folder of a set: the first of its names found in the root, or one folder further down.

    Args:
        known: the set.
        root:  the folder that holds the set's folder, itself or inside one more (a download's own).
    """
    root = Path(root)
    for name in known.folders:
        for folder in (root / name, *sorted(root.glob(f"*/{name}"))):
            if folder.is_dir():
                return folder
    return None


def _status(known: PublicSet, root: str | Path) -> Status:
    folder = locate(known, root)
    pairs = [] if folder is None else known.find(folder)
    found, masked = len(pairs), sum(bool(masks) for _, masks in pairs)
    if not found:
        state, hint = "missing", _where(known)
    elif found < known.expected or masked < known.masked:
        lack = f"{known.expected - found} images" if found < known.expected else f"{known.masked - masked} masks"
        state, hint = "incomplete", f"{lack} of {known.expected} not found; expected {known.layout}"
    else:
        state, hint = "complete", f"{known.licence}; cite {known.citation}"
    return Status(known.name, folder, found, known.expected, masked, known.masked, state, hint)


def _where(known: PublicSet) -> str:
    return f"get it from {known.page} and unpack it as {known.folders[0]}/{known.layout}"
