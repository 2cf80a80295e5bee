"""The course of every command that scores: settings read, the work done under a bar, the result told and kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from nerp.cli.output import answer, check_save, print_settings, progress

if TYPE_CHECKING:
    from nerp.settings import Settings
    from nerp.training.loop import Progress

    S = TypeVar("S", bound=Settings)


@dataclass(frozen=True)
class Asked:
    """What every command that scores is asked, besides what it scores.

    Args:
        overrides: settings as key=value.
        config:    YAML file of settings.
        save:      file to keep the result in.
        dry_run:   print the settings, and do nothing.
        as_json:   print the result as JSON.
    """

    overrides: list[str] | None
    config: str | None
    save: Path | None
    dry_run: bool
    as_json: bool


def score(
    asked: Asked,
    kind: type[S],
    options: dict[str, object],
    *,
    evaluate: Callable[[S, Progress], dict[str, Any]],
    lines: Callable[[dict[str, Any]], list[str]],
    task: str = "images",
) -> None:
    """Score, and tell.

    Args:
        asked:    how settings are read and the result is told.
        kind:     of the settings.
        options:  that the command line states, by dotted key.
        evaluate: the work: the result of settings, calling progress(done, total).
        lines:    the result for people; its warnings follow by themselves.
        task:     what the bar counts.
    """
    from nerp.config import read_settings

    settings = read_settings(kind, asked.config, asked.overrides or [], options=options)
    if asked.dry_run:
        print_settings(settings)
        return
    check_save(asked.save)
    with progress(task) as tick:
        result = evaluate(settings, tick)
    told = [*lines(result), *(f"warning: {text}" for text in result["warnings"])]
    answer(result, asked.as_json, told, asked.save)
