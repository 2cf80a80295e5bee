"""What the documents tell a reader to type: commands and Python blocks, read from Markdown and from --help."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
LANGUAGES = {"sh", "python", "yaml", "text"}
PROGRAMS = ("nerp ", "python ", "make ", "pip ")
FENCE = re.compile(r"^```(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

BARE = re.compile(r"nerp [a-z]+( (segmentation|arms|fidelity))?")
"""In prose that names a command; it must be there."""


@dataclass(frozen=True)
class Step:
    """One thing to type.

    Args:
        kind: `command`, `python` or `yaml`.
        text: of a command, on one line; or the block.
        line: in the document.
    """

    kind: str
    text: str
    line: int


def markdown_files() -> list[Path]:
    """README, CONTRIBUTING and every page of the documentation but those that are made."""
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "assets" / "docs").glob("*.md"))]


def steps_of(text: str) -> list[Step]:
    """The steps of a Markdown text in their order: fenced blocks, and commands in the prose.

    Raises:
        AssertionError: a block whose language says nothing of what it is.
    """
    steps, rest = [], text
    for block in FENCE.finditer(text):
        language, content, line = block[1], block[2], text[: block.start()].count("\n") + 1
        blank = re.sub(r"[^\n]", " ", block[0])
        rest = rest[: block.start()] + blank + rest[block.end() :]
        if language.startswith("{"):
            continue
        assert language in LANGUAGES, f"a block in line {line} is {language or 'of no language'}"
        steps += _of_block(language, content, line)
    for code in re.finditer(r"`([^`]+)`", rest):
        command = " ".join(code[1].split())
        if BARE.fullmatch(command):
            command += " --help"
        if command.startswith(PROGRAMS):
            steps.append(Step("command", command, rest[: code.start()].count("\n") + 1))
    return sorted(steps, key=lambda step: step.line)


def _of_block(language: str, content: str, line: int) -> list[Step]:
    if language != "sh":
        return [Step(language, content, line)] if language in ("python", "yaml") else []
    return [Step("command", text.strip(), line + n) for n, text in enumerate(content.split("\n"), 1) if text.strip()]


def epilogs() -> list[str]:
    """The examples that `nerp --help` and each command's --help show, in the order in which the commands are told."""
    from nerp.cli import app, scores

    told = [app.info.epilog, *(item.epilog for group in (app, scores) for item in group.registered_commands)]
    assert all(isinstance(text, str) for text in told), "a command without an example"
    examples = [re.sub(r"^(Example|Start with): ", "", str(text)) for text in told]
    return [part.strip() for example in examples for part in example.split("&&")]
