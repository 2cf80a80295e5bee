"""Commands that set generated images against real ones: evaluate integrity, evaluate memorisation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nerp.cli import options as o
from nerp.cli.output import answer, check_save, print_settings, progress


def integrity(
    fake: Annotated[Path, typer.Argument(help="Folder of generated images.")],
    real: Annotated[Path, typer.Argument(help="Folder of real images.")],
    overrides: o.Overrides = None,
    *,
    patients: Annotated[
        Path | None, typer.Option(help="CSV of files and patients; default: what records and names tell.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for pictures of what tells.")] = None,
    skip_bad: o.SkipBad = False,
    seed: o.Seed = None,
    save: o.Save = None,
    config: o.ConfigFile = None,
    dry_run: o.DryRun = False,
    as_json: o.AsJson = False,
) -> None:
    """Tell generated images from real ones by spectrum and texture, and show what gives them away."""
    from nerp.config import read_settings
    from nerp.evaluation.set_settings import IntegrityConfig

    options = o.stated(fake=fake, real=real, patients=patients, out=out, seed=seed, skip_bad=skip_bad or None)
    settings = read_settings(IntegrityConfig, config, overrides or [], options=options)
    if dry_run:
        print_settings(settings)
        return
    from nerp.evaluation.integrity import evaluate_integrity, lines_of
    from nerp.files import check_folder

    check_save(save)
    if settings.out:
        check_folder(settings.out)
    with progress("images") as tick:
        result = evaluate_integrity(settings, progress=tick)
    answer(result, as_json, [*lines_of(result), *(f"warning: {text}" for text in result["warnings"])], save)


def memorisation(
    fake: Annotated[Path, typer.Argument(help="Folder of generated images.")],
    real: Annotated[Path, typer.Argument(help="Folder of real images.")],
    overrides: o.Overrides = None,
    *,
    held_out: Annotated[Path | None, typer.Option(help="Folder of real images that were not learned from.")] = None,
    patients: Annotated[
        Path | None, typer.Option(help="CSV of files and patients; default: what records and names tell.")
    ] = None,
    extractor: Annotated[
        str | None, typer.Option(help="Network of the features, or none. Default efficientnet-lite0.")
    ] = None,
    weights: Annotated[Path | None, typer.Option(help="The extractor's weights file.")] = None,
    skip_bad: o.SkipBad = False,
    seed: o.Seed = None,
    device: o.OnDevice = None,
    save: o.Save = None,
    config: o.ConfigFile = None,
    dry_run: o.DryRun = False,
    as_json: o.AsJson = False,
) -> None:
    """Find copies of real images among generated ones, and how near all lie to what was learned from."""
    from nerp.config import read_settings
    from nerp.evaluation.set_settings import MemorisationConfig

    options = o.stated(fake=fake, real=real, held_out=held_out, patients=patients, extractor=extractor)
    options |= o.stated(weights=weights, skip_bad=skip_bad or None, seed=seed, device=device)
    settings = read_settings(MemorisationConfig, config, overrides or [], options=options)
    if dry_run:
        print_settings(settings)
        return
    from nerp.evaluation.memorisation import evaluate_memorisation, lines_of

    check_save(save)
    with progress("images") as tick:
        result = evaluate_memorisation(settings, progress=tick)
    answer(result, as_json, [*lines_of(result), *(f"warning: {text}" for text in result["warnings"])], save)
