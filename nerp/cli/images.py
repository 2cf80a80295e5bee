"""Commands that make images: render, synthesize, replay."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from nerp.cli import options as o
from nerp.cli.output import answer, print_settings, progress
from nerp.errors import UsageError

Run = Annotated[Path | None, typer.Option(help="Run folder of `nerp train`; for --mode vrr.")]


def render(
    ct: Annotated[Path, typer.Argument(help="CT file or DICOM folder.")],
    overrides: o.Overrides = None,
    *,
    out: o.Out = None,
    labels: o.Labels = None,
    mask: o.Mask = None,
    rule: o.Rule = None,
    rule_number: o.RuleNumber = None,
    label_names: o.LabelNames = None,
    force: o.Force = False,
    series: o.Series = None,
    orientation: o.Orientation = None,
    spacing: o.Spacing = None,
    max_voxels: o.MaxVoxels = None,
    labels_on_ct_grid: o.OnCTGrid = False,
    strict: o.Strict = False,
    view: o.ViewName = None,
    angle_deg: o.Angle = None,
    mode: Annotated[o.Mode | None, typer.Option(help="Default: vrr with a --run, drr without.")] = None,
    run: Run = None,
    kvp: o.Kvp = None,
    grid: o.AntiScatter = None,
    objects: o.Objects = None,
    dicom: Annotated[bool, typer.Option("--dicom", help="Write image.dcm, too: Digital X-Ray, derived.")] = False,
    shape: o.Shape = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Vary the camera by this seed; none: the preset.")] = None,
    device: o.OnDevice = None,
    backend: o.Backend = None,
    config: o.ConfigFile = None,
    dry_run: o.DryRun = False,
    as_json: o.AsJson = False,
) -> None:
    """Render one view of a CT: image.png, image.npy (raw), mask.png, record.json, settings.yaml.

    Modes: drr, line integrals; physics, a film by spectrum, scatter, grid and noise; vrr, a trained run's;
    itk, sums of HU as ITK's tool makes them, which made DRR-RATE.
    """
    from nerp.synthesis import render as render_files
    from nerp.synthesis.config import RenderConfig, load_image_config

    options = o.stated(ct=ct, out=out, labels=labels, mode=mode, run=run, seed=seed, device=device, backend=backend)
    options |= _view_and_mask(view, angle_deg, mask, rule, rule_number, label_names, force, shape)
    options |= _inputs(series, orientation, spacing, max_voxels, labels_on_ct_grid, strict)
    options |= _tube(kvp, grid, objects)
    settings = load_image_config(RenderConfig, config, overrides or [], options)
    if dry_run:
        print_settings(settings)
        return
    if settings.mask.labels is not None and settings.labels is None:
        raise UsageError(f"--mask {settings.mask.labels} was given and no labels to take it from; give --labels, too")
    folder, source = settings.required("out", "ct")
    _say_rules()
    record = render_files(
        source,
        out=folder,
        settings=settings.pair_settings(),
        labels=settings.labels,
        run=settings.run,
        seed=settings.seed,
        dicom=dicom,
    )
    answer(record.to_dict(), as_json, [folder])


def synthesize(
    arguments: Annotated[
        list[str] | None, typer.Argument(help="Run folder of `nerp train`, for vrr; and settings, as key=value.")
    ] = None,
    *,
    ct: Annotated[Path | None, typer.Option(help="CT file, DICOM folder, or folder of CTs.")] = None,
    labels: o.Labels = None,
    out: o.Out = None,
    mask: o.Mask = None,
    rule: o.Rule = None,
    rule_number: o.RuleNumber = None,
    label_names: o.LabelNames = None,
    labels_pattern: Annotated[
        str | None, typer.Option(help="How a CT's labels are called, such as '{name}_mask.nii.gz'.")
    ] = None,
    force: o.Force = False,
    orientation: o.Orientation = None,
    spacing: o.Spacing = None,
    max_voxels: o.MaxVoxels = None,
    labels_on_ct_grid: o.OnCTGrid = False,
    strict: o.Strict = False,
    skip_bad: o.SkipBad = False,
    series: o.Series = None,
    mode: Annotated[o.Mode | None, typer.Option(help="Default: vrr with a RUN, drr without.")] = None,
    view: o.ViewName = None,
    angle_deg: o.Angle = None,
    views: Annotated[int | None, typer.Option(min=1, help="Cameras for each CT. Default 10.")] = None,
    kvp: o.Kvp = None,
    grid: o.AntiScatter = None,
    objects: o.Objects = None,
    density_spread: o.DensitySpread = None,
    insert: o.Insert = None,
    shape: o.Shape = None,
    seed: o.Seed = None,
    device: o.OnDevice = None,
    backend: o.Backend = None,
    allow_empty: Annotated[bool, typer.Option(help="Keep CTs without a pixel of the mask.")] = False,
    config: o.ConfigFile = None,
    dry_run: o.DryRun = False,
    as_json: o.AsJson = False,
) -> None:
    """Make labelled pairs, images and masks from the same rays; run again, it goes on where it stopped."""
    from nerp.synthesis import synthesize as synthesize_pairs
    from nerp.synthesis.config import SynthesisConfig, load_image_config

    run, overrides = o.run_and_overrides(arguments)
    options = o.stated(ct=ct, labels=labels, out=out, run=run, mode=mode, views=views, seed=seed, device=device)
    options |= o.stated(backend=backend, allow_empty=allow_empty or None)
    options |= _view_and_mask(view, angle_deg, mask, rule, rule_number, label_names, force, shape)
    options |= _inputs(series, orientation, spacing, max_voxels, labels_on_ct_grid, strict)
    options |= {
        **_tube(kvp, grid, objects),
        **o.stated(physics__density_spread=density_spread, insert__findings=insert),
    }
    options |= o.stated(inputs__labels_pattern=labels_pattern, inputs__skip_bad=skip_bad or None)
    settings = load_image_config(SynthesisConfig, config, overrides, options)
    if dry_run:
        print_settings(settings)
        return
    source, label_source, folder = settings.required("ct", "labels", "out")
    _say_rules()
    with progress("pairs") as tick:
        summary = synthesize_pairs(
            source, label_source, out=folder, settings=settings.set_settings(), run=settings.run, progress=tick
        )
    answer(summary, as_json, [folder])


def replay(
    metadata: Annotated[Path, typer.Argument(help="PAIRS/metadata.jsonl, or the record.json of one view.")],
    ct: Annotated[Path, typer.Option(help="CT file, DICOM folder, or folder to search; found by its hash.")],
    out: o.OutHere,
    labels: Annotated[Path | None, typer.Option(help="Label map, or a folder to search; found by its hash.")] = None,
    index: Annotated[int, typer.Option(min=0, help="Which record, from 0.")] = 0,
    run: Annotated[Path | None, typer.Option(help="Run of a vrr pair; default: by its weights in runs/.")] = None,
    device: Annotated[
        o.Device | None, typer.Option(help="Default: the recorded one, where the bytes are equal.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the record as JSON, and do nothing.")] = False,
    as_json: o.AsJson = False,
) -> None:
    """Render a recorded pair again, bit for bit; the CT is found by its hash."""
    from nerp.synthesis import replay as replay_pair
    from nerp.synthesis.single import read_record

    if dry_run:
        answer(read_record(metadata, index).to_dict(), True, [])
        return
    chosen = None if device is None else device.value
    result = replay_pair(metadata, index, ct=ct, labels=labels, run=run, out=out, device=chosen)
    verdict = "identical to the record" if result["identical"] else "DIFFERS from the record"
    answer(result, as_json, [f"{out}: {verdict}", *result["differences"]])
    if not result["identical"]:
        raise typer.Exit(1)


def _say_rules() -> None:
    """Let the room say on stderr which rule each mask has."""
    logging.getLogger("nerp.synthesis").setLevel(logging.INFO)


def _view_and_mask(
    view: o.View | None,
    angle_deg: float | None,
    mask: list[str] | None,
    rule: str | None,
    numbers: list[str] | None,
    label_names: Path | None,
    force: bool,
    shape: str | None,
) -> dict[str, object]:
    """What the options of view and mask state."""
    return o.stated(
        camera__view=view,
        camera__angle_deg=angle_deg,
        mask__labels=o.mask_labels(mask),
        mask__rule=rule,
        mask__numbers=o.rule_numbers(numbers),
        mask__label_names=label_names,
        mask__force=force or None,
        shape=None if shape is None else list(o.image_shape(shape)),
    )


def _tube(kvp: float | None, grid: str | None, objects: str | None) -> dict[str, object]:
    """What the options of physics and objects state."""
    return {**o.stated(beam__kvp=kvp, physics__grid=grid), **o.objects(objects)}


def _inputs(
    series: str | None,
    orientation: str | None,
    spacing: str | None,
    max_voxels: int | None,
    labels_on_ct_grid: bool,
    strict: bool,
) -> dict[str, object]:
    """What the options of reading state."""
    return o.stated(
        inputs__series=series,
        inputs__orientation=orientation,
        inputs__spacing_mm=o.spacing(spacing),
        inputs__max_voxels=max_voxels,
        inputs__labels_on_ct_grid=labels_on_ct_grid or None,
        inputs__strict=strict or None,
    )
