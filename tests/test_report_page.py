"""A report's page as HTML: whole, accessible, closed to the network and to what names hold, and small enough."""

import re

import numpy as np
import pytest
from pages import check_page, contrast

from nerp.report import figures
from nerp.report.page import LARGEST, asset, render, slug
from nerp.report.parts import (
    Chart,
    Charts,
    Facts,
    Folded,
    Gallery,
    Notes,
    Outline,
    Page,
    Picture,
    Section,
    Table,
    Text,
    present,
)
from nerp.report.pictures import at_most, encode, evenly, legend, shrunk_mask

HOSTILE = "<script>alert(1)</script> & \"quotes\" 'x' </style> {{ 7 * 7 }} {% raw %}"


def noise(side: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, side), dtype=np.uint8)


def a_page(text: str = "words", n: int = 2, side: int = 32) -> Page:
    """A page with one of everything, each word of it `text`."""
    mask = np.zeros((side, side), bool)
    mask[4:9, 4:9] = True
    picture = [
        Picture(noise(side, i), text, text, (Outline(mask, 0, text), Outline(~mask, 1, "other"))) for i in range(n)
    ]
    chart = Chart(figures.histogram([1, 2, 3]), text, text, (text, "b"))
    inner = Section(text, [Text(text), Folded(text, [Table([(text, text)], (text, text), text)])])
    whole = [Notes([text], text), Gallery(picture, "grid", text), Charts([chart, chart]), inner]
    return Page(
        text, text, [Facts({text: text}), Section(text, whole), Section(text, [Text(text)]), Section("c", [Text("d")])]
    )


def test_a_page_with_everything_is_whole_and_stands_alone():
    page = check_page(render(a_page()))
    assert page.headings == [1, 2, 3, 2, 2]
    assert [alt for alt in page.alts if alt] == ["words"] * 2


def test_words_from_outside_cannot_become_markup():
    text = render(a_page(HOSTILE))
    check_page(text)
    assert text.count("<script>") == 1 and "alert(1)</script>" not in text
    assert text.count("7 * 7") > 10 and ">49<" not in text


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_from_the_paper(scheme):
    blocks = re.findall(r":root \{([^}]*)\}", asset("page.css"))
    assert len(blocks) == 2
    colours = dict(re.findall(r"--([\w]+): (#\w+)", blocks[scheme == "dark"]))
    for name in ("ink", "soft", "mark", "link"):
        for ground in ("paper", "tint"):
            assert contrast(colours[name], colours[ground]) >= 4.5, f"{name} on {ground}"
    for name in (f"s{number}" for number in range(1, 7)):
        assert contrast(colours[name], colours["paper"]) >= 3, name


def test_the_dark_is_for_screens_alone_and_moves_nothing_unasked():
    style = asset("page.css")
    assert "@media screen and (prefers-color-scheme: dark)" in style
    assert "prefers-reduced-motion: reduce" in style


def test_pictures_shrink_until_the_page_is_small_enough(caplog):
    page = a_page(n=3, side=300)
    whole, small = render(page), render(page, largest=200_000)
    assert len(whole) > 300_000 > 200_000 >= len(small)
    assert 'width="300"' in whole and 'width="192"' in small
    assert "Pictures larger than 192 pixels" in small and "Pictures larger" not in whole
    assert not caplog.messages
    assert render(page, largest=10)
    assert "show fewer pairs (--pairs)" in caplog.text and "\n" not in caplog.messages[0]


def test_two_hundred_pairs_of_noise_keep_to_the_limit():
    """Noise is what lossless compression can do least about; radiographs take less than half of it."""
    mask = np.zeros((256, 256), bool)
    mask[50:200, 60:190] = True
    pictures = [Picture(noise(256, 1), f"pair {i}", "", (Outline(mask),)) for i in range(200)]
    text = render(Page("large", "", [Section("pairs", [Gallery(pictures)])]))
    assert len(text.encode()) <= LARGEST


def test_what_is_shown_is_what_was_given_to_the_last_bit():
    import base64
    import io

    from PIL import Image

    image = noise(40)
    made = encode(Picture(image, "noise"), 64)
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(made.image.partition(",")[2]))))
    assert (shown == image).all() and made.mask == "" and (made.width, made.height) == (40, 40)


def test_shrinking_keeps_proportions_means_and_masks():
    image = np.zeros((100, 60), np.uint8)
    image[:50] = 200
    small = at_most(image, 50)
    assert small.shape == (50, 30) and small.mean() == pytest.approx(100, abs=1)
    assert at_most(np.repeat(image[..., None], 3, 2), 50).shape == (50, 30, 3)
    assert shrunk_mask(image > 0, (50, 30)).sum() == 25 * 30
    assert at_most(image, 100) is image


def test_pictures_are_spread_evenly():
    assert evenly(10, 4) == [0, 3, 6, 9] and evenly(3, 9) == [0, 1, 2] and evenly(0, 4) == []


def test_masks_with_names_have_a_legend():
    mask = np.ones((4, 4), bool)
    picture = Picture(noise(4), "x", "", (Outline(mask, 1, "heart"), Outline(mask, 0, "lungs")))
    assert legend([picture]) == [("heart", "#56b4e9"), ("lungs", "#ffb000")]
    assert legend([Picture(noise(4), "x", "", (Outline(mask),))]) == []


def test_charts_hold_no_identifiers_styles_or_links():
    for svg in (
        figures.histogram([1, 2, 2, 5]),
        figures.curve(range(3000), np.sin(np.arange(3000.0))),
        figures.lines({"$a_b$": ([1, 2], [3, 4]), "b": ([1, 10], [2, 2])}),
        figures.intervals([1.0, 2.0], [(0.5, 1.5), None]),
    ):
        assert svg.startswith("<svg viewBox=") and svg.endswith("</svg>")
        assert not re.search(r"\bid=|<style|href|xmlns|#[0-9a-f]{6}|\$", svg)
        assert "var(--s1)" in svg and len(svg) < 40_000


def test_long_curves_are_averaged_down():
    places, values = figures.thinned(np.arange(10_000.0), np.arange(10_000.0), most=100)
    assert len(values) == 100 and (places == values).all()
    assert values[0] == pytest.approx(49.5) and values[-1] == pytest.approx(9949.5)
    with_gap = figures.thinned(np.arange(3.0), np.array([1.0, np.nan, 3.0]))
    assert with_gap[0].tolist() == [0.0, 2.0]


def test_empty_parts_are_left_out():
    assert present(Text(""), Table([]), Notes([]), Gallery([]), Charts([]), Section("x", []), Facts({})) == []
    assert slug("FID∞, side by side") == "fid-side-by-side" and slug("∞") == "part"
