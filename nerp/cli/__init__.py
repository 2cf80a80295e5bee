"""The `nerp` command. Each command turns options into settings and calls one library function."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer

from nerp.cli import (
    data,
    evaluate,
    evaluate_arms,
    evaluate_classification,
    evaluate_pairs,
    evaluate_sets,
    factory,
    images,
    report,
    runs,
    study,
)
from nerp.cli.output import guarded

__all__ = ["app", "guarded", "main"]

app = typer.Typer(
    name="nerp",
    help="CT in, labelled chest radiographs out. Research use; nothing here is for diagnosis.",
    epilog="Start with: nerp phantom /tmp/ph --count 2 && nerp render /tmp/ph/ct/phantom_0000.nii.gz -o /tmp/pa",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

EXAMPLES: dict[Callable[..., None], str] = {
    data.phantom: "nerp phantom /tmp/phantoms --count 8 --findings random",
    images.render: "nerp render ct.nii.gz --labels labels.nii.gz --label-names labels.csv --mask 'lung_*' -o /tmp/pa",
    runs.train: "nerp train demo trainer.steps=100",
    images.synthesize: "nerp synthesize runs/demo --ct ct/ --labels labels/ --label-names labels.csv --mask 'lung_*' "
    "-o /tmp/pairs",
    factory.factory: "nerp factory plan.yaml -o /tmp/set --workers 2",
    images.replay: "nerp replay /tmp/pairs/metadata.jsonl --index 1 --ct ct/ --labels labels/ -o /tmp/again",
    data.data: "nerp data ~/datasets",
    report.report: "nerp report runs/demo",
    study.study: "nerp study missing_annotations -o /tmp/study --dry-run",
    runs.info: "nerp info",
}
for command, example in EXAMPLES.items():
    app.command(epilog=f"Example: {example}")(command)

scores = typer.Typer(no_args_is_help=True, help="Score images and masks: what sets are worth, and what they give away.")
SCORES: dict[Callable[..., None], str] = {
    evaluate.segmentation: "nerp evaluate segmentation --train /tmp/pairs --test cxr-shenzhen --json",
    evaluate_arms.arms: "nerp evaluate arms --real montgomery --synthetic /tmp/pairs --test cxr-shenzhen -o /tmp/arms",
    evaluate_classification.classification: "nerp evaluate classification --real cxr-nih --folds 5 -o /tmp/findings",
    evaluate.fidelity: "nerp evaluate fidelity fake/ real/ --extractor efficientnet-lite0 --json",
    evaluate_pairs.alignment: "nerp evaluate alignment /tmp/pairs --probe 4 --json",
    evaluate_pairs.quality: "nerp evaluate quality /tmp/pairs --reject /tmp/kept --json",
    evaluate_sets.integrity: "nerp evaluate integrity fake/ real/ --out told/",
    evaluate_sets.memorisation: "nerp evaluate memorisation fake/ real/ --extractor efficientnet-lite0",
}
for command, example in SCORES.items():
    scores.command(epilog=f"Example: {example}")(command)
app.add_typer(scores, name="evaluate")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line, by default the process's own; returns the exit code."""
    with terminable():
        return guarded(lambda: app(arguments, standalone_mode=False))


@contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM end a command as Ctrl-C does: with a word, and whatever is open closed."""
    try:
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    except ValueError:  # not the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
