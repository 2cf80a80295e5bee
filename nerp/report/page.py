"""A report's page as one HTML file: templates, style and script lie beside this module, nothing is fetched."""

from __future__ import annotations

import hashlib
import logging
import re
from base64 import b64encode
from collections.abc import Iterator, Sequence
from functools import cache
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from nerp import __version__
from nerp.report import pictures
from nerp.report.parts import Chart, Gallery, Page, Part, Section

NOTICE = "Research use; not for diagnosis."
SIDES = (384, 256, 192, 128)
"""Pixels of a picture's longer side: the first with which the page stays small enough."""
LARGEST = 10_000_000
"""Bytes of a page that can still be sent by mail."""
SCALES = {"grid": 1, "couples": 1, "strips": 3, "wide": 4}
"""How many times as long as a small picture's the longer side of a wide one may be."""

_log = logging.getLogger(__name__)


def render(page: Page, largest: int = LARGEST) -> str:
    """The whole document; its pictures are as large as its size allows.

    Args:
        page:    what it shows.
        largest: bytes; where not even the smallest pictures keep to it, a warning says so.
    """
    text, largest_side = "", max((max(one.image.shape[:2]) for one in _pictures(page.parts)), default=0)
    first = next((side for side in reversed(SIDES) if side >= largest_side), SIDES[0])
    for side in SIDES[SIDES.index(first) :]:
        text = _render(page, side)
        if len(text.encode()) <= largest:
            return text
    size = len(text.encode()) / 1e6
    _log.warning(
        "the report takes %.1f MB even with pictures of %d pixels; show fewer pairs (--pairs)", size, SIDES[-1]
    )
    return text


def _render(page: Page, side: int) -> str:
    script, style = asset("page.js"), asset("page.css")
    sections = [part for part in page.parts if isinstance(part, Section)]
    return (
        _environment()
        .get_template("page.html")
        .render(
            page=page,
            side=side,
            sections=sections,
            has_masks=any(True for one in _pictures(page.parts) if one.outlines),
            shrunk=any(max(one.image.shape[:2]) > side for one in _pictures(page.parts, look="grid")),
            style=Markup(style),
            script=Markup(script),
            script_hash=b64encode(hashlib.sha256(script.encode()).digest()).decode(),
            notice=NOTICE,
            version=__version__,
        )
    )


@cache
def asset(name: str) -> str:
    """The text of a file beside the templates: `page.css`, `page.js`."""
    return (resources.files("nerp.report") / "templates" / name).read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("nerp.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["slug"], made.filters["breakable"] = slug, _breakable
    made.globals["drawing"] = _drawing
    made.globals["encode"] = lambda one, side, look: pictures.encode(one, side * SCALES[look])
    made.globals["legend"] = pictures.legend
    return made


def slug(title: str) -> str:
    """A heading as an anchor's name: small letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "part"


def _breakable(key: str) -> Markup:
    """A dotted key that may wrap after its dots and underscores."""
    return Markup(re.sub(r"([._/])(?=\w)", r"\1<wbr>", str(escape(key))))


def _drawing(chart: Chart) -> Markup:
    """A chart's own SVG, which holds no text but numbers, with its description."""
    return Markup(chart.svg.replace("<svg ", f'<svg role="img" aria-label="{escape(chart.alt)}" ', 1))


def _pictures(parts: Sequence[Part], look: str | None = None) -> Iterator[pictures.Picture]:
    """Every picture of a page, or those of one look."""
    for part in parts:
        if isinstance(part, Gallery):
            yield from part.pictures if look in (None, part.look) else ()
        else:
            yield from _pictures(getattr(part, "parts", ()), look)
