"""Imports point one way, and each heavy package has one home."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

LEVELS = {
    "nerp.errors": 0,
    "nerp.devices": 0.5,
    "nerp.files": 0.5,
    "nerp.runs": 0.6,
    "nerp.settings": 0.5,
    "nerp.display": 0.5,
    "nerp.randomness": 0.5,
    "nerp.label_names": 0.5,
    "nerp.formats": 1,
    "nerp.dicom": 1.5,
    "nerp.volume": 2,
    "nerp.anatomy": 2.5,
    "nerp.camera": 3,
    "nerp.phantom": 3,
    "nerp.projection": 4,
    "nerp.networks": 5,
    "nerp.physics": 5,
    "nerp.data": 5,
    "nerp.runs": 2,
    "nerp.training.settings": 5.2,
    "nerp.config": 5.5,
    "nerp.synthesis": 6,
    "nerp.training": 6,
    "nerp.evaluation": 7,
    "nerp.experiments": 7.5,
    "nerp.report": 7,
    "nerp.cli": 8,
    "nerp.__main__": 9,
}

HOMES = {
    "torch_fidelity": {"nerp.evaluation"},
    "segmentation_models_pytorch": {"nerp.networks"},
    "monai.networks": {"nerp.networks"},
    "omegaconf": {"nerp.config"},
    "nibabel": {"nerp.formats"},
    "SimpleITK": {"nerp.formats"},
    "lightning_fabric": {"nerp.training"},
    "typer": {"nerp.cli"},
    "torch.utils.tensorboard": {"nerp.training"},
}


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
    return next((name for name in whole if name in LEVELS), ".".join(parts[:2]))


def sources() -> list[Path]:
    return sorted((ROOT / "nerp").rglob("*.py"))


def beside(pattern: str) -> list[Path]:
    """Scripts, or modules of packages that only scripts use: neither is installed."""
    return [path for folder in ("train", "eval") for path in sorted((ROOT / folder).glob(pattern))]


@pytest.mark.parametrize("path", sources(), ids=module_name)
def test_imports_point_one_way(path):
    home = station(module_name(path))
    if home == "nerp":
        return
    for name in imports_of(path):
        target = station(name)
        if name.startswith("nerp.") and target != home and target in LEVELS:
            assert LEVELS[target] < LEVELS[home], f"{module_name(path)} imports {name}: against the line"


def test_every_module_has_a_level():
    stations = {station(module_name(path)) for path in sources()} - {"nerp"}
    assert stations <= set(LEVELS), f"give a level to {sorted(stations - set(LEVELS))}"


@pytest.mark.parametrize("package", sorted(HOMES))
def test_heavy_package_has_one_home(package):
    users = {
        station(module_name(path))
        for path in sources()
        if any(name == package or name.startswith(package + ".") for name in imports_of(path))
    }
    assert users, f"nobody imports {package}: drop it from this table"
    assert users <= HOMES[package], f"{package} is imported by {sorted(users)}; its home is {sorted(HOMES[package])}"


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
