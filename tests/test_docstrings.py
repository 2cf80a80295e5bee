"""Every public name says what it takes, in which shape, unit or range, and whose formula it computes."""

from pathlib import Path

import pytest
from docstring_rules import FORMULA, SHAPE, offences, without_examples

ROOT = Path(__file__).parents[1]


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def checked_modules() -> list[Path]:
    paths = sorted((ROOT / "nerp").rglob("*.py"))
    return [path for path in paths if "._" not in module_name(path)]


@pytest.mark.parametrize("path", checked_modules(), ids=module_name)
def test_public_names_are_described(path):
    found = offences(path.read_text(encoding="utf-8"), module_name(path))
    assert not found, "\n" + "\n".join(found)


WHOLE = '''
def dim(light: Tensor, opacity: Tensor, *, step_mm: float) -> Tensor:
    """Light behind a slab: light exp(-opacity step).

    Args:
        light, opacity: (B, R) each,
                        on one device: any.
        step_mm:        thickness.

    Source: Lambert and Beer.
    """
'''


def test_a_whole_docstring_passes():
    assert offences(WHOLE, "m") == []


@pytest.mark.parametrize(
    ("said", "instead", "offence"),
    [
        ("light, opacity:", "light:", "Args does not name opacity"),
        ("step_mm:  ", "in steps of step_mm  ", "Args does not name step_mm"),
        ("Args:", "It takes:", "takes 3 parameters and has no Args"),
        ("(B, R) each", "two, each", "states neither shape nor unit nor range of Tensor"),
        ("Source: Lambert and Beer.", "", "states a formula without a Source"),
        ("light: Tensor", "light", "light has no type"),
        (" -> Tensor", "", "the return has no type"),
    ],
)
def test_what_is_left_unsaid_is_found(said, instead, offence):
    assert said in WHOLE
    assert offences(WHOLE.replace(said, instead), "m") == [f"m.dim: {offence}"]


@pytest.mark.parametrize(
    "text",
    ["`b = exp(-a)`", "y = 2 x + 1, clamped", "Σ of all", "tr (A B)^(1/2)", "|A and B| / |A or B|", "pi r^2 / 3"],
)
def test_formulas_are_known(text):
    assert FORMULA.search(text)


@pytest.mark.parametrize(
    "text", ["`seed=3` on the command line", "a grid of 128^3 voxels", "yes and/or no", "x = 3 is the default"]
)
def test_other_text_is_no_formula(text):
    assert not FORMULA.search(text)


@pytest.mark.parametrize(
    "text", ["(B, 1, H, W)", "(R,)", "(4, 4)", "(B, 1, *shape)", "(..., 3)", "a scalar", "(n, 2k)"]
)
def test_shapes_are_known(text):
    assert SHAPE.search(text)


@pytest.mark.parametrize("text", ["(low, high)", "(Dice 1945)", "f(x)", "(B)"])
def test_other_parentheses_are_no_shapes(text):
    assert not SHAPE.search(text)


def test_examples_are_no_formulas():
    text = "Adds.\n\n>>> y = 2 * x + 1\n3\n\nNothing else."
    assert not FORMULA.search(without_examples(text)) and "Nothing else" in without_examples(text)


def test_classes_are_described_by_their_fields_or_their_init():
    record = '@dataclass(frozen=True)\nclass Box:\n    """A box."""\n    low: float\n    high: float\n'
    made = 'class Box:\n    """A box."""\n    def __init__(self, low, high: float): ...\n'
    assert offences(record, "m") == ["m.Box: takes 2 parameters and has no Args"]
    assert offences(made, "m") == ["m.Box: low has no type", "m.Box: takes 2 parameters and has no Args"]


def test_methods_and_properties_are_public_and_the_rest_is_not():
    source = """
class Box:
    'A box.'
    @property
    def side(self) -> float: ...
    @side.setter
    def side(self, value): ...
    @overload
    def at(self, x): ...
    def __len__(self): ...
    def _own(self): ...
def outer() -> None:
    'Has a function within.'
    def inner(x): ...
class _Hidden:
    def method(self): ...
"""
    assert offences(source, "m") == ["m.Box.side: has no docstring"]


def test_a_command_describes_its_options_beside_their_types():
    source = "def run(a: Annotated[int, Option(help='A.')], b: o.Seed) -> None:\n    'Run.'\n"
    assert offences(source, "m") == []
    assert offences(source.replace("o.Seed", "int"), "m") == ["m.run: takes 2 parameters and has no Args"]
