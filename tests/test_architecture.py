"""Imports point one way, and each heavy package has one home."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

LAYERS: list[set[str]] = [
    {"nerp.errors", "nerp.randomness"},
    {
        "nerp.arguments",
        "nerp.devices",
        "nerp.display",
        "nerp.files",
        "nerp.headers",
        "nerp.hounsfield",
        "nerp.label_names",
        "nerp.settings",
    },
    {"nerp.config", "nerp.formats", "nerp.runs"},
    {"nerp.dicom"},
    {"nerp.volume"},
    {"nerp.anatomy", "nerp.label_maps", "nerp.phantom"},
    {"nerp.camera", "nerp.variation"},
    {"nerp.data", "nerp.projection"},
    {"nerp.networks", "nerp.physics"},
    {"nerp.evaluation"},
    {"nerp.training"},
    {"nerp.synthesis"},
    {"nerp.experiments", "nerp.factory", "nerp.report"},
    {"nerp.cli"},
    {"nerp.__main__"},
]
"""From the ground up. A module imports from lower layers only, and lies no higher than what it imports makes it."""

LAYER_OF = {name: number for number, layer in enumerate(LAYERS) for name in layer}

HOMES = {
    "PIL": {"nerp.data", "nerp.training"},
    "SimpleITK": {"nerp.formats", "nerp.label_maps"},
    "isal": {"nerp.formats"},
    "jinja2": {"nerp.report"},
    "lightning_fabric": {"nerp.training"},
    "markupsafe": {"nerp.report"},
    "matplotlib": {"nerp.report"},
    "monai": {"nerp.networks"},
    "nibabel": {"nerp.formats", "nerp.headers", "nerp.label_maps"},
    "omegaconf": {"nerp.config"},
    "onnxruntime": {"nerp.evaluation"},
    "pydicom": {"nerp.data", "nerp.dicom", "nerp.label_maps"},
    "ray": {"nerp.factory"},
    "rich": {"nerp.cli"},
    "safetensors": {"nerp.data", "nerp.evaluation", "nerp.networks", "nerp.training"},
    "scipy": {"nerp.anatomy", "nerp.evaluation", "nerp.phantom", "nerp.variation"},
    "segmentation_models_pytorch": {"nerp.networks"},
    "timm": {"nerp.evaluation"},
    "torch.utils.tensorboard": {"nerp.training"},
    "torch_fidelity": {"nerp.evaluation"},
    "triton": {"nerp.projection"},
    "spekpy": {"nerp.physics"},
    "typer": {"nerp.cli"},
    "xraydb": {"nerp.physics"},
    "yaml": {"nerp.config", "nerp.report"},
}
"""Third-party packages and the only rooms that may import them; torch and numpy are everywhere."""


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: write imports out in full"
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return names


def station(module: str) -> str:
    """The station a module belongs to: `nerp.projection.rays` is at `nerp.projection`."""
    parts = module.split(".")
    whole = (".".join(parts[:n]) for n in range(len(parts), 1, -1))
    return next((name for name in whole if name in LAYER_OF), ".".join(parts[:2]))


def sources() -> list[Path]:
    return sorted((ROOT / "nerp").rglob("*.py"))


def beside(pattern: str) -> list[Path]:
    """Scripts, or modules of packages that only scripts use: neither is installed."""
    return [path for folder in ("train", "eval") for path in sorted((ROOT / folder).glob(pattern))]


def needs() -> dict[str, set[str]]:
    """What each station imports of the others."""
    found: dict[str, set[str]] = {}
    for path in sources():
        home = station(module_name(path))
        if home == "nerp":
            continue
        targets = {station(name) for name in imports_of(path) if name.startswith("nerp.")}
        found.setdefault(home, set()).update((targets & LAYER_OF.keys()) - {home})
    return found


@pytest.mark.parametrize("path", sources(), ids=module_name)
def test_imports_point_one_way(path):
    home = station(module_name(path))
    if home == "nerp":
        return
    for name in imports_of(path):
        target = station(name)
        if name.startswith("nerp.") and target != home and target in LAYER_OF:
            assert LAYER_OF[target] < LAYER_OF[home], f"{module_name(path)} imports {name}: against the layers"


def test_every_module_has_a_layer():
    stations = {station(module_name(path)) for path in sources()} - {"nerp"}
    assert stations == set(LAYER_OF), f"layers and modules differ in {sorted(stations ^ set(LAYER_OF))}"


def test_no_room_lies_above_one_that_it_does_not_need():
    for home, targets in needs().items():
        lowest = 1 + max((LAYER_OF[target] for target in targets), default=-1)
        assert LAYER_OF[home] == lowest, f"{home} needs no more than layer {lowest - 1}: move it down to {lowest}"


@pytest.mark.parametrize("package", sorted(HOMES))
def test_heavy_package_has_one_home(package):
    users = {
        station(module_name(path))
        for path in sources()
        if any(name == package or name.startswith(package + ".") for name in imports_of(path))
    }
    assert users, f"nobody imports {package}: drop it from this table"
    assert users <= HOMES[package], f"{package} is imported by {sorted(users)}; its home is {sorted(HOMES[package])}"


def test_every_third_party_package_has_a_home():
    everywhere = {"torch", "numpy", "nerp", *sys.stdlib_module_names}
    tops = {name.split(".")[0] for path in sources() for name in imports_of(path)} - everywhere
    assert tops <= {name.split(".")[0] for name in HOMES}, f"give a home to {sorted(tops)}"


def test_modules_and_scripts_stay_short():
    for path in [*sources(), *beside("*/*.py")]:
        assert path.read_text().count("\n") <= 400, f"{path}: longer than 400 lines"
    for path in beside("*.py"):
        assert path.read_text().count("\n") <= 60, f"{path}: a script longer than 60 lines"
        assert path.name != "__init__.py", f"{path.parent}: is for scripts and what only they use, not a package"


def test_the_library_knows_nothing_of_what_only_scripts_use():
    theirs = {path.parent.name for path in beside("*/__init__.py")}
    assert theirs, "nothing beside the scripts: drop this test"
    for path in sources():
        used = {name.split(".")[0] for name in imports_of(path)} & theirs
        assert not used, f"{module_name(path)} imports {sorted(used)}, which is not installed"
