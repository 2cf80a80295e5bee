"""Commands that set generated images against real ones: evaluate integrity, evaluate memorisation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nerp.cli import options as o
from nerp.cli.output import score_line
from nerp.cli.scoring import Asked, score

if TYPE_CHECKING:
    from nerp.evaluation.set_settings import IntegrityConfig, MemorisationConfig
    from nerp.training.loop import Progress


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
    from nerp.evaluation.set_settings import IntegrityConfig

    options = o.stated(fake=fake, real=real, patients=patients, out=out, seed=seed, skip_bad=skip_bad or None)
    asked = Asked(overrides, config, save, dry_run, as_json)
    score(asked, IntegrityConfig, options, evaluate=_integrity, lines=_what_tells)


def _integrity(settings: IntegrityConfig, tick: Progress) -> dict[str, Any]:
    from nerp.evaluation.integrity import evaluate_integrity
    from nerp.files import check_folder

    if settings.out:
        check_folder(settings.out)
    return evaluate_integrity(settings, progress=tick)


def _what_tells(result: dict[str, Any]) -> list[str]:
    spectrum, score = result["spectrum"], result["auroc"]
    band, distance = spectrum["band"], spectrum["distance"]
    return [
        f"auroc    {score_line(score, 'value')} n={score['n']}; .5 is the goal",
        f"patches  {score_line(result['auroc_patch'], 'value')} where each is judged alone",
        f"spectrum {distance['value']:.2f} dB apart; two halves of the real set {spectrum['floor']['value']:.2f} dB",
        f"band     {band['low']:.3f} to {band['high']:.3f} cycles a pixel: {band['decibels']:+.1f} dB, "
        f"{abs(band['effect']):.1f} times the spread among images",
    ]


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
    from nerp.evaluation.set_settings import MemorisationConfig

    options = o.stated(fake=fake, real=real, held_out=held_out, patients=patients, extractor=extractor)
    options |= o.stated(weights=weights, skip_bad=skip_bad or None, seed=seed, device=device)
    asked = Asked(overrides, config, save, dry_run, as_json)
    score(asked, MemorisationConfig, options, evaluate=_memorisation, lines=_copies)


def _memorisation(settings: MemorisationConfig, tick: Progress) -> dict[str, Any]:
    from nerp.evaluation.memorisation import evaluate_memorisation

    return evaluate_memorisation(settings, progress=tick)


def _copies(result: dict[str, Any]) -> list[str]:
    copies, alarm = result["copies"], result["false_alarm"]
    lines = [
        f"copies   {copies['count']} of {copies['n']} images are flagged; of real images of different patients "
        f"{alarm['real']['value']:.2%} would be"
    ]
    for name, space in result["spaces"].items():
        nearer, beside = space["privacy"]["nearer"], space["privacy"]["beside"].replace("_", "-")
        lines.append(f"{name:8} nearer than {beside} images are: {score_line(nearer, 'value')}; .5 is as near as they")
    flagged = [one for one in result["nearest"] if one["flagged_by"]]
    return lines + [_copy(one) for one in flagged[:10]]


def _copy(one: dict[str, Any]) -> str:
    by = " and ".join(one["flagged_by"])
    return f"copy     {one['file']} of {one[one['flagged_by'][0]]['nearest']}, by {by}"
