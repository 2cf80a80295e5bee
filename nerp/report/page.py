"""The parts of a report's page: plain HTML with its style inside; no scripts, nothing fetched."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from html import escape

NOTICE = "Research use; not for diagnosis."

_STYLE = """
:root { --ink: #1c2024; --soft: #5b646d; --line: #d9dde1; --paper: #fff; --mark: #b4540a; }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0 auto; max-width: 68rem; padding: 2.5rem 1.25rem 4rem; color: var(--ink); background: var(--paper);
  font: 1.0625rem/1.55 Charter, "Bitstream Charter", "Sitka Text", Cambria, Georgia, serif; }
h1, h2, th, td, figcaption, .facts, .notice, .small { font-family: system-ui, -apple-system, "Segoe UI", Roboto,
  "Helvetica Neue", "Liberation Sans", Arial, sans-serif; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .4rem; letter-spacing: -.015em; text-wrap: balance; }
h2 { font-size: 1.15rem; margin: 2.75rem 0 .75rem; padding-top: .9rem; border-top: 1px solid var(--line); }
p { margin: .4rem 0 .9rem; max-width: 42rem; }
.notice { display: inline-block; margin: .2rem 0 1.2rem; padding: .2rem .6rem; font-size: .85rem; font-weight: 600;
  color: var(--mark); border: 1.5px solid var(--mark); border-radius: .3rem; }
.small, figcaption { font-size: .8rem; color: var(--soft); line-height: 1.4; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr)); gap: 1rem 1.5rem;
  margin: 1rem 0; }
.facts div { border-left: 3px solid var(--line); padding-left: .7rem; }
.facts b { display: block; font-size: 1.35rem; line-height: 1.25; font-variant-numeric: tabular-nums; }
.facts span { display: block; font-size: .8rem; line-height: 1.35; color: var(--soft); }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr)); gap: .8rem; }
figure { margin: 0; break-inside: avoid; }
figure img { display: block; width: 100%; height: auto; }
.grid img, .strips img, .wide img { background: #000; border-radius: .2rem; }
.strips { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(20rem, 100%), 1fr)); gap: 1.2rem; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(17rem, 100%), 1fr)); gap: 1rem 1.4rem; }
.wide { margin: 1rem 0 1.5rem; }
figcaption { margin-top: .3rem; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .88rem; margin: .5rem 0 1rem; }
th, td { text-align: left; vertical-align: top; padding: .3rem 1.4rem .3rem 0; border-bottom: 1px solid var(--line);
  overflow-wrap: break-word; font-variant-numeric: tabular-nums; }
th { font-weight: 600; color: var(--soft); min-width: 9rem; }
summary { cursor: pointer; color: var(--soft); font-size: .9rem; }
@media (max-width: 34rem) { body { padding: 1.25rem 1rem 3rem; font-size: 1rem; } h1 { font-size: 1.5rem; }
  .grid { grid-template-columns: repeat(2, 1fr); gap: .6rem; } th { min-width: 6.5rem; } }
@media print { @page { margin: 15mm; } body { max-width: none; padding: 0; font-size: 10.5pt; }
  .grid { grid-template-columns: repeat(5, 1fr); } .charts { grid-template-columns: repeat(3, 1fr); }
  .strips { grid-template-columns: repeat(2, 1fr); } .facts { grid-template-columns: repeat(3, 1fr); }
  h2 { break-after: avoid; }
  img { -webkit-print-color-adjust: exact; print-color-adjust: exact; } }
"""


def page(title: str, lead: str, body: list[str]) -> str:
    """The whole document.

    Args:
        title: of the page.
        lead:  the sentence below it.
        body:  HTML made by the functions below.
    """
    head = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
    )
    top = f'<h1>{escape(title)}</h1>\n<p>{escape(lead)}</p>\n<p class="notice">{NOTICE}</p>\n'
    return head + top + "\n".join(part for part in body if part) + "\n</body>\n</html>\n"


def section(title: str, *parts: str) -> str:
    """A headed part of the page; empty when it has nothing to show.

    Args:
        title:  its heading.
        *parts: HTML; empty ones are left out.
    """
    content = "\n".join(part for part in parts if part)
    return f"<section>\n<h2>{escape(title)}</h2>\n{content}\n</section>" if content else ""


def paragraph(text: str) -> str:
    """Plain text, escaped."""
    return f"<p>{escape(text)}</p>"


def facts(values: dict[str, str]) -> str:
    """A row of large numbers, each over what it counts."""
    cells = "".join(f"<div><b>{escape(value)}</b><span>{escape(name)}</span></div>" for name, value in values.items())
    return f'<div class="facts">{cells}</div>'


def table(rows: Sequence[tuple[str, ...]], head: tuple[str, ...] = ()) -> str:
    """Rows of text, the first cell of each a heading; empty without rows.

    Args:
        rows: cells of each, plain text.
        head: headings of the columns.
    """
    if not rows:
        return ""
    top = f"<tr>{''.join(f'<th>{escape(name)}</th>' for name in head)}</tr>" if head else ""
    lines = (
        f"<tr><th>{_breakable(row[0])}</th>{''.join(f'<td>{escape(cell)}</td>' for cell in row[1:])}</tr>"
        for row in rows
    )
    return f'<div class="scroll"><table>{top}{"".join(lines)}</table></div>'


def _breakable(key: str) -> str:
    """A dotted key that may wrap after its dots and underscores."""
    return escape(key).replace(".", ".<wbr>").replace("_", "_<wbr>")


def folded(summary: str, content: str) -> str:
    """Content that opens on a click, without a script; empty when there is none.

    Args:
        summary: what is read before the click.
        content: HTML.
    """
    return f"<details><summary>{escape(summary)}</summary>{content}</details>" if content else ""


def figure(png: bytes, caption: str = "", *, alt: str) -> str:
    """An image within the page itself.

    Args:
        png:     the image's bytes.
        caption: below it.
        alt:     what it shows, for those who cannot see it.
    """
    below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    data = b64encode(png).decode()
    return f'<figure><img alt="{escape(alt)}" src="data:image/png;base64,{data}">{below}</figure>'


def wide(content: str) -> str:
    """A picture over the page's whole width."""
    return f'<div class="wide">{content}</div>' if content else ""


def grid(figures: list[str]) -> str:
    """Small pictures, as many in a row as fit."""
    return f'<div class="grid">{"".join(figures)}</div>' if figures else ""


def strips(figures: list[str]) -> str:
    """Wide pictures in two columns where the page allows."""
    return f'<div class="strips">{"".join(figures)}</div>' if figures else ""


def charts(figures: list[str]) -> str:
    """Small charts, as many in a row as are readable."""
    return f'<div class="charts">{"".join(figures)}</div>' if figures else ""
