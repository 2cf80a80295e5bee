"""Headers in text: NRRD and MetaImage."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from nerp.errors import VolumeError
from nerp.headers.header import GZIP, RAW, TEXT, ZLIB, Header
from nerp.headers.place import ORIENTATION, SPACING

LARGE = 1e6
"""No length in mm, and no direction, reaches it; larger numbers overflow, and keep ITK busy for ever."""

HEADER_BYTES = 2**22
"""No header of text is longer; names and colours of segments take some kB."""

NRRD_TYPES = {
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i8": ("longlong", "long long", "long long int", "signed long long", "signed long long int", "int64", "int64_t"),
    "u8": ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"),
    "f4": ("float",),
    "f8": ("double",),
}
NRRD_ENCODINGS = {
    **dict.fromkeys(("raw",), RAW),
    **dict.fromkeys(("gzip", "gz"), GZIP),
    **dict.fromkeys(("txt", "text", "ascii", "hex"), TEXT),
}
NRRD_SPACES = ("right-anterior-superior", "ras", "left-anterior-superior", "las", "left-posterior-superior", "lps")
META_TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
MM_PER_UNIT = {"mm": 1.0, "millimeter": 1.0, "cm": 10.0, "m": 1000.0, "meter": 1000.0, "um": 1e-3, "micron": 1e-3}


def nrrd_header(path: Path) -> Header:
    """The header of a NRRD file, `.nrrd` or `.nhdr`.

    Raises:
        VolumeError: a field is missing or is not what NRRD says.

    Source: the NRRD format, version 5, teem.sourceforge.net/nrrd/format.html.
    """
    lines, length = _lines(path, lambda line: not line.strip())
    fields = _fields(lines[1:], ":")
    dimension = _whole(path, fields, "dimension")[0]
    sizes = _whole(path, fields, "sizes", dimension)
    kind = next((key for key, names in NRRD_TYPES.items() if fields.get("type", "").lower() in names), "")
    packing = NRRD_ENCODINGS.get(fields.get("encoding", "").lower(), "")
    if not kind or not packing:
        found = f"type {fields.get('type', 'none')!r}, encoding {fields.get('encoding', 'none')!r}"
        raise VolumeError(
            f"{path}: holds {found}; expected real numbers, raw or gzip: write it again with gzip encoding"
        )
    stated = fields.get("data file", fields.get("datafile"))
    data = path if stated is None else _beside(path, stated)
    skip = _whole(path, fields, "byte skip", 1)[0] if "byte skip" in fields else 0
    if skip < -1:
        raise VolumeError(f"{path}: byte skip is {skip}; expected -1 or more: repair its header")
    start = length if stated is None else 0
    offset = None if skip < 0 or "line skip" in fields else skip + (start if packing == RAW else 0)
    unknown, reason = _nrrd_doubt(path, fields)
    return Header(
        "NRRD", tuple(sizes), int(kind[1]), kind[0], data, offset, packing,
        unknown=unknown, reason=reason, mm_per_unit=_nrrd_unit(path, fields), start=start,
    )  # fmt: skip


def meta_header(path: Path) -> Header:
    """The header of a MetaImage, `.mha` or `.mhd`.

    Raises:
        VolumeError: a field is missing or is not what MetaImage says.

    Source: itk.org/Wiki/ITK/MetaIO/Documentation.
    """
    lines, length = _lines(path, lambda line: line.split("=")[0].strip().lower() == "elementdatafile")
    fields = _fields(lines, "=")
    dimension = _whole(path, fields, "ndims")[0]
    sizes = _whole(path, fields, "dimsize", dimension)
    channels = _whole(path, fields, "elementnumberofchannels", 1)[0] if "elementnumberofchannels" in fields else 1
    kind = META_TYPES.get(fields.get("elementtype", "").upper(), "")
    if not kind or channels != 1:
        found = f"{channels} of {fields.get('elementtype', 'no type')} a voxel"
        raise VolumeError(f"{path}: holds {found}, several numbers a voxel or none; expected one real number each")
    stated = fields.get("elementdatafile", "")
    if not stated:
        raise VolumeError(
            f"{path}: cannot be read as MetaImage (it states no ElementDataFile); fetch or write it again"
        )
    data = path if stated.upper() == "LOCAL" else _beside(path, stated)
    packing = ZLIB if _is_true(fields, "compresseddata") else TEXT if fields.get("binarydata") == "False" else RAW
    skip = _whole(path, fields, "headersize", 1)[0] if "headersize" in fields else 0
    offset = None if skip < 0 else skip + (length if data == path else 0)
    unknown, reason = _meta_doubt(path, fields, dimension)
    return Header(
        "MetaImage", tuple(sizes), int(kind[1]), kind[0], data, offset, packing,
        unknown=unknown, reason=reason, mm_per_unit=_unit(path, fields.get("distanceunits", "mm")),
    )  # fmt: skip


def _lines(path: Path, is_last: object) -> tuple[list[str], int]:
    """Lines of a header up to the last, and the bytes they take."""
    assert callable(is_last)
    lines: list[str] = []
    with path.open("rb") as file:
        while file.tell() < HEADER_BYTES:
            line = file.readline(HEADER_BYTES)
            if not line:
                break
            lines.append(line.decode("latin-1").rstrip("\r\n"))
            if is_last(lines[-1]):
                break
        return lines, file.tell()


def _fields(lines: Sequence[str], mark: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in lines:
        name, sep, value = line.partition(mark)
        if sep and not line.startswith("#") and not value.startswith("="):
            found[name.strip().lower()] = value.strip()
    return found


def _whole(path: Path, fields: Mapping[str, str], name: str, count: int = 1) -> list[int]:
    """`count` whole numbers of a field."""
    parts = fields.get(name, "").split()
    try:
        numbers = [int(part) for part in parts]
    except ValueError:
        numbers = []
    if not 1 <= len(numbers) == count or (name == "dimension" and not 1 <= numbers[0] <= 16):
        raise VolumeError(
            f"{path}: {name} is {fields.get(name, '')[:40]!r}; expected {count} whole numbers: write it again"
        )
    return numbers


def _real(path: Path, fields: Mapping[str, str], name: str, count: int) -> list[float]:
    """`count` finite numbers of a field."""
    try:
        numbers = [float(part) for part in fields[name].split()]
    except ValueError:
        numbers = []
    if len(numbers) != count or not all(abs(number) < LARGE for number in numbers):
        raise VolumeError(f"{path}: {name} is {fields[name][:40]!r}; expected {count} numbers: repair its header")
    return numbers


def _beside(path: Path, stated: str) -> Path | None:
    if stated.upper().startswith("LIST") or "%" in stated or not stated or "\0" in stated:
        return None
    data = path.parent / stated
    if not data.is_file():
        raise VolumeError(f"{path}: cannot be read, its data file {stated[:80]!r} is not beside it; fetch both")
    return data


def _nrrd_doubt(path: Path, fields: Mapping[str, str]) -> tuple[tuple[str, ...], str]:
    for part in fields.get("space directions", "").replace("none", "").replace("(", " ").replace(")", " ").split():
        if not all(_is_length(number) for number in part.split(",") if number):
            raise VolumeError(f"{path}: space directions hold {part[:40]!r}; expected numbers: repair its header")
    for part in fields.get("space origin", "").strip("() ").split(","):
        if part and not _is_length(part):
            raise VolumeError(f"{path}: space origin holds {part[:40]!r}; expected numbers: repair its header")
    has_spacing = any(_is_length(part) for part in fields.get("spacings", "").split())
    if "space directions" not in fields:
        return (ORIENTATION,) if has_spacing else (ORIENTATION, SPACING), "no space directions in its header"
    if not fields.get("space", "").lower().startswith(NRRD_SPACES):
        return (ORIENTATION,), f"space is {fields.get('space', 'not stated')!r}"
    return (), ""


def _is_length(text: str) -> bool:
    try:
        return abs(float(text)) < LARGE
    except ValueError:
        return False


def _nrrd_unit(path: Path, fields: Mapping[str, str]) -> float:
    stated = {part.strip() for part in fields.get("space units", "").split('"')[1::2]} - {""}
    if len(stated) > 1:
        raise VolumeError(
            f"{path}: space units are {', '.join(sorted(stated))}; expected one for all: repair its header"
        )
    return _unit(path, next(iter(stated), "mm"))


def _unit(path: Path, name: str) -> float:
    factor = MM_PER_UNIT.get(name.lower() if name != "" else "mm")
    if factor is None:
        raise VolumeError(f"{path}: its lengths are in {name[:20]!r}; expected mm, cm, m or um: repair its header")
    return factor


def _meta_doubt(path: Path, fields: Mapping[str, str], dimension: int) -> tuple[tuple[str, ...], str]:
    sizes = [name for name in ("elementspacing", "elementsize") if name in fields]
    for name in sizes:
        _real(path, fields, name, dimension)
    turns = [name for name in ("transformmatrix", "rotation", "orientation") if name in fields]
    for name in turns:
        _check_directions(path, name, _real(path, fields, name, dimension**2), dimension)
    for name in ("offset", "position", "origin"):
        if name in fields:
            _real(path, fields, name, dimension)
    missing = [(ORIENTATION, "TransformMatrix", turns), (SPACING, "ElementSpacing", sizes)]
    lacking = [(what, name) for what, name, found in missing if not found]
    return tuple(what for what, _ in lacking), "no " + " and no ".join(name for _, name in lacking)


def _check_directions(path: Path, name: str, numbers: list[float], count: int) -> None:
    """Refuse what are no `count` unit vectors."""
    for start in range(0, len(numbers), count):
        length = math.hypot(*numbers[start : start + count])
        if abs(length - 1) > 0.01:
            raise VolumeError(f"{path}: {name} has a direction of length {length:.4g}; expected 1: repair its header")


def _is_true(fields: Mapping[str, str], name: str) -> bool:
    return fields.get(name, "").strip().lower()[:1] in ("t", "1")
