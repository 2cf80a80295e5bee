"""Images with the masks of one or several structures."""

from __future__ import annotations

from pathlib import Path

from nerp.data.checking import Bad, check_pairs
from nerp.data.folders import Pairs, find_pairs
from nerp.errors import UsageError

Outlined = list[tuple[Path, tuple[tuple[Path, ...], ...]]]
"""Images, each with the files of each structure's mask, in the structures' order."""


def structure_names(text: str | None) -> tuple[str, ...]:
    """`("lungs", "heart")` of `lungs,heart`; nothing of nothing: the one mask that there is.

    Raises:
        UsageError: a name twice.
    """
    names = tuple(name.strip() for name in (text or "").split(",") if name.strip())
    if len(set(names)) < len(names):
        raise UsageError(f"the masks are {text}; expected each name once, such as lungs,heart")
    return names


def find_outlined(
    source: str | Path, names: tuple[str, ...] = (), *, pattern: str | None = None
) -> tuple[Outlined, list[str]]:
    """Images that have a mask of every structure.

    Args:
        source:  as in `find_pairs`; of several structures each has a folder, masks/NAME or NAME beside images/.
        names:   of the structures, or none where the masks are of one.
        pattern: how the mask of an image is called, such as `{name}_lung.png`.

    Returns:
        The images with their masks' files, and the stems of images that lack a mask.

    Raises:
        UsageError, DataError: as `find_pairs`, or a structure without a folder.
    """
    if len(names) > 1:
        for name in names:
            if not any((Path(source) / place).is_dir() for place in (f"masks/{name}", name)):
                raise UsageError(f"{source} has no masks {name!r}; expected a folder {source}/masks/{name}")
    found = [find_pairs(source, pattern=pattern, mask=name) for name in names or (None,)]
    files = [dict(pairs) for pairs, _ in found]
    images = [image for image, _ in found[0][0] if all(image in of for of in files)]
    lacking = dict.fromkeys(stem for _, stems in found for stem in stems)
    return [(image, tuple(of[image] for of in files)) for image in images], list(lacking)


def check_outlined(outlined: Outlined, *, skip_bad: bool = False) -> tuple[Outlined, list[Bad]]:
    """Look at all files before long work; see `check_pairs`.

    Args:
        outlined: from `find_outlined`.
        skip_bad: leave bad files out, with a warning.

    Raises:
        DataError: see `check_pairs`.
    """
    pairs: Pairs = [(image, tuple(file for files in masks for file in files)) for image, masks in outlined]
    good, bad = check_pairs(pairs, skip_bad=skip_bad)
    kept = {image for image, _ in good}
    return [one for one in outlined if one[0] in kept], bad
