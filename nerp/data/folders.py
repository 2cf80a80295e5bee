"""What a person names is found: a folder's radiographs, images and their masks, a public set by its name."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from nerp.data.catalogue import locate
from nerp.data.images import PICTURES, list_images
from nerp.data.public_sets import PUBLIC_SETS, MaskedImage, PublicSet
from nerp.dicom import is_dicom
from nerp.errors import DataError, UsageError

RADIOGRAPHS = (*PICTURES, ".dcm", ".dicom", ".dic", ".img")
"""Endings of radiographs; DICOM is known by its content, too."""
MASK_SUFFIXES = ("_mask", "-mask", "_masks", "_seg", "-seg", "_label", "_labels", "_lung", "_lungs", ".mask")
MASK_PREFIXES = ("mask_", "mask-", "seg_", "label_")
RECORDS = "metadata.jsonl"

Pairs = list[tuple[Path, tuple[Path, ...]]]
"""Images, each with the files whose union is its mask."""


def find_radiographs(source: str | Path) -> list[Path]:
    """The radiographs of a folder, or of a public set.

    Args:
        source: a folder: its `images` sub-folder where it has one, else its own files, else those of all its
            sub-folders but masks; or a set, `shenzhen:FOLDER`, or a set's own folder as published.

    Returns:
        By name; in sub-folders by path.

    Raises:
        DataError: no such folder, or no radiograph in it.
        UsageError: no such set.
    """
    pairs = _of_set(source)
    if pairs is not None:
        return [image for image, _ in pairs]
    folder = Path(source)
    inner = folder / "images"
    if inner.is_dir():
        return _radiographs_in(inner) or _nested(inner)
    if not folder.is_dir():
        raise DataError(f"no folder at {folder}: expected a folder of radiographs; check the path")
    return _radiographs_in(folder) or _nested(folder)


def find_pairs(source: str | Path, *, pattern: str | None = None, mask: str | None = None) -> tuple[Pairs, list[str]]:
    """Images and their masks.

    Masks have the images' names, or these with a usual addition, such as `a_mask.png` of `a.png`.

    Args:
        source:  a folder with images/ and masks/; where it holds metadata.jsonl, only the images that `file_name`
            lists count. Or a public set, `montgomery:FOLDER`, or a set's own folder as published.
        pattern: how the mask of an image is called, such as `{name}_lung.png`.
        mask:    which sub-folder of masks/, where there are any, or folder beside images/.

    Returns:
        The images, each with its mask's files, by name; and the stems of images without a mask.

    Raises:
        DataError: a folder is missing or empty, a listed image is missing, or names are ambiguous.
        UsageError: no such set, or several masks and none chosen.
    """
    pairs = _of_set(source)
    if pairs is None:
        return _pairs_in(Path(source), pattern, mask)
    return [pair for pair in pairs if pair[1]], [image.stem for image, masks in pairs if not masks]


def _pairs_in(folder: Path, pattern: str | None, mask: str | None) -> tuple[Pairs, list[str]]:
    images = _by_stem(_listed(folder) or list_images(folder / "images"))
    masks = _by_stem(list_images(_beside_images(folder, mask) or _mask_folder(folder / "masks", mask)))
    find = _by_pattern(pattern) if pattern else _by_usual_names
    found = {stem: find(stem, masks) for stem in images}
    pairs: Pairs = [(images[stem], (path,)) for stem, path in found.items() if path is not None]
    return pairs, [stem for stem, path in found.items() if path is None]


def _beside_images(folder: Path, mask: str | None) -> Path | None:
    """The folder of a mask that lies beside images/ and not in masks/."""
    if mask is None or (folder / "masks" / mask).is_dir() or not (folder / mask).is_dir():
        return None
    return folder / mask


def _mask_folder(folder: Path, mask: str | None) -> Path:
    """The folder of masks, or the one of several that is chosen."""
    inner = sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    if mask is not None and inner and mask not in inner:
        raise UsageError(f"{folder} has no masks {mask!r}; it has {', '.join(inner)}")
    if mask is not None and inner:
        return folder / mask
    if not inner or any(path.suffix.lower() in PICTURES for path in folder.iterdir()):
        return folder
    if len(inner) > 1:
        raise UsageError(f"{folder} has several masks, {', '.join(inner)}; choose one (--mask-name, mask_name=)")
    return folder / inner[0]


def _by_pattern(pattern: str) -> Callable[[str, dict[str, Path]], Path | None]:
    """Finds the mask of a stem by a pattern of names.

    Raises:
        UsageError: the pattern has no `{name}`.
    """
    if "{name}" not in pattern:
        raise UsageError(f"the masks' pattern is {pattern!r}; expected {{name}} in it, such as {{name}}_mask.png")

    def find(stem: str, masks: dict[str, Path]) -> Path | None:
        wanted = pattern.replace("{name}", stem)
        return next((path for path in masks.values() if wanted in (path.name, path.stem)), None)

    return find


def _by_usual_names(stem: str, masks: dict[str, Path]) -> Path | None:
    names = (stem, *(stem + suffix for suffix in MASK_SUFFIXES), *(prefix + stem for prefix in MASK_PREFIXES))
    fitting = [masks[name] for name in names if name in masks]
    if len(fitting) > 1 and fitting[0].stem != stem:
        both = " and ".join(path.name for path in fitting[:2])
        raise DataError(f"image {stem} fits {both}; tell which by a pattern (--masks-pattern '{{name}}_mask.png')")
    return fitting[0] if fitting else None


def _of_set(source: str | Path) -> list[MaskedImage] | None:
    """The images of the public set that a source names, or is the folder of; None where it is neither.

    Raises:
        UsageError: no such set.
        DataError:  nothing of the set is there.
    """
    named = _named(str(source))
    if named is None:
        folder = Path(source)
        if (folder / "images").is_dir() or not folder.is_dir():
            return None
        return next((pairs for known in _of_radiographs() if (pairs := known.find(folder))), None)
    known, root = named
    folder = locate(known, root) or root
    pairs = known.find(folder)
    if not pairs:
        raise DataError(f"nothing of {known.name} is in {folder}; expected {known.layout}: see nerp data {root}")
    return pairs


def _named(source: str) -> tuple[PublicSet, Path] | None:
    name, colon, root = source.partition(":")
    if not colon or len(name) < 2 or Path(source).exists() or not root:
        return None
    fitting = [known for known in PUBLIC_SETS.values() if known.name.lower() == name.lower()]
    if not fitting:
        known_names = ", ".join(known.name.lower() for known in _of_radiographs())
        raise UsageError(f"{name!r} is no set that nerp knows; expected one of {known_names}, as in shenzhen:FOLDER")
    if fitting[0].kind != "radiograph":
        raise UsageError(f"{fitting[0].name} holds CTs; expected a set of radiographs, as in shenzhen:FOLDER")
    return fitting[0], Path(root)


def _of_radiographs() -> list[PublicSet]:
    return [known for known in PUBLIC_SETS.values() if known.kind == "radiograph"]


def _radiographs_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file() and _is_radiograph(path))


def _nested(folder: Path) -> list[Path]:
    """Radiographs of all sub-folders but those of masks.

    Raises:
        DataError: there is none.
    """
    found = [path for path in sorted(folder.rglob("*")) if path.is_file() and _is_radiograph(path)]
    found = [path for path in found if not _is_of_masks(path.relative_to(folder).parts[:-1])]
    if not found:
        raise DataError(
            f"no image in {folder}: expected files ending in {', '.join(RADIOGRAPHS)}, or DICOM, in it or below"
        )
    return found


def _is_radiograph(path: Path) -> bool:
    if path.name.startswith("."):
        return False
    ending = path.suffix.lower()
    return ending in RADIOGRAPHS or ((ending == "" or ending[1:].isdecimal()) and is_dicom(path))


def _is_of_masks(folders: Sequence[str]) -> bool:
    return any("mask" in name.lower() or name.startswith(".") for name in folders)


def _by_stem(paths: list[Path]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in paths:
        if found.setdefault(path.stem, path) != path:
            raise DataError(f"{path.parent} holds both {found[path.stem].name} and {path.name}; keep one")
    return found


def _listed(folder: Path) -> list[Path]:
    records = folder / RECORDS
    if not records.is_file():
        return []
    try:
        names = [json.loads(line)["file_name"] for line in _whole_lines(records)]
        paths = sorted(folder / name for name in names)
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{records} has a line without a `file_name` ({error}); synthesize the pairs again") from error
    missing = [path for path in paths if not path.is_file()]
    if missing:
        name = missing[0].relative_to(folder)
        raise DataError(f"{records} lists {name} and {len(missing) - 1} more that do not exist; complete the pairs")
    return paths


def _whole_lines(path: Path) -> list[bytes]:
    """The lines of a file without empty ones, and without a last one that an interrupted writer tore."""
    *lines, last = path.read_bytes().split(b"\n")
    if last.rstrip().endswith(b"}"):
        lines.append(last)
    return [line for line in lines if line.strip()]
