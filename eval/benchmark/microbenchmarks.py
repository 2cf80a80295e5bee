"""How fast this machine does each kind of work of the projection kernels: compiled and measured when asked for.

The source is beside this file; it uses the vector vocabulary of the kernels, and is compiled with
their flags for the instruction set in use.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
import tempfile
import time
from ctypes import c_float, c_int32, c_int64, c_void_p
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from nerp.projection.backends.cpu import library

SOURCE = Path(__file__).with_suffix(".cpp")
NATIVE = Path(__file__).parents[2] / "nerp" / "projection" / "backends" / "native"
"""The kernels' headers, in a checkout: this benchmark is not installed."""

VECTORS = {"lookups": 1, "pair_lookups": 1, "additions": 1, "pair_additions": 1, "arithmetic": 12}
"""Vectors of work in each round of a microbenchmark."""

CACHED, STREAMED = 2**12, 2**26
"""Floats of a window that fits into the nearest cache, and of one that fits into none."""

ROUNDS = 1_000_000


@cache
def load() -> ctypes.CDLL | str:
    """The compiled microbenchmarks, or the reason why there are none."""
    compiler = find_compiler()
    if library.missing() or compiler is None:
        return library.missing() or "no C++ compiler is found; install g++ or clang++, or name one in CXX"
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "microbenchmarks.so"
        done = subprocess.run(_command(compiler, target), capture_output=True, text=True)
        if done.returncode:
            return f"{compiler} does not compile {SOURCE.name}: {done.stderr.strip()}"
        compiled = ctypes.CDLL(os.fspath(target))
    for name in (*VECTORS, "reading"):
        getattr(compiled, name).argtypes = (c_void_p, c_int32, c_int64)
        getattr(compiled, name).restype = c_float
    return compiled


def find_compiler() -> str | None:
    """The C++ compiler that `CXX` names, or else the first usual one on the path; None where there is none."""
    asked = os.environ.get("CXX")
    return shutil.which(asked) if asked else next(filter(None, map(shutil.which, ("c++", "g++", "clang++"))), None)


def _command(compiler: str, target: Path) -> list[str]:
    flags, isa = json.loads((NATIVE / "flags.json").read_text()), library.instruction_set()
    options = [*flags["all"], *flags["instruction_sets"][isa], *flags["quiet"], f"-DNERP_ISA={isa}", f"-I{NATIVE}"]
    return [compiler, *options, "-shared", "-fPIC", os.fspath(SOURCE), "-o", os.fspath(target)]


def missing() -> str | None:
    """Why nothing can be measured here, or None where it can."""
    found = load()
    return found if isinstance(found, str) else None


def lanes() -> int:
    """How many floats the microbenchmarks handle at a time, as the kernels do."""
    return _loaded().vector_lanes()


def run(name: str, data: Tensor, window: int, rounds: int) -> float:
    """Repeat one kind of work.

    Args:
        name:   one of `VECTORS`, or `reading`, which reads the whole window in each round.
        data:   (window + 16,), or longer, float32 on the CPU, any unit; additions change it.
        window: floats to work on, a power of two.
        rounds: how often.

    Returns:
        A number that depends on all that was read.

    Raises:
        RuntimeError: nothing can be measured here, with the reason.
    """
    assert data.is_contiguous() and data.dtype == torch.float32 and len(data) >= window + 16
    return getattr(_loaded(), name)(data.data_ptr(), window, rounds)


def rates(*, repeats: int = 5) -> dict[str, float]:
    """How many of each kind of work one thread does in a second, at its best; of reading, bytes from memory.

    Raises:
        RuntimeError: nothing can be measured here, with the reason.
    """
    data, found = torch.full((STREAMED + 16,), 0.5), {}
    for name, vectors in VECTORS.items():
        found[name] = ROUNDS * vectors * lanes() / _least_seconds(name, data, CACHED, ROUNDS, repeats)
        data.fill_(0.5)  # sums must not overflow
    found["bytes"] = 4 * STREAMED / _least_seconds("reading", data, STREAMED, 1, repeats)
    return found


def _least_seconds(name: str, data: Tensor, window: int, rounds: int, repeats: int) -> float:
    taken = []
    for _ in range(repeats + 1):
        start = time.process_time()
        run(name, data, window, rounds)
        taken.append(time.process_time() - start)
    return min(taken)


def _loaded() -> ctypes.CDLL:
    found = load()
    if isinstance(found, str):
        raise RuntimeError(found)
    return found
