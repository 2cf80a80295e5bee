"""The picture of the architecture, made from the layers that the tests hold and from the imports themselves."""

from __future__ import annotations

import ast
import math
from pathlib import Path
from random import Random

import numpy as np

ROOT = Path(__file__).parents[2]
LIST = ROOT / "tests" / "test_architecture.py"
WIDE, HALF_HIGH, SPAN = 1.9, 0.26, 5.5
SLOTS, TRIALS, HOTTEST = 23, 8000, 15.0


def layers() -> list[set[str]]:
    """Sets of rooms from the ground up: `LAYERS` of the test that holds them."""
    for node in ast.parse(LIST.read_text()).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == "LAYERS" for target in targets):
            return ast.literal_eval(node.value)
    raise ValueError(f"{LIST} states no LAYERS; expected a list of sets of modules")


def station(module: str) -> str:
    """The room a module belongs to: `nerp.projection.rays` is in `nerp.projection`."""
    known, parts = set().union(*layers()), module.split(".")
    names = (".".join(parts[:n]) for n in range(len(parts), 1, -1))
    return next((name for name in names if name in known), ".".join(parts[:2]))


def imports() -> dict[str, set[str]]:
    """The rooms that each room imports from, read from the sources."""
    known = set().union(*layers())
    found: dict[str, set[str]] = {name: set() for name in known}
    for path in sorted((ROOT / "nerp").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        home = station(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
        used = {station(name) for name in _imported(path)} & known - {home}
        found.setdefault(home, set()).update(used)
    return {name: used for name, used in found.items() if name in known}


def _imported(path: Path) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def without_detours(graph: dict[str, set[str]]) -> dict[str, set[str]]:
    """The arrows that no longer way along other arrows says already."""

    def reach(name: str) -> set[str]:
        return set().union(*({other} | reach(other) for other in graph[name])) if graph[name] else set()

    below = {name: reach(name) for name in graph}
    return {name: {one for one in used if not any(one in below[two] for two in used)} for name, used in graph.items()}


def table() -> str:
    """Markdown: each room from the top down, and every room that it imports from."""
    graph = imports()
    rows = ["| layer | room | imports from |", "|---|---|---|"]
    for number, layer in reversed(list(enumerate(layers()))):
        for name in sorted(layer):
            used = ", ".join(f"`{_short(one)}`" for one in sorted(graph[name]))
            rows.append(f"| {number} | `{_short(name)}` | {used or 'none of ours'} |")
    return "\n".join(rows) + "\n"


def draw(out: Path) -> None:
    """Draw rooms as boxes, a layer a row, and arrows to what they stand on, into a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    arrows = [(name, other) for name, used in without_detours(imports()).items() for other in sorted(used)]
    places = arranged(layers(), sorted(arrows))
    figure, axis = plt.subplots(figsize=(10.5, 0.8 * len(layers())), layout="constrained")
    for name, other in arrows:
        (x, y), (end, foot) = places[name], places[other]
        style = {"arrowstyle": "-|>", "color": "#7d8b99", "linewidth": 1.0, "shrinkA": 0, "shrinkB": 0}
        axis.annotate("", xy=(end, foot + HALF_HIGH), xytext=(x, y - HALF_HIGH), arrowprops=style, zorder=1)
    for name, place in places.items():
        _box(axis, _short(name), *place)
    axis.set_xlim(-SPAN - WIDE / 2 - 0.1, SPAN + WIDE / 2 + 0.1)
    axis.set_ylim(-0.6, len(layers()) - 0.4)
    axis.axis("off")
    figure.savefig(out, dpi=120)
    plt.close(figure)


def arranged(rows: list[set[str]], arrows: list[tuple[str, str]]) -> dict[str, tuple[float, float]]:
    """The middle of each box, so that few arrows run behind boxes or cross: found by trying, the same each time."""
    random = Random(0)
    slots = [SPAN * (2 * n / (SLOTS - 1) - 1) for n in range(SLOTS)]
    places = {}
    for y, layer in enumerate(rows):
        for index, name in enumerate(sorted(layer)):
            places[name] = (slots[(2 * index + 1) * SLOTS // (2 * len(layer))], float(y))
    disorder = _disorder(places, arrows)
    best = (disorder, places)
    for trial in range(TRIALS):
        name = random.choice(sorted(places))
        tried = {**places, name: (random.choice(slots), places[name][1])}
        found = _disorder(tried, arrows)
        heat = HOTTEST * (1 - trial / TRIALS) ** 2 + 1e-3
        if random.random() < math.exp(min(0.0, (disorder - found) / heat)):
            places, disorder = tried, found
            best = min(best, (disorder, places), key=lambda pair: pair[0])
    return best[1]


def _disorder(places: dict[str, tuple[float, float]], arrows: list[tuple[str, str]]) -> float:
    """Boxes that overlap, boxes that arrows run behind, crossings, and the arrows' length, weighted."""
    names = list(places)
    boxes = np.array([places[name] for name in names])
    starts, ends = (np.array([places[arrow[side]] for arrow in arrows]) for side in (0, 1))
    beside = np.abs(boxes[:, None, 0] - boxes[None, :, 0]) + 99.0 * (boxes[:, None, 1] != boxes[None, :, 1])
    overlaps = ((beside + 99.0 * np.eye(len(names))) < WIDE + 0.15).sum()
    fraction = (starts[:, None, 1] - boxes[None, :, 1]) / (starts - ends)[:, None, 1]
    passing = starts[:, None, 0] + fraction * (ends - starts)[:, None, 0]
    between = (fraction > 0) & (fraction < 1)
    behind = between & (np.abs(passing - boxes[None, :, 0]) < WIDE / 2 + 0.15)
    one, two = np.sign(starts[:, None, 0] - starts[None, :, 0]), np.sign(ends[:, None, 0] - ends[None, :, 0])
    together = (starts[:, None, 1] == starts[None, :, 1]) & (ends[:, None, 1] == ends[None, :, 1])
    crossings = (together & (one * two < 0)).sum() / 2
    return 30.0 * overlaps + 10.0 * behind.sum() + crossings + 0.1 * np.abs(starts[:, 0] - ends[:, 0]).sum()


def _box(axis, text: str, x: float, y: float) -> None:
    from matplotlib.patches import Rectangle

    colours = {"facecolor": "#e8eef4", "edgecolor": "#40607f", "zorder": 2}
    axis.add_patch(Rectangle((x - WIDE / 2, y - HALF_HIGH), WIDE, 2 * HALF_HIGH, **colours))
    axis.text(x, y, text, ha="center", va="center", fontsize=8.5, family="monospace", zorder=3)


def _short(name: str) -> str:
    return name.removeprefix("nerp.")
