"""Files that are either whole or absent."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary name beside `path`; what is written there takes its place at the end.

    The bytes reach the disk before the name does, so a power cut or `kill -9` at any moment leaves
    the former file or the new one, never a part. On an error the temporary file is removed; what a
    killed process leaves is found by `remove_partial`. The temporary name ends as the file's does,
    since many writers choose their format by it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}.partial.{path.name}")
    try:
        temporary.touch()
        usual = temporary.stat().st_mode
        yield temporary
        temporary.chmod(usual)  # safetensors writes for its user alone, whatever the umask
        _sync(temporary)
        os.replace(temporary, path)
        _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def held(folder: str | Path) -> Iterator[None]:
    """Hold a folder, made if need be, against other processes until the end, when it is removed if empty.

    The system lets go when the process ends, however it ends. Outside Unix nothing is held.

    Raises:
        BlockingIOError: another process holds it.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        import fcntl
    except ImportError:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)
        with suppress(OSError):
            folder.rmdir()


def remove_partial(folder: str | Path) -> None:
    """Remove what killed writers left directly in `folder`; nothing else may be writing there."""
    for path in Path(folder).glob(".*.partial.*"):
        path.unlink()


def _sync(path: Path) -> None:
    if path.is_dir() and os.name == "nt":
        return  # Windows opens no folder for fsync
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
