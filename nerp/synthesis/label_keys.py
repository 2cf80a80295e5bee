"""What the names of CTs and of label maps have in common: known suffixes, known names, folders of one case."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from nerp.errors import UsageError
from nerp.formats import extension
from nerp.label_maps import is_structure_folder

LABEL_NAMES = frozenset(
    f"{word}{end}" for word in ("seg", "segmentation", "label", "labelmap", "mask") for end in ("", "s")
)
"""Names of label maps that lie beside their CTs."""
SUFFIXES = ("_mask", "_masks", "_seg", "_segmentation", "_label", "_labels", "_labelmap")
"""Ends of label maps' names after their CTs', as in MosMed's `study_0001_mask`; also with `-` and `.`."""
PREFIXES = ("mask_", "masks_", "seg_", "segmentation_", "label_", "labels_")
CHANNEL = "_0000"
"""End of a CT's name as nnU-Net wants it."""


def stem(path: Path) -> str:
    """A volume's name without its ending; a folder's whole name."""
    return path.name if path.is_dir() else path.name[: len(path.name) - len(extension(path))]


def below(path: Path, root: Path) -> PurePosixPath:
    """A volume's place below a root, without its ending; its name alone where it is the root.

    Args:
        path: of the volume.
        root: folder, or the volume itself.
    """
    folder = path.parent.relative_to(root) if root in path.parents else Path()
    return PurePosixPath(folder.as_posix()) / stem(path)


def bare(name: str) -> str:
    """A label map's name without the part that says it is one."""
    even = re.sub(r"[-.](?=[^-.]*$)", "_", name.lower())
    suffix = next((len(end) for end in sorted(SUFFIXES, key=len, reverse=True) if even.endswith(end)), 0)
    prefix = next((len(start) for start in PREFIXES if even.startswith(start)), 0)
    kept = name[: len(name) - suffix] if suffix else name[prefix:]
    return kept or name


def is_named_as_labels(path: Path) -> bool:
    """Whether a volume's name says that it holds labels, such as `a_mask.nii.gz`, `seg.nrrd`, `segmentations/`."""
    name = stem(path)
    known = name.lower() in LABEL_NAMES or bare(name) != name or path.name.lower().endswith(".seg.nrrd")
    return known or is_structure_folder(path)


def ct_keys(path: Path, root: Path, alone: bool) -> Iterator[str]:
    """Names that a CT's labels may have, the surest first.

    Args:
        path:  of the CT.
        root:  folder that the CTs were sought in.
        alone: whether it is the only CT of its folder.
    """
    place = below(path, root)
    yield str(place)
    if place.name.endswith(CHANNEL):
        yield str(place.parent / place.name.removesuffix(CHANNEL))
    if alone and str(place.parent) != ".":
        yield str(place.parent)


def label_keys(path: Path, root: Path, alone: bool) -> list[set[str]]:
    """Names of CTs that a label map may belong to: by its own name, by its name without suffix, by its folder.

    Args:
        path:  of the label map.
        root:  folder that the label maps were sought in.
        alone: whether it is the only one of its folder.
    """
    place = below(path, root)
    shorter = {str(place.with_name(bare(place.name)))} - {str(place)}
    is_known = place.name.lower() in LABEL_NAMES
    folder = {str(place.parent)} if (alone or is_known) and str(place.parent) != "." else set()
    return [{str(place)}, shorter, folder]


def expanded(pattern: str, path: Path, root: Path) -> list[str]:
    """Places below the labels' root that a pattern means for a CT: beside the CT's own folder, and without it.

    Args:
        pattern: with `{name}`, the CT's name without its ending, and `{folder}`, its folder below the root; the
                 rest may hold `*` and `?`.
        path:    of the CT.
        root:    folder that the CTs were sought in.

    Raises:
        UsageError: other braces, an absolute path, or one that leaves the root.
    """
    if re.search(r"[{}]", re.sub(r"\{(?:name|folder)\}", "", pattern)):
        raise UsageError(f"labels pattern is {pattern!r}; expected {{name}} and {{folder}} alone in braces")
    if "{" not in pattern or Path(pattern).is_absolute() or ".." in Path(pattern).parts:
        raise UsageError(
            f"labels pattern is {pattern!r}; expected a path below the labels such as {{name}}_mask.nii.gz"
        )
    place = below(path, root)
    folder = str(place.parent)
    filled = pattern.replace("{name}", _literal(place.name)).replace("{folder}", _literal(folder))
    beside = [] if "{folder}" in pattern or folder == "." else [f"{_literal(folder)}/{filled}"]
    return [str(PurePosixPath(text)) for text in (*beside, filled)]


def _literal(text: str) -> str:
    return re.sub(r"([*?[])", r"[\1]", text)


def listed(names: Sequence[str], most: int = 8) -> str:
    """Names for a message, the first of them where they are many.

    Args:
        names: all of them.
        most:  so many stand in the message.
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
