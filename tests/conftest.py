"""Fixtures shared by the tests."""

import os
from pathlib import Path

import pytest
import torch

from nerp.cli import main


@pytest.fixture
def real_data() -> Path:
    """The folder of real CTs and radiographs; the test is skipped where it is absent."""
    folder = Path(os.environ.get("NERP_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real data not found at {folder}: set NERP_DATA to its folder")
    return folder


@pytest.fixture(autouse=True, scope="session")
def default_dtype_of_the_session():
    """Another default dtype of torch, where NERP_TEST_DTYPE names one."""
    if name := os.environ.get("NERP_TEST_DTYPE"):
        torch.set_default_dtype(getattr(torch, name))


@pytest.fixture
def generator() -> torch.Generator:
    """A freshly seeded source of randomness."""
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="session")
def training_data(tmp_path_factory) -> list[str]:
    """Overrides of a tiny run that name phantoms and their radiographs, made once."""
    from tiny_run import tiny

    from nerp.training.adversarial.sources import prepare

    folder, config = tmp_path_factory.mktemp("data"), tiny("unused")
    shape = config.viewer.shape
    prepare(config.data, config.phantom, folder=folder, shape=shape, progress=lambda done, total: None)
    return [f"data.ct_dir={folder}/ct", f"data.radiographs_dir={folder}/radiographs"]


@pytest.fixture(scope="session")
def chests(tmp_path_factory) -> tuple[Path, Path]:
    """Folders of two small CTs and of their labels, to be read only."""
    from small_chests import write_chests  # loads the networks' packages, which few tests need

    return write_chests(tmp_path_factory.mktemp("chests"))


@pytest.fixture(scope="session")
def run(tmp_path_factory) -> Path:
    """A run folder whose mapper is small and untrained, to be read only."""
    from small_chests import write_run

    return write_run(tmp_path_factory.mktemp("run"))


@pytest.fixture
def nerp(capsys):
    """Runs the command line in this process: exit code, stdout, stderr."""

    def run(*arguments):
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = stop.code
        said = capsys.readouterr()
        return code, said.out, said.err

    return run
