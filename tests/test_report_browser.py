"""The page in a real browser: masks switch, keys work, no request, print, dark, narrow, and without scripts."""

import numpy as np
import pytest
from chromium import Browser, find_chromium
from PIL import Image
from test_report import SETTINGS, record

from nerp.data.images import png_bytes
from nerp.data.pair_writer import PairWriter
from nerp.report import write_report

CHROMIUM = find_chromium()
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium on this machine: install Debian's package chromium to test pages in it"
)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The report of six pairs with a mask each."""
    folder = tmp_path_factory.mktemp("page") / "pairs"
    mask = np.zeros((32, 24), np.uint8)
    mask[8:20, 6:18] = 255
    with PairWriter(folder, SETTINGS) as writer:
        for index in range(6):
            writer.add(record(index), png_bytes(np.full((32, 24), 30 + 30 * index, np.uint8)), png_bytes(mask))
        writer.finish({"label_names": {}})
    return write_report(folder)


@pytest.fixture(scope="module")
def browser():
    with Browser(CHROMIUM) as one:
        yield one


@pytest.fixture
def opened(browser, page):
    browser.media()
    browser.open(page)
    yield browser
    assert browser.complaints() == []


VISIBLE = "getComputedStyle(document.querySelector('main .mask')).visibility"
PRESSED = "document.getElementById('masks').getAttribute('aria-pressed')"
FOCUSED = "[...document.querySelectorAll('main .layers')].indexOf(document.activeElement)"


def test_button_and_key_show_and_hide_the_masks(opened):
    assert (opened.value(VISIBLE), opened.value(PRESSED)) == ("visible", "true")
    opened.value("document.getElementById('masks').click()")
    assert (opened.value(VISIBLE), opened.value(PRESSED)) == ("hidden", "false")
    opened.press("m", "m")
    assert (opened.value(VISIBLE), opened.value(PRESSED)) == ("visible", "true")
    opened.press("m", modifiers=2)
    assert opened.value(VISIBLE) == "visible", "Ctrl+M is the browser's"


def test_masks_lie_on_their_images_to_the_pixel(opened, tmp_path):
    where = opened.value(
        "(() => { const one = document.querySelector('main .layers'), box = one.getBoundingClientRect();"
        "return [...one.querySelectorAll('img')].map((i) => { const b = i.getBoundingClientRect();"
        "return [b.x - box.x, b.y - box.y, b.width, b.height]; }) })()"
    )
    assert where[0] == where[1] and where[0][:2] == [0, 0]
    opened.value("document.querySelector('main .layers').scrollIntoView({block: 'center', behavior: 'instant'})")
    shots = []
    for name in ("with.png", "without.png"):
        opened.screenshot(tmp_path / name)
        shots.append(np.asarray(Image.open(tmp_path / name).convert("RGB")).astype(int))
        opened.press("m", "m")
    x, y, width, height = opened.value(
        "(() => { const b = document.querySelector('main .layers').getBoundingClientRect();"
        "return [b.x, b.y, b.width, b.height] })()"
    )
    differs = np.argwhere(
        np.abs(shots[0] - shots[1]).sum(2)[round(y) : round(y + height), round(x) : round(x + width)] > 20
    )
    low, high = differs.min(0) / (height, width), differs.max(0) / (height, width)
    assert low == pytest.approx((8 / 32, 6 / 24), abs=0.03) and high == pytest.approx((20 / 32, 18 / 24), abs=0.03)


def test_arrows_move_between_pictures_and_enter_enlarges(opened):
    opened.value("document.querySelector('main .layers').focus()")
    for key, index in (("ArrowRight", 1), ("ArrowRight", 2), ("ArrowLeft", 1), ("ArrowLeft", 0), ("ArrowLeft", 0)):
        opened.press(key)
        assert opened.becomes(FOCUSED, index)
    opened.press("Enter")
    assert opened.becomes("document.getElementById('enlarged').open", True)
    assert opened.value("document.querySelector('dialog [role=status]').textContent") == "1 of 6"
    opened.press("ArrowRight")
    assert opened.becomes("document.querySelector('dialog [role=status]').textContent", "2 of 6")
    assert opened.value("document.querySelector('dialog figcaption').textContent").startswith("a" * 12 + "_001")
    opened.press("m", "m")
    assert opened.becomes("getComputedStyle(document.querySelector('dialog .mask')).visibility", "hidden")
    opened.press("Escape")
    assert opened.becomes("document.getElementById('enlarged').open", False)
    assert opened.becomes(FOCUSED, 1), "the focus comes back to the picture that was seen last"


def test_the_tab_key_reaches_all_and_the_focus_is_seen(opened):
    reached = set()
    for _ in range(20):
        opened.press("Tab")
        reached.add(opened.value("document.activeElement.getAttribute('role') || document.activeElement.id"))
        style = "getComputedStyle(document.activeElement).outlineStyle"
        assert opened.value(f"document.activeElement == document.body || {style} == 'solid'")
    assert {"masks", "button"} <= reached
    labels = opened.value("[...document.querySelectorAll('main [role=button]')].map((one) => one.ariaLabel)")
    assert len(labels) == 6 and all(label.startswith("Enlarge: radiograph") for label in labels)


def test_arrows_go_to_the_row_below(opened):
    opened.call("Emulation.setDeviceMetricsOverride", width=360, height=800, deviceScaleFactor=1, mobile=False)
    opened.value("document.querySelector('main .layers').focus()")
    opened.press("ArrowDown")
    assert opened.becomes(FOCUSED, 2)
    opened.press("ArrowUp")
    assert opened.becomes(FOCUSED, 0)


@pytest.mark.parametrize("width", [320, 380, 1100])
def test_no_width_makes_the_page_scroll_sideways(browser, page, width):
    browser.media()
    browser.open(page, width=width)
    assert browser.value("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize(("scheme", "is_dark"), [("light", False), ("dark", True)])
def test_the_page_follows_the_readers_scheme(browser, page, tmp_path, scheme, is_dark):
    browser.media(scheme=scheme)
    browser.open(page)
    browser.screenshot(tmp_path / "shot.png")
    corner = Image.open(tmp_path / "shot.png").convert("L").getpixel((5, 5))
    assert (corner < 60) == is_dark
    ink = browser.value("getComputedStyle(document.querySelector('.chart text')).fill")
    assert ink == ("rgb(167, 176, 185)" if is_dark else "rgb(86, 95, 104)")


def test_print_stays_light_and_opens_what_is_folded(browser, page, tmp_path):
    browser.media(scheme="dark", kind="print")
    browser.open(page)
    browser.media(scheme="dark", kind="print")
    assert browser.value("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert browser.value("getComputedStyle(document.getElementById('tools')).display") == "none"
    browser.value("dispatchEvent(new Event('beforeprint'))")
    assert browser.value("document.querySelectorAll('details:not([open])').length") == 0
    browser.value("dispatchEvent(new Event('afterprint'))")
    assert browser.value("document.querySelectorAll('details[open]').length") == 0
    browser.media()
    browser.pdf(tmp_path / "page.pdf")
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF-")


def test_without_scripts_everything_is_there(browser, page):
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.media()
        browser.open(page)
        assert browser.value(VISIBLE) == "visible"
        assert browser.value("getComputedStyle(document.getElementById('tools')).display") == "none"
        assert browser.value("document.querySelectorAll('main img').length") == 12
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)


def test_reduced_motion_is_respected(browser, page):
    for motion, behaviour in (("no-preference", "smooth"), ("reduce", "auto")):
        browser.media(motion=motion)
        browser.open(page)
        assert browser.value("getComputedStyle(document.documentElement).scrollBehavior") == behaviour


def test_the_policy_forbids_what_is_not_in_the_file(browser, page):
    browser.media()
    browser.open(page)
    browser.value(
        "new Promise((done) => { const i = new Image(); i.onload = i.onerror = () => done(1);"
        "i.src = 'http://127.0.0.1:9/x.png' })"
    )
    assert any("Content Security Policy" in one for one in browser.complaints())
