"""What a command says: results on stdout, bars and one-line errors on stderr, and the exit code."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from nerp.errors import NerpError

if TYPE_CHECKING:
    from nerp.training.loop import Bars

INTERRUPTED = "interrupted; run the same command again to go on where it stopped"
INTERRUPTED_CODE = 130

CommandLineError: type[Exception] = typer.BadParameter.__mro__[2]  # its public name differs between releases


def guarded(command: Callable[[], int | None]) -> int:
    """Call a command; one line and exit code 1 or 2 for whatever a user can repair."""
    logging.basicConfig(format="nerp: %(message)s", level=logging.WARNING)
    logging.getLogger("pydicom").setLevel(logging.ERROR)  # anonymised files are full of harmless invalid fields
    try:
        code = command() or 0
        return complain(INTERRUPTED, code) if code == INTERRUPTED_CODE else code  # typer's word for an interrupt
    except (KeyboardInterrupt, typer.Abort):
        return complain(INTERRUPTED, INTERRUPTED_CODE)
    except NerpError as error:
        return complain(str(error), error.exit_code)
    except CommandLineError as error:
        return complain(f"{getattr(error, 'format_message', error.__str__)()} (see nerp --help)".lstrip(), 2)
    except FileNotFoundError as error:
        return complain(f"no such file or folder: {error.filename}; check the path", 1)
    except OSError as error:
        found = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        return complain(f"{found}; check the path, its rights and the space left", 1)
    except RuntimeError as error:  # torch has no class of its own for this on the CPU
        if "allocate memory" not in str(error) and "out of memory" not in str(error):
            raise
        return complain("not enough memory; give a smaller --shape or CT, or end other programs", 1)


def complain(message: str, code: int) -> int:
    """Print the one line of an error; return the exit code.

    Args:
        message: any text; made one line.
        code:    to be returned.
    """
    if message.strip(" ()") != "see nerp --help":
        print(f"nerp: {' '.join(message.split())}", file=sys.stderr)
    return code


def answer(result: dict[str, Any], as_json: bool, lines: list[str], save: Path | None = None) -> None:
    """Print a result: JSON for machines, a few lines for people; keep it in a file where one is named.

    Args:
        result:  JSON values.
        as_json: print them.
        lines:   what else is printed.
        save:    file to keep the JSON in.
    """
    if save:
        from nerp.files import json_bytes, write_bytes

        write_bytes(save, json_bytes(result))
    print(json.dumps(result, indent=2) if as_json else "\n".join(lines))


def check_save(save: Path | None) -> None:
    """Refuse a place that cannot be written before the work is done."""
    if save:
        from nerp.files import check_file

        check_file(save)


def print_settings(settings: Any) -> None:
    """What `--dry-run` prints: every resolved setting, as YAML that `--config` reads."""
    from nerp.config.reading import as_yaml

    print(as_yaml(settings), end="")


@contextmanager
def bars() -> Iterator[Bars]:
    """Progress bars with an ETA on stderr, one a task, moved by (task, done, total); silent where nobody watches."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    ten_minutes = 600.0  # rich's half minute is too short to tell the speed of slow steps
    rows: dict[str, TaskID] = {}
    silent = not console.is_terminal
    with Progress(*columns, console=console, disable=silent, speed_estimate_period=ten_minutes) as shown:

        def move(task: str, done: int, total: int) -> None:
            if task not in rows:
                rows[task] = shown.add_task(task, total=None)
            shown.update(rows[task], completed=done, total=total)

        yield move


@contextmanager
def progress(task: str) -> Iterator[Callable[[int, int], None]]:
    """One bar, moved by calling with (done, total)."""
    with bars() as move:
        yield lambda done, total: move(task, done, total)


def score_line(score: dict[str, Any], of: str) -> str:
    """`0.912 [0.905, 0.920]`, the interval where there is one.

    Args:
        score: with its value and `ci95`.
        of:    key of the value.
    """
    interval = score.get("ci95")
    return f"{score[of]:.4f}" + (f" [{interval[0]:.4f}, {interval[1]:.4f}]" if interval else "")
