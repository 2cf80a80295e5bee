"""The `nerp` command. Each command turns options into plain arguments and calls one library function."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from nerp import __version__
from nerp.errors import NerpError, UsageError

app = typer.Typer(
    name="nerp",
    help="CT in, labelled chest radiographs out. Research use; nothing here is for diagnosis.",
    epilog="Start with: nerp phantom /tmp/ph --count 2 && nerp render /tmp/ph/ct/phantom_0000.nii.gz -o /tmp/pa",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
evaluate = typer.Typer(no_args_is_help=True, help="Score images and masks: segmentation, fidelity.")
app.add_typer(evaluate, name="evaluate")

CommandLineError = typer.BadParameter.__mro__[2]  # its public name differs between typer's releases


class View(str, Enum):
    pa = "pa"
    ap = "ap"
    lateral = "lateral"
    oblique = "oblique"


class Mode(str, Enum):
    drr = "drr"
    vrr = "vrr"
    physics = "physics"


Out = Annotated[Path, typer.Option("--out", "-o", help="Folder to write; made if missing.")]
Seed = Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of everything random.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
Mask = Annotated[str | None, typer.Option(help="Label values whose union is the mask, e.g. 10,11,12.")]
Rule = Annotated[str, typer.Option(help="How thickness becomes a mask: any, thickness, visible, rendered.")]
RuleNumber = Annotated[
    list[str] | None, typer.Option(help="A number of the rule, e.g. thickness_mm=10; give it again for more.")
]
Shape = Annotated[
    str | None, typer.Option(help="Pixels: rows, or ROWSxCOLUMNS. Default 256, or the run's own for vrr.")
]
Backend = Annotated[str, typer.Option(help="Projection: auto, reference, cpu or cuda.")]
Save = Annotated[Path | None, typer.Option(help="Keep the result as JSON, e.g. RUN/evaluation.json for the report.")]
LabelNames = Annotated[Path | None, typer.Option(help="CSV with the columns id,structure naming the label values.")]
Run = Annotated[Path | None, typer.Option(help="Run folder of `nerp train`; for --mode vrr.")]


def main(arguments: list[str] | None = None) -> int:
    """Run the command line, by default the process's own; returns the exit code."""
    return guarded(lambda: app(arguments, standalone_mode=False))


def guarded(command: Callable[[], int | None]) -> int:
    """Call a command; one line and exit code 1 or 2 for whatever a user can repair."""
    try:
        return command() or 0
    except NerpError as error:
        return complain(str(error), error.exit_code)
    except CommandLineError as error:
        return complain(f"{error.format_message()} (see nerp --help)".lstrip(), 2)
    except FileNotFoundError as error:
        return complain(f"no such file or folder: {error.filename}; check the path", 1)
    except OSError as error:
        found = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        return complain(f"{found}; check the path, its rights and the space left", 1)
    except RuntimeError as error:  # torch has no class of its own for this on the CPU
        if "allocate memory" not in str(error) and "out of memory" not in str(error):
            raise
        return complain("not enough memory; give a smaller --shape or CT, or end other programs", 1)
    except KeyboardInterrupt:
        return complain("interrupted; run the same command again to go on where it stopped", 130)


def complain(message: str, code: int) -> int:
    """Print the one line of an error; return the exit code."""
    if message.strip(" ()") != "see nerp --help":
        print(f"nerp: {' '.join(message.split())}", file=sys.stderr)
    return code


def answer(result: dict, as_json: bool, lines: list[str], save: Path | None = None) -> None:
    """Print a result: JSON for machines, a few lines for people; keep it in a file where one is named."""
    if save:
        from nerp.files import json_bytes, write_bytes

        write_bytes(save, json_bytes(result))
    print(json.dumps(result, indent=2) if as_json else "\n".join(lines))


def check_save(save: Path | None) -> None:
    """Refuse a place that cannot be written before the work is done."""
    if save:
        from nerp.files import check_file

        check_file(save)


