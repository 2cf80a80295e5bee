"""Files that are either whole or absent, and the hashes that stand for them."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from nerp.errors import DataError


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary name beside `path`; what is written there takes its place at the end.

    The bytes reach the disk before the name does, so a power cut or `kill -9` at any moment leaves
    the former file or the new one, never a part. On an error the temporary file is removed; what a
    killed process leaves is found by `remove_partial`. The temporary name ends as the file's does,
    since many writers choose their format by it.

    Raises:
        OSError: the file cannot be written, whichever way its writer said so; names the file.
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
    except Exception as error:
        code = _system_code(error)
        if code is None:
            raise
        raise OSError(code, os.strerror(code), str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def _system_code(error: Exception) -> int | None:
    """The system's number of an error of writing, which libraries in Rust tell in their text alone."""
    if isinstance(error, OSError):
        return error.errno
    told = re.search(r"\(os error (\d+)\)", str(error))
    return int(told[1]) if told else None


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write a file whole or not at all.

    Args:
        path: in a folder that is made if missing.
        data: all it is to hold.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: str | Path, text: str) -> None:
    """Write a file of UTF-8 whole or not at all.

    Args:
        path: in a folder that is made if missing.
        text: all it is to hold.
    """
    write_bytes(path, text.encode())


def json_bytes(value: object) -> bytes:
    """Indented JSON, ready to be written; numbers keep every bit of a float64."""
    return (json.dumps(value, indent=2, allow_nan=False) + "\n").encode()


def check_folder(folder: str | Path) -> None:
    """Make sure that a folder can be written into, or made, before long work is done for it.

    Raises:
        DataError: a file stands in its way, or it is not writable.
    """
    folder = Path(folder)
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not there.is_dir():
        raise DataError(f"{there} is a file; expected a folder to write to: choose another name")
    if not os.access(there, os.W_OK | os.X_OK):
        raise DataError(f"{there} is not writable; choose another folder or change its rights")


def check_file(path: str | Path) -> None:
    """Make sure that a file can be written, before long work is done for it.

    Raises:
        DataError: its name is a folder's, or its folder is not writable.
    """
    path = Path(path)
    if path.is_dir():
        raise DataError(f"{path} is a folder; expected the name of a file to write")
    check_folder(path.parent)


def sha256(path: str | Path) -> str:
    """The SHA-256 of a file, as `sha256sum` prints it."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def locked(folder: str | Path) -> Iterator[None]:
    """Lock a folder, made if need be, against other processes until the end, when it is removed if empty.

    The system lets go when the process ends, however it ends. Outside Unix nothing is locked.

    Raises:
        BlockingIOError: another process has locked it.
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
