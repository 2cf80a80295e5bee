"""The command that makes a table of segmenters, and of how close sets are to real radiographs: study."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from nerp.cli import options as o
from nerp.cli.evaluate_arms import arm_lines
from nerp.cli.output import answer, bars, check_save, print_settings, score_line


class Scale(str, Enum):
    """`small` is for two CPU cores, `full` for a GPU."""

    small = "small"
    full = "full"


class Part(str, Enum):
    """Of the real images with masks: which are scored."""

    dev = "dev"
    test = "test"


def study(
    config: Annotated[str, typer.Argument(help="YAML file of a study, or a preset, such as missing_annotations.")],
    overrides: o.Overrides = None,
    *,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Keep and continue everything here.")] = None,
    scale: Annotated[
        Scale | None, typer.Option(help="Take the study's settings, or those it has for full. Default small.")
    ] = None,
    part: Annotated[Part | None, typer.Option(help="Score dev, while choosing, or test, once. Default dev.")] = None,
    only: Annotated[
        str | None, typer.Option(help="Cells to make, such as physics:0,vrr:squeezenet. Default: all, in turn.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Trainings of each row.")] = None,
    seed: o.Seed = None,
    device: o.OnDevice = None,
    save: o.Save = None,
    dry_run: o.DryRun = False,
    as_json: o.AsJson = False,
) -> None:
    """Make sets of pairs, train a table's segmenters on them, hold the sets to real radiographs, cell by cell."""
    from nerp.experiments.study.settings import study_settings

    options = o.stated(out=out, scale=scale, part=part, only=only, seeds=seeds, seed=seed, device=device)
    settings = study_settings(config, overrides or [], options=options)
    if dry_run:
        print_settings(settings)
        return
    from nerp.experiments.study.run import run_study

    check_save(save)
    with bars() as move:
        result = run_study(settings, progress=move)
    answer(result, as_json, _lines(result), save)


def _lines(result: dict[str, Any]) -> list[str]:
    looks = fidelity_table_lines(result["fidelity"]) if "fidelity" in result else []
    return [*arm_lines(result), *looks, *(f"warning: {text}" for text in result["warnings"])]


def fidelity_table_lines(fidelity: dict[str, Any]) -> list[str]:
    """A block an extractor and a line a set, FID and KID with their parts of the first set's; then the masks' fit."""
    names = [*fidelity["alignment"], *(name for found in fidelity["extractors"].values() for name in found["sets"])]
    width = max(map(len, names), default=0)
    lines = []
    for extractor, found in fidelity["extractors"].items():
        lines.append(f"{extractor}, against {found['n_real']} radiographs; as a part of {fidelity['baseline']}'s:")
        lines += [f"  {name:{width}}  {_scores(scores)}" for name, scores in found["sets"].items()]
    if fidelity["alignment"]:
        lines.append("masks on their images:")
    for name, scores in fidelity["alignment"].items():
        told = "  ".join(f"{key} {score_line(scores[key], 'value')}" for key in ("alignment", "agreement"))
        lines.append(f"  {name:{width}}  {told}")
    return lines


def _scores(scores: dict[str, Any]) -> str:
    """`fid 100.0 [90.0, 110.0] (0.75 [0.70, 0.80])  kid …` and the inception score, as far as they are told."""
    told = []
    for key in ("fid", "kid", "isc"):
        if scores[key]["value"] is not None:
            part = scores.get(f"{key}_ratio", {"value": None})
            beside = "" if part["value"] is None else f" ({score_line(part, 'value')})"
            told.append(f"{key} {score_line(scores[key], 'value')}{beside}")
    return "  ".join(told)
