"""What a report's page is made of: plain data, which the templates turn into HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

import numpy as np


@dataclass(frozen=True)
class Outline:
    """A mask that can be laid over a picture.

    Args:
        inside: (H, W) bool.
        colour: which of the masks' colours, from 0.
        name:   in words, where a picture has several masks.
    """

    inside: np.ndarray
    colour: int = 0
    name: str = ""


@dataclass(frozen=True)
class Picture:
    """A picture with what lies over it.

    Args:
        image:    (H, W) or (H, W, 3) uint8.
        alt:      what it shows, for those who cannot see it.
        caption:  below it.
        outlines: masks that a reader can switch off, each of the image's shape.
        is_bad:   marked as a bad example.
    """

    image: np.ndarray
    alt: str
    caption: str = ""
    outlines: tuple[Outline, ...] = ()
    is_bad: bool = False


@dataclass(frozen=True)
class Chart:
    """A drawing of numbers.

    Args:
        svg:    an `<svg>` element without ids, in the page's own colours.
        title:  what it shows, with units.
        alt:    what it shows, for those who cannot see it.
        legend: names of its series, in the order of their colours.
    """

    svg: str
    title: str
    alt: str
    legend: tuple[str, ...] = ()


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    KIND: ClassVar[str] = "text"

    text: str


@dataclass(frozen=True)
class Facts:
    """A row of large numbers.

    Args:
        values: what is counted, and the number with its unit.
    """

    KIND: ClassVar[str] = "facts"

    values: dict[str, str]


@dataclass(frozen=True)
class Notes:
    """Warnings in words.

    Args:
        sentences: one each.
        title:     what they are.
    """

    KIND: ClassVar[str] = "notes"

    sentences: Sequence[str]
    title: str = "Warnings"


@dataclass(frozen=True)
class Table:
    """Rows of text, the first cell of each a heading.

    Args:
        rows: cells of each.
        head: headings of the columns.
        name: what the table holds, for those who cannot see it.
    """

    KIND: ClassVar[str] = "table"

    rows: Sequence[tuple[str, ...]]
    head: tuple[str, ...] = ()
    name: str = ""


@dataclass(frozen=True)
class Gallery:
    """Pictures side by side.

    Args:
        pictures: in order.
        look:     `grid` of small ones, `couples` of two that belong together, `strips` of wide ones, or `wide` for one
                  over the whole page.
        name:     what they are, for those who cannot see them.
    """

    KIND: ClassVar[str] = "gallery"

    pictures: Sequence[Picture]
    look: str = "grid"
    name: str = "pictures"


@dataclass(frozen=True)
class Charts:
    """Charts, as many in a row as are readable."""

    KIND: ClassVar[str] = "charts"

    charts: Sequence[Chart]


@dataclass(frozen=True)
class Folded:
    """What opens on a click, without a script.

    Args:
        summary: what is read before the click.
        parts:   what is read after it.
    """

    KIND: ClassVar[str] = "folded"

    summary: str
    parts: Sequence[Part]


@dataclass(frozen=True)
class Section:
    """A headed part of the page.

    Args:
        title: its heading.
        parts: what it holds; without any it is left out.
    """

    KIND: ClassVar[str] = "section"

    title: str
    parts: Sequence[Part]


Part: TypeAlias = Text | Facts | Notes | Table | Gallery | Charts | Folded | Section


@dataclass(frozen=True)
class Page:
    """A whole report.

    Args:
        title: of the page.
        lead:  the sentences below it.
        parts: facts and sections.
    """

    title: str
    lead: str
    parts: Sequence[Part]


def present(*parts: Part) -> list[Part]:
    """The parts that have something to show.

    Args:
        *parts: any.
    """
    return [part for part in parts if _content(part)]


def _content(part: Part) -> object:
    """What makes a part worth showing."""
    if isinstance(part, Text):
        return part.text
    if isinstance(part, Facts):
        return part.values
    if isinstance(part, Notes):
        return part.sentences
    if isinstance(part, Table):
        return part.rows
    if isinstance(part, Gallery):
        return part.pictures
    return part.charts if isinstance(part, Charts) else part.parts
