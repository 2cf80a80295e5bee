"""Docstrings are written to be read as they stand; here the few marks that Sphinx reads otherwise are made its own."""

from __future__ import annotations

import re
import textwrap

EXAMPLE = re.compile(r"^\s*>>> ")

VALUES = ("attribute", "data", "property")
HELD = "\uf8ff"
"""Stands for a colon in the first line about a value, where napoleon takes the words before it for a type."""


def as_rst(app, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """Change a docstring's lines in place, as `autodoc-process-docstring` asks.

    Args:
        app, name, thing, options: given by Sphinx; not read.
        what:  kind of the thing, such as `function`.
        lines: of the docstring.
    """
    text = "\n".join(lines)
    text = re.sub(r"(?m)^Source: (.*(?:\n\S.*)*)", _source, text)
    text = re.sub(r"(?m)^( *)(\|.*(?:\n *\|.*)*)", _table, text)
    lines[:] = _spaced([_escaped(line) for line in text.split("\n")])
    if what in VALUES and lines:
        lines[0] = lines[0].replace(":", HELD)


def with_colons(app, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """Give back the colons that `as_rst` held, after napoleon.

    Args:
        app, what, name, thing, options: given by Sphinx; not read.
        lines: of the docstring.
    """
    lines[:] = [line.replace(HELD, ":") for line in lines]


def _source(found: re.Match) -> str:
    """A paragraph `Source: ...` becomes a section of its own."""
    return "Source:\n" + textwrap.indent(found[1], "    ")


def _escaped(line: str) -> str:
    """Stars and bars outside code that mark neither emphasis, nor a list, nor an argument stand for themselves."""
    if re.match(r"^\s*(\*{1,2}\w|::|>>>|\|)", line):
        return line.replace(", **", r", \*\*")  # napoleon sees to the first
    bullet, rest = re.match(r"^(\s*(?:\* )?)(.*)$", line).groups()
    parts = re.split(r"(`[^`]*`|\*{1,2}\w[^*`]*\*{1,2})", rest)
    return bullet + "".join(part if n % 2 else re.sub(r"([*|])", r"\\\1", part) for n, part in enumerate(parts))


def _table(found: re.Match) -> str:
    """A Markdown table is shown as it was typed."""
    indent, rows = found[1], found[2].split("\n")
    return "\n".join(["", f"{indent}::", "", *(f"{indent}    {row.strip()}" for row in rows), ""])


def _spaced(lines: list[str]) -> list[str]:
    """A list or an example stands apart from the paragraph before it."""
    spaced: list[str] = []
    for line in lines:
        starts = re.match(r"^\s*([*-]|\d+\.) ", line) or EXAMPLE.match(line)
        before = spaced[-1] if spaced else ""
        same = re.match(r"^\s*([*-]|\d+\.) ", before) or EXAMPLE.match(before) or not before.strip()
        if starts and not same and not before.startswith(" " * (len(line) - len(line.lstrip()) + 1)):
            spaced.append("")
        spaced.append(line)
    return spaced
