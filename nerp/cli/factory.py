"""The command that makes data sets at scale: factory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from nerp.cli import options as o
from nerp.cli.output import answer


def factory(
    plan: Annotated[str, typer.Argument(help="YAML file of a plan.")],
    overrides: o.Overrides = None,
    *,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder of the set; called again, it goes on.")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes. Default 1.")] = None,
    ray: Annotated[
        str | None, typer.Option(help="Address of a Ray cluster that works instead, such as auto or 10.0.0.1:6379.")
    ] = None,
    max_failures: Annotated[
        int | None, typer.Option(min=0, help="Stop when more CTs cannot be used. Default: never.")
    ] = None,
    seed: o.Seed = None,
    device: o.OnDevice = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print counts, disk and time, measured on one CT, and make nothing.")
    ] = False,
    as_json: o.AsJson = False,
) -> None:
    """Make a data set of a plan: CTs to radiographs, masks and labels, in parts by patient, documented.

    A CT that cannot be used is told in errors.csv and stops nothing. Any number of workers, killed or not, write the
    same bytes.
    """
    from nerp.factory import load_plan, make_dataset

    options = o.stated(out=out, workers=workers, ray=ray, max_failures=max_failures, seed=seed, device=device)
    settings = load_plan(plan, overrides or [], options=options)
    if dry_run:
        from nerp.factory.estimating import estimate

        result = estimate(settings)
        answer(result, as_json, _estimated(result))
        return
    with _bar() as tick:
        result = make_dataset(settings, progress=tick)
    answer(result, as_json, _made(result, str(settings.out)))


def _made(result: dict[str, Any], out: str) -> list[str]:
    counts = result["counts"]
    parts = ", ".join(f"{name} {one['pairs']}" for name, one in result["parts"].items())
    failed = f"; {counts['failed']} CTs could not be used: see {out}/errors.csv" if counts["failed"] else ""
    told = [f"{out}: {counts['pairs']} pairs of {counts['cts'] - counts['failed']} CTs ({parts}){failed}"]
    if counts["alike"]:
        told.append(f"warning: {counts['alike']} CTs look like one of another patient in another part: see remarks.csv")
    return told


def _estimated(result: dict[str, Any]) -> list[str]:
    sample = result["sample"]
    return [
        f"{result['cts']} CTs of {result['patients']} patients, {result['pairs']} pairs",
        *(f"  {name}: {one['cts']} CTs, {one['patients']} patients" for name, one in result["parts"].items()),
        f"measured on {sample['file']}: {sample['seconds']:.1f} s and {sample['bytes'] / 1e6:.2f} MB for its pairs",
        f"estimated: {result['gigabytes']:.2f} GB, {result['hours']:.2f} h with {result['workers']} workers",
    ]


@contextmanager
def _bar() -> Iterator[Callable[[int, int, int], None]]:
    """One bar on stderr: CTs done, failed, a minute, and the time that is left; silent where nobody watches."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (
        TextColumn("CTs"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[failed]} failed  {task.fields[pace]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal, speed_estimate_period=600.0) as shown:
        task = shown.add_task("CTs", total=None, failed=0, pace="")

        def tick(made: int, failed: int, total: int) -> None:
            speed = shown.tasks[0].speed
            pace = "" if speed is None else f"{60 * speed:.1f} CTs/min"
            shown.update(task, completed=made + failed, total=total, failed=failed, pace=pace)

        yield tick
