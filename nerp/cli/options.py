"""Options that several commands share, and how their texts become settings."""

from __future__ import annotations

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
    str | None, typer.Option(help="Labels whose union is the mask: names such as 'lung_*', or values such as 10,11.")
]
Rule = Annotated[
    str | None,
    typer.Option(help="How thickness becomes a mask: any, thickness, visible, rendered. Default visible."),
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
LabelNames = Annotated[Path | None, typer.Option(help="CSV with the columns id,structure naming the label values.")]
Labels = Annotated[Path | None, typer.Option(help="Label map of the CT, or folder of maps with the CTs' file names.")]
ViewName = Annotated[View | None, typer.Option("--view", help="Projection. Default pa.")]
Angle = Annotated[float | None, typer.Option(help="Turn of the oblique view, degrees. Default 30.")]
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
    overrides = [item for item in arguments or [] if "=" in item and not Path(item).exists()]
    others = [item for item in arguments or [] if item not in overrides]
    if len(others) > 1:
        raise UsageError(
            f"got {len(others)} run folders ({', '.join(others)}); expected one, and settings as key=value"
        )
    return (others[0] if others else None), overrides
