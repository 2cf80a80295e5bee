"""The pages of the API reference, one for each room, from the package's own tree."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

from architecture import layers, station

COMMANDS = ("nerp.cli", "nerp.__main__")


def write(out: Path) -> None:
    """Write a page for each room into the folder `out`, from the ground up, and `index.md`, which lists them."""
    out.mkdir(exist_ok=True)
    for old in out.glob("*.md"):
        old.unlink()
    rooms = [room for layer in layers() for room in sorted(layer) if room not in COMMANDS]
    pages = {room: modules for room in rooms if (modules := documented(room))}
    for room, modules in pages.items():
        (out / f"{room}.md").write_text(_page(room, modules))
    names = "\n".join(pages)
    (out / "index.md").write_text(
        "# API reference\n\nEvery room from the ground up; what a package exports is what it offers.\n\n"
        f"```{{toctree}}\n:maxdepth: 1\n\n{names}\n```\n"
    )


def documented(room: str) -> list[str]:
    """The modules of a room that are shown: the package with what it exports, or else each module in it."""
    module = import_module(room)
    if hasattr(module, "__all__") or not hasattr(module, "__path__"):
        return [room]
    found = [item.name for item in walk_packages(module.__path__, f"{room}.")]
    public = [name for name in found if not any(part.startswith("_") for part in name.split("."))]
    return [name for name in public if station(name) == room and not _within_exporting(name, room)]


def _within_exporting(name: str, room: str) -> bool:
    """Whether a package between the room and the module exports names, and so stands for the module."""
    parts = name.split(".")
    above = [".".join(parts[:n]) for n in range(room.count(".") + 2, len(parts))]
    return any(hasattr(import_module(package), "__all__") for package in above)


def _page(room: str, modules: list[str]) -> str:
    """Markdown of one room."""
    blocks = []
    for name in modules:
        heading = f"# {room}\n\n" if name == room else f"## {name}\n\n"
        blocks.append(f"{heading}```{{eval-rst}}\n.. automodule:: {name}\n   :members:\n```\n")
    start = "" if modules[0] == room else f"# {room}\n\n{import_module(room).__doc__ or ''}\n\n"
    return start + "\n".join(blocks)
