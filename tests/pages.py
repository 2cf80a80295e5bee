"""What every page of a report keeps to, read by Python's own parser."""

import base64
import hashlib
import re
from html.parser import HTMLParser

VOID = {"meta", "img", "wbr", "br", "input", "link", "hr"}
DRAWN = {"svg", "g", "path", "text", "defs", "use"}


class Page(HTMLParser):
    """A parsed page: what is wrong with its structure, and what it holds."""

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.faults: list[str] = []
        self.ids: list[str] = []
        self.anchors: list[str] = []
        self.headings: list[int] = []
        self.alts: list[str | None] = []
        self.policy = self.script = ""
        self.text = text
        self.feed(text)
        self.close()
        self.faults += [f"<{tag}> is left open" for tag in self.open]

    def handle_starttag(self, tag, attributes):
        told = dict(attributes)
        if len(told) != len(attributes):
            self.faults.append(f"<{tag}> has an attribute twice")
        if "id" in told:
            self.ids.append(told["id"])
        if tag == "a":
            self.anchors.append(told["href"])
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag == "img":
            self.alts.append(told.get("alt"))
        if told.get("http-equiv") == "Content-Security-Policy":
            self.policy = told["content"]
        if any(name.startswith("on") for name in told):
            self.faults.append(f"<{tag}> has a script of its own")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        if tag not in DRAWN:
            self.faults.append(f"<{tag}/> closes itself")

    def handle_endtag(self, tag):
        if not self.open or self.open[-1] != tag:
            self.faults.append(f"</{tag}> where {self.open[-1:]} is open")
        else:
            self.open.pop()

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.script += data


def check_page(text: str) -> Page:
    """Assert that a page is whole, stands alone, and can be read without eyes; returns it.

    Raises:
        AssertionError: it does not.
    """
    page = Page(text)
    assert not page.faults, page.faults[:5]
    assert len(set(page.ids)) == len(page.ids), "an id stands twice"
    assert all(anchor[1:] in page.ids for anchor in page.anchors), "an anchor leads nowhere"
    assert page.headings[0] == 1 and page.headings.count(1) == 1
    assert all(b - a <= 1 for a, b in zip(page.headings, page.headings[1:], strict=False)), "a heading is passed over"
    assert all(alt is not None for alt in page.alts), "an image without alt"
    digest = base64.b64encode(hashlib.sha256(page.script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in page.policy and "default-src 'none'" in page.policy
    assert "Research use; not for diagnosis" in text
    assert not re.search(r'(src|href)="(?!data:|#)', text)
    assert "http" not in text.replace("http-equiv", "") and "url(" not in text and "import " not in page.script
    return page


def relative_luminance(colour: str) -> float:
    """Of `#rgb` or `#rrggbb`, 0 to 1.

    Source: WCAG 2.2, relative luminance.
    """
    digits = colour.lstrip("#")
    digits = "".join(2 * one for one in digits) if len(digits) == 3 else digits
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Between two colours, 1 to 21.

    Source: WCAG 2.2, contrast ratio.
    """
    light, dark = sorted((relative_luminance(one), relative_luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)
