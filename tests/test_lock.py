"""What development installs is what setup.cfg admits, on every Python."""

from configparser import ConfigParser
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
LINUX = {"sys_platform": "linux", "platform_machine": "x86_64", "implementation_name": "cpython"}


def requirements(text: str) -> list[Requirement]:
    lines = (line.split("#")[0].strip() for line in text.splitlines())
    return [Requirement(line) for line in lines if line]


def locked(python: str) -> dict[str, str]:
    """Version of each package that is installed for a Python on Linux."""
    environment = LINUX | {"python_version": python, "python_full_version": f"{python}.0"}
    pins = requirements((ROOT / "requirements-dev.lock").read_text())
    chosen = [pin for pin in pins if pin.marker is None or pin.marker.evaluate(environment)]
    names = [canonicalize_name(pin.name) for pin in chosen]
    assert len(set(names)) == len(names)
    return {name: str(pin.specifier).removeprefix("==") for name, pin in zip(names, chosen, strict=True)}


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12", "3.13"])
def test_the_lock_holds_all_that_is_asked_for(python):
    settings = ConfigParser()
    settings.read(ROOT / "setup.cfg")
    asked = settings["options"]["install_requires"] + settings["options.extras_require"]["dev"]
    bounds = (ROOT / ".ci" / "lock-bounds.txt").read_text()
    versions = locked(python)
    for requirement in requirements(asked + "\n" + bounds):
        assert versions[canonicalize_name(requirement.name)] in requirement.specifier, f"{requirement}: run make lock"