@contextmanager
def progress(task: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar with an ETA on stderr, moved by calling with (done, total); silent where nobody watches."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        row = bar.add_task(task, total=None)
        yield lambda done, total: bar.update(row, completed=done, total=total)


def mask_choice(mask: str | None, rule: str, numbers: list[str] | None, label_names: Path | None) -> dict:
    """What the mask options say, as `PairSettings` takes it."""
    from nerp.label_names import read_label_names, select_labels
    from nerp.projection import MaskRule

    names = read_label_names(label_names) if label_names else {}
    choice = {"rule": MaskRule(rule, rule_numbers(numbers)), "label_names": names}
    return choice if mask is None else {**choice, "mask": select_labels(mask, names)}


def pair_settings(mask: dict, run: Path | None, *, shape: str | None, **options):
    """The `PairSettings` of the options; shape and camera ranges default to the run's own."""
    from nerp.synthesis import PairSettings, run_settings

    own = run_settings(run) if run else {}
    chosen = {"shape": image_shape(shape)} if shape else {}
    return PairSettings(**{**own, **mask, **options, **chosen})


def rule_numbers(items: list[str] | None) -> dict[str, float]:
    """`{"thickness_mm": 10.0}` of `["thickness_mm=10"]`."""
    numbers = {}
    for item in items or []:
        name, _, number = item.partition("=")
        try:
            numbers[name] = float(number)
        except ValueError:
            raise UsageError(f"--rule-number is {item!r}; expected name=number, such as thickness_mm=10") from None
    return numbers


def image_shape(text: str) -> tuple[int, int]:
    """(H, W) of `256` or `256x320`."""
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise UsageError(f"--shape is {text!r}; expected rows, or rows x columns, such as 256 or 256x320")
    return int(parts[0]), int(parts[-1])


@app.command(epilog="Example: nerp phantom /tmp/phantoms --count 8 --findings random")
def phantom(
    out: Annotated[Path, typer.Argument(help="Folder to write ct/, labels/, labels.csv and findings.csv into.")],
    count: Annotated[int, typer.Option(min=1, help="Number of phantoms.")] = 8,
    seed: Seed = 0,
    spacing_mm: Annotated[float, typer.Option(min=0.5, max=20.0, help="Voxel spacing, mm.")] = 2.0,
    findings: Annotated[str, typer.Option(help="none, random, or a list such as effusion,nodule.")] = "none",
) -> None:
    """Make parametric thoraces: CTs in HU, label maps, and the findings they carry."""
    from nerp.phantom import write_phantoms

    with progress("phantoms") as tick:
        write_phantoms(out, count=count, seed=seed, spacing_mm=spacing_mm, findings=findings, progress=tick)
    print(out)


@app.command(
    epilog="Example: nerp render ct.nii.gz --labels labels.nii.gz --mask 10,11 --view pa --mode drr -o /tmp/pa"
)
def render(
    ct: Annotated[Path, typer.Argument(help="CT file or DICOM folder.")],
    out: Out,
    labels: Annotated[Path | None, typer.Option(help="Label map of the CT.")] = None,
    mask: Mask = None,
    rule: Rule = "visible",
    rule_number: RuleNumber = None,
    label_names: LabelNames = None,
    view: Annotated[View, typer.Option(help="Projection.")] = View.pa,
    angle_deg: Annotated[float, typer.Option(help="Turn of the oblique view, degrees.")] = 30.0,
    mode: Annotated[Mode, typer.Option(help="Line integrals, or a trained run's radiograph.")] = Mode.drr,
    run: Run = None,
    shape: Shape = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Vary the camera by this seed; none: the preset.")] = None,
    backend: Backend = "auto",
    as_json: AsJson = False,
) -> None:
    """Render one view of a CT: image.png, image.npy (raw), mask.png, record.json."""
    from nerp.synthesis import render as render_files

    if mask is not None and labels is None:
        raise UsageError(f"--mask {mask} was given and no labels to take it from; give --labels, too")
    settings = pair_settings(
        mask_choice(mask, rule, rule_number, label_names),
        run if mode is Mode.vrr else None,
        mode=mode.value,
        view=view.value,
        angle_deg=angle_deg,
        shape=shape,
        backend=backend,
    )
    record = render_files(ct, out=out, settings=settings, labels=labels, run=run, seed=seed)
    answer(record, as_json, [str(out)])


@app.command(epilog="Example: nerp train configs/demo.yaml trainer.steps=100")
def train(
    config: Annotated[
        str, typer.Argument(help="YAML file, or the name of a preset: demo, paper, code, chest, real_cpu.")
    ],
    overrides: Annotated[list[str] | None, typer.Argument(help="Changes, as key=value.")] = None,
    seed: Annotated[int | None, typer.Option(help="Same as seed=N.")] = None,
) -> None:
    """Train mapper and discriminator; run again, it resumes by itself."""
    from nerp.config import load_config
    from nerp.training.adversarial import train as train_run

    changes = [*(overrides or []), *([f"seed={seed}"] if seed is not None else [])]
    print(train_run(load_config(config, changes)))


@app.command(
    epilog="Example: nerp synthesize runs/demo --ct ct/ --labels labels/ --mask 10,11,12 --views 10 -o /tmp/pairs"
)
def synthesize(
    run: Annotated[Path | None, typer.Argument(help="Run folder of `nerp train`; for --mode vrr.")] = None,
    *,
    ct: Annotated[Path, typer.Option(help="CT file, DICOM folder, or folder of CTs.")],
    labels: Annotated[Path, typer.Option(help="Label map of the CT, or folder of maps with the CTs' file names.")],
    out: Out,
    mask: Mask = None,
    rule: Rule = "visible",
    rule_number: RuleNumber = None,
    label_names: LabelNames = None,
    mode: Annotated[Mode | None, typer.Option(help="Default: vrr with a RUN, drr without.")] = None,
    view: Annotated[View, typer.Option(help="Projection that the cameras vary about.")] = View.pa,
    angle_deg: Annotated[float, typer.Option(help="Turn of the oblique view, degrees.")] = 30.0,
    views: Annotated[int, typer.Option(min=1, help="Cameras for each CT.")] = 10,
    shape: Shape = None,
    seed: Seed = 0,
    backend: Backend = "auto",
    allow_empty: Annotated[bool, typer.Option(help="Keep CTs without a pixel of the mask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make labelled pairs, images and masks from the same rays; run again, it goes on where it stopped."""
    from nerp.synthesis import synthesize as synthesize_pairs

    mode = mode or (Mode.drr if run is None else Mode.vrr)
    settings = pair_settings(
        mask_choice(mask, rule, rule_number, label_names),
        run,
        mode=mode.value,
        view=view.value,
        angle_deg=angle_deg,
        shape=shape,
        views=views,
        seed=seed,
        backend=backend,
        allow_empty=allow_empty,
    )
    with progress("pairs") as tick:
        summary = synthesize_pairs(ct, labels, out=out, settings=settings, run=run, progress=tick)
    answer(summary, as_json, [str(out)])


@app.command(epilog="Example: nerp replay /tmp/pairs/metadata.jsonl --index 1 --ct ct/ --labels labels/ -o /tmp/again")
def replay(
    metadata: Annotated[Path, typer.Argument(help="PAIRS/metadata.jsonl, or the record.json of one view.")],
    ct: Annotated[Path, typer.Option(help="CT file, DICOM folder, or folder to search; found by its hash.")],
    out: Out,
    labels: Annotated[Path | None, typer.Option(help="Label map, or a folder to search; found by its hash.")] = None,
    index: Annotated[int, typer.Option(min=0, help="Which record, from 0.")] = 0,
    run: Annotated[Path | None, typer.Option(help="Run of a vrr pair; default: by its weights in runs/.")] = None,
    as_json: AsJson = False,
) -> None:
    """Render a recorded pair again, bit for bit; the CT is found by its hash."""
    from nerp.synthesis import replay as replay_pair

    result = replay_pair(metadata, index, ct=ct, labels=labels, run=run, out=out)
    said = "identical to the record" if result["identical"] else "DIFFERS from the record"
    answer(result, as_json, [f"{out}: {said}", *result["differences"]])
    if not result["identical"]:
        raise typer.Exit(1)


@evaluate.command(epilog="Example: nerp evaluate segmentation --train /tmp/pairs --test cxr-shenzhen --json")
def segmentation(
    test: Annotated[Path, typer.Option(help="Folder with images/ and masks/ of the same names.")],
    train: Annotated[Path | None, typer.Option(help="Folder of pairs to learn from.")] = None,
    weights: Annotated[Path | None, typer.Option(help="segmenter.safetensors of an earlier run, instead.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Passes over the pairs; default: as many as fit.")] = None,
    minutes: Annotated[float, typer.Option(help="Limit of the training time.")] = 10.0,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Keep weights, scores and predictions here.")] = None,
    seed: Seed = 0,
    save: Save = None,
    as_json: AsJson = False,
) -> None:
    """Train a U-Net on pairs, score it on other masks: Dice, Jaccard, HD95, ASD."""
    from nerp.experiments.utility import SegmentationConfig, evaluate_segmentation
    from nerp.training.settings import SegmenterSettings

    check_save(save)
    named = {"train": train, "test": test, "weights": weights, "out": out}
    paths = {name: None if path is None else str(path) for name, path in named.items()}
    learning = SegmenterSettings(epochs=epochs, minutes=minutes)
    with progress("steps") as tick:
        result = evaluate_segmentation(SegmentationConfig(**paths, seed=seed, segmenter=learning), progress=tick)
    names = ("dice", "jaccard", "hd95", "asd")
    lines = [f"{name:8} {score_line(result[name], 'mean')} n={result[name]['n']}" for name in names]
    answer(result, as_json, lines, save)


@evaluate.command(epilog="Example: nerp evaluate fidelity fake/ real/ --extractor efficientnet-lite0 --json")
def fidelity(
    fake: Annotated[Path, typer.Argument(help="Folder of generated images.")],
    real: Annotated[Path, typer.Argument(help="Folder of real images.")],
    extractor: Annotated[str, typer.Option(help="inception, efficientnet-lite0, or a TorchScript file.")] = "inception",
    weights: Annotated[Path | None, typer.Option(help="The extractor's weights file.")] = None,
    download: Annotated[bool, typer.Option(help="Fetch missing weights; never done unasked.")] = False,
    seed: Seed = 0,
    save: Save = None,
    as_json: AsJson = False,
) -> None:
    """Compare two sets of images: IS, FID, KID."""
    from nerp.evaluation.extractors import load_extractor
    from nerp.evaluation.fidelity import evaluate_fidelity

    check_save(save)
    loaded = load_extractor(extractor, weights=weights, download=download)
    with progress("images") as tick:
        result = evaluate_fidelity(fake, real, extractor=loaded, seed=seed, progress=tick)
    names = [name for name in ("fid", "kid", "isc") if result[name]["value"] is not None]
    lines = [f"{name:8} {score_line(result[name], 'value')}" for name in names]
    answer(result, as_json, lines + [f"warning: {text}" for text in result["warnings"]], save)


@app.command(epilog="Example: nerp data ~/datasets")
def data(
    root: Annotated[Path, typer.Argument(help="Folder that holds the public sets.")] = Path("data"),
    as_json: AsJson = False,
) -> None:
    """List the public sets: where to get them, what is expected, what is here."""
    from dataclasses import asdict

    from nerp.data.catalogue import survey

    rows = survey(root)
    lines = [f"{row.name:24} {row.state:11} {row.found}/{row.expected} {row.hint}" for row in rows]
    found = [{**asdict(row), "folder": row.folder and str(row.folder)} for row in rows]
    answer({"root": str(root), "sets": found}, as_json, lines)


@app.command(epilog="Example: nerp report runs/demo")
def report(folder: Annotated[Path, typer.Argument(help="A RUN or a PAIRS folder.")]) -> None:
    """Write one static HTML page about a run or a set of pairs."""
    from nerp.report import write_report

    print(write_report(folder))


@app.command(epilog="Example: nerp info")
def info(as_json: AsJson = False) -> None:
    """Show versions, devices, and which projection backends are live and why."""
    import platform

    import torch

    from nerp.projection import available_backends

    facts = {
        "nerp": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "cuda": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())],
        "backends": available_backends(),
    }
    lines = [f"{name:8} {value}" for name, value in facts.items() if name != "backends"]
    answer(facts, as_json, lines + [f"backend  {name}: {why}" for name, why in facts["backends"].items()])


def score_line(score: dict, of: str) -> str:
    """`0.912 [0.905, 0.920]`, the interval where there is one."""
    interval = score.get("ci95")
    return f"{score[of]:.4f}" + (f" [{interval[0]:.4f}, {interval[1]:.4f}]" if interval else "")
