"""What makes the pages: the picture of the architecture is true, and docstrings come through as they are meant."""

import sys

import numpy as np
import pytest
from documents import ROOT
from test_architecture import LAYERS


@pytest.fixture(autouse=True)
def pages(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "assets" / "docs"))
    yield
    for name in ("architecture", "docstrings"):
        sys.modules.pop(name, None)


def test_layers_are_those_that_the_tests_hold():
    from architecture import layers

    assert layers() == LAYERS


def test_arrows_say_every_import_and_no_more():
    from architecture import imports, without_detours

    graph = imports()
    arrows = without_detours(graph)

    def reach(name):
        return set().union(*({other} | reach(other) for other in arrows[name]))

    assert graph["nerp.projection"] >= {"nerp.camera", "nerp.volume", "nerp.errors"}
    assert all(graph[name] <= reach(name) for name in graph)
    assert all(arrows[name] <= graph[name] for name in graph)


def test_an_arrow_that_others_say_is_left_out():
    from architecture import without_detours

    graph = {"c": {"a", "b"}, "b": {"a"}, "a": set()}
    assert without_detours(graph) == {"c": {"b"}, "b": {"a"}, "a": set()}


def test_boxes_stand_on_their_layers_and_apart():
    from architecture import WIDE, arranged

    rows = [{"a", "b", "c"}, {"d", "e"}, {"f"}]
    places = arranged(rows, [("f", "d"), ("f", "e"), ("d", "a"), ("e", "c"), ("f", "b")])
    for number, layer in enumerate(rows):
        across = sorted(places[name][0] for name in layer)
        assert all(places[name][1] == number for name in layer)
        assert (np.diff(across) > WIDE).all()


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        (["Text: a | b."], ["Text: a \\| b."]),
        (["2 |A and B| / (|A| * 3)"], ["2 \\|A and B\\| / (\\|A\\| \\* 3)"]),
        (["`a | b * c` and *word*"], ["`a | b * c` and *word*"]),
        (["    *args, **kwargs: as"], ["    *args, \\*\\*kwargs: as"]),
        (["Rules:", "* one", "* two"], ["Rules:", "", "* one", "* two"]),
        (["Source: Max 1995."], ["Source:", "    Max 1995."]),
    ],
)
def test_docstrings_are_shown_as_they_are_written(written, shown):
    from docstrings import as_rst

    lines = list(written)
    as_rst(None, "function", "f", None, None, lines)
    assert lines == shown


def test_a_constant_is_not_given_a_type_by_its_words():
    from docstrings import as_rst, with_colons

    lines = ["Water (XCOM: 0.193)."]
    as_rst(None, "data", "WATER", 1.0, None, lines)
    assert ":" not in lines[0]
    with_colons(None, "data", "WATER", 1.0, None, lines)
    assert lines == ["Water (XCOM: 0.193)."]
