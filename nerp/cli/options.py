"""Options that several commands share, and how their texts become settings."""

from __future__ import annotations

import math
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from nerp.errors import UsageError


class View(str, Enum):
    """Presets of `nerp.chest_camera`."""

    pa = "pa"
    ap = "ap"
    lateral = "lateral"
    oblique = "oblique"


class Mode(str, Enum):
    """How an image is made."""

    drr = "drr"
    vrr = "vrr"
    physics = "physics"
    emission = "emission"
    itk = "itk"


class Device(str, Enum):
    """Names that `nerp.devices.choose_device` knows."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


Out = Annotated[Path | None, typer.Option("--out", "-o", help="Folder to write; made if missing.")]
OutHere = Annotated[Path, typer.Option("--out", "-o", help="Folder to write; made if missing.")]
Seed = Annotated[int | None, typer.Option(min=0, max=2**32 - 1, help="Seed of everything random. Default 0.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
ConfigFile = Annotated[
    str | None, typer.Option("--config", help="YAML file of settings; options and key=value come after it.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the resolved settings as YAML, and do nothing.")]
Mask = Annotated[
    list[str] | None,
    typer.Option(
        help="Labels whose union is the mask: names such as 'lung_*', values such as 10,11, or superclasses such as "
        "group:ribs_left. Several masks: give it again, as NAME=LABELS, such as heart=heart."
    ),
]
Rule = Annotated[
    str | None,
    typer.Option(help="any, thickness, visible or rendered. Default: visible for lungs, any for all else."),
]
RuleNumber = Annotated[
    list[str] | None, typer.Option(help="A number of the rule, e.g. thickness_mm=10; give it again for more.")
]
Shape = Annotated[
    str | None, typer.Option(help="Pixels: rows, or ROWSxCOLUMNS. Default 256, or the run's own for vrr.")
]
Backend = Annotated[str | None, typer.Option(help="Projection: auto, reference, cpu or cuda. Default auto.")]
OnDevice = Annotated[Device | None, typer.Option("--device", help="Where it is computed. Default auto: a GPU if any.")]
Save = Annotated[Path | None, typer.Option(help="Keep the result as JSON, e.g. RUN/evaluation.json for the report.")]
LabelNames = Annotated[
    Path | None, typer.Option(help="Table of the labels' names; default: what the labels' file tells.")
]
Labels = Annotated[
    Path | None, typer.Option(help="Labels of the CT: a map, a folder of one file a structure; or a folder of them.")
]
Series = Annotated[str | None, typer.Option(help="Of a DICOM folder: the series' number, UID or description.")]
Orientation = Annotated[
    str | None, typer.Option(help="Where the CT's index axes point, such as LPS, if its file does not tell.")
]
Spacing = Annotated[str | None, typer.Option(help="Voxel size along them, mm, such as 0.8,0.8,2.5.")]
MaxVoxels = Annotated[int | None, typer.Option(min=1, help="Refuse files that promise more voxels.")]
OnCTGrid = Annotated[
    bool, typer.Option("--labels-on-ct-grid", help="Lay labels of the CT's shape on it, whatever place they tell.")
]
Strict = Annotated[bool, typer.Option("--strict", help="Refuse what is otherwise warned of.")]
Force = Annotated[bool, typer.Option("--force", help="Draw --rule visible of what is no lung.")]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Go on without the files that cannot be used; list them.")]
MaskName = Annotated[
    str | None, typer.Option(help="Which mask, where there are several; or several, such as lungs,heart.")
]
PixelSpacing = Annotated[
    str | None,
    typer.Option(help="Between rows, columns of the test's masks, such as 0.2; default: what files state, or px."),
]
Patients = Annotated[
    Path | None, typer.Option(help="CSV of file,patient_id; default: what records and names of known sets tell.")
]
Unlabelled = Annotated[
    list[Path] | None,
    typer.Option(help="Radiographs without masks, to learn from after the pairs; give it again for more folders."),
]
ViewName = Annotated[View | None, typer.Option("--view", help="Projection. Default pa.")]
Angle = Annotated[float | None, typer.Option(help="Turn of the oblique view, degrees. Default 30.")]
Kvp = Annotated[float | None, typer.Option(help="Peak voltage of --mode physics, 40 to 150. Default 120.")]
AntiScatter = Annotated[
    str | None,
    typer.Option("--grid", help="Anti-scatter grid, such as 12:1-al, or none. Default: one from 1400 mm on."),
]
Objects = Annotated[
    str | None,
    typer.Option(
        help="What lies on and in the patient: bedside or standing for a random set, or kinds such as pacemaker,zip_"
        "fastener. Default: nothing."
    ),
]
Insert = Annotated[
    str | None,
    typer.Option(help="Findings drawn into the lungs: random, or a list such as effusion,nodule. Default: none."),
]
DensitySpread = Annotated[
    float | None,
    typer.Option(min=0, max=0.5, help="Vary the density of each labelled structure by so much, in --mode physics."),
]
Overrides = Annotated[list[str] | None, typer.Argument(help="Settings, as key=value.")]


def rule_numbers(items: list[str] | None) -> dict[str, float] | None:
    """`{"thickness_mm": 10.0}` of `["thickness_mm=10"]`; None of nothing.

    Raises:
        UsageError: an item that is not name=number.
    """
    if not items:
        return None
    numbers = {}
    for item in items:
        name, _, text = item.partition("=")
        try:
            numbers[name] = float(text)
        except ValueError:
            raise UsageError(f"--rule-number is {item!r}; expected name=number, such as thickness_mm=10") from None
    return numbers


def mask_labels(items: list[str] | None) -> str | dict[str, str] | None:
    """`lung_*` of `["lung_*"]`, or `{"heart": "heart"}` of `["heart=heart"]`; None of nothing.

    Raises:
        UsageError: several masks without names, or two of one name.
    """
    if not items:
        return None
    if len(items) == 1 and "=" not in items[0]:
        return items[0]
    named = [item.partition("=") for item in items]
    names = [name for name, equals, _ in named if equals]
    if len(set(names)) < len(items):
        raise UsageError(
            f"--mask is {', '.join(items)}; expected each mask once, as NAME=LABELS, such as lungs=lung_*; labels of "
            "one mask are separated by commas"
        )
    return {name: labels for name, _, labels in named}


def objects(text: str | None) -> dict[str, object]:
    """Settings of `bedside`, or of `pacemaker,port`; nothing of nothing."""
    if text is None:
        return {}
    parts = [part.strip() for part in text.split(",") if part.strip()]
    scenes = [part for part in parts if part in ("none", "bedside", "standing")]
    kinds = [part for part in parts if part not in scenes]
    return {**({"objects.scene": scenes[-1]} if scenes else {}), **({"objects.kinds": kinds} if kinds else {})}


def spacing(text: str | None) -> list[float] | None:
    """Three millimetres of `0.8,0.8,2.5`; None of nothing.

    Raises:
        UsageError: no such text.
    """
    return _sizes(text, (3,), "--spacing is {}; expected three sizes in mm, such as 0.8,0.8,2.5")


def pixel_spacing(text: str | None) -> list[float] | None:
    """Two millimetres, between rows and columns, of `0.2` or `0.2,0.25`; None of nothing.

    Raises:
        UsageError: no such text.
    """
    expected = "--spacing-mm is {}; expected mm between rows, and columns, such as 0.2 or 0.2,0.25"
    sizes = _sizes(text, (1, 2), expected)
    return None if sizes is None else [sizes[0], sizes[-1]]


def _sizes(text: str | None, counts: tuple[int, ...], expected: str) -> list[float] | None:
    """Positive numbers with commas between; None of nothing."""
    if text is None:
        return None
    try:
        sizes = [float(part) for part in text.split(",")]
    except ValueError:
        sizes = []
    if len(sizes) not in counts or not all(0 < size < math.inf for size in sizes):
        raise UsageError(expected.format(repr(text)))
    return sizes


def image_shape(text: str) -> tuple[int, int]:
    """(H, W) of `256` or `256x320`.

    Raises:
        UsageError: no such text.
    """
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise UsageError(f"--shape is {text!r}; expected rows, or rows x columns, such as 256 or 256x320")
    return int(parts[0]), int(parts[-1])


def plain(value: object) -> object:
    """An option's value as a setting: a name of a choice, a path's text."""
    if isinstance(value, Enum):
        return value.value
    return str(value) if isinstance(value, Path) else value


def stated(**options: object) -> dict[str, object]:
    """Dotted keys of settings and the values that options state; `__` in a name stands for the dot."""
    return {name.replace("__", "."): plain(value) for name, value in options.items() if value is not None}


def run_and_overrides(arguments: list[str] | None) -> tuple[str | None, list[str]]:
    """The run folder among some arguments, if any, and the `key=value` ones.

    Raises:
        UsageError: more than one that is no key=value.
    """
    others, overrides = folders_and_overrides(arguments)
    if len(others) > 1:
        raise UsageError(
            f"got {len(others)} run folders ({', '.join(others)}); expected one, and settings as key=value"
        )
    return (others[0] if others else None), overrides


def folders_and_overrides(arguments: list[str] | None) -> tuple[list[str], list[str]]:
    """The folders among some arguments, and the `key=value` ones."""
    overrides = [item for item in arguments or [] if "=" in item and not Path(item).exists()]
    return [item for item in arguments or [] if item not in overrides], overrides
