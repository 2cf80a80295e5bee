"""Seconds and memory of projections, measured side by side in one run.

Times drift between machines and hours; ratios of one run are what counts, so that all cases
take turns. Processor time is the measure of a single thread, the clock that of several.
"""

from __future__ import annotations

import ctypes
import os
import platform
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from benchmark.cases import Call, cases
from benchmark.workload import SAMPLES
from nerp.projection.backends.cpu import library


def measure(runs: dict[str, Call], repeats: int, *, clock: Callable[[], float] = time.process_time) -> dict:
    """Median and least seconds of each call; all take turns, after one unmeasured round.

    Each round has its own order: what ran before leaves its own numbers in the cache.

    Args:
        runs:    the cases.
        repeats: rounds that count.
        clock:   seconds so far.

    Returns:
        `median` and `least` of each case, seconds.
    """
    taken: dict[str, list[float]] = {name: [] for name in runs}
    order = random.Random(0)
    for turn in range(repeats + 1):
        for name in order.sample(list(runs), len(runs)):
            start = clock()
            runs[name]()
            if turn:
                taken[name].append(clock() - start)
    return {name: {"median": float(np.median(times)), "least": min(times)} for name, times in taken.items()}


def gpu_clock() -> float:
    """Seconds by the clock, once the GPU has done all that it was given."""
    torch.cuda.synchronize()
    return time.perf_counter()


def scaling(threads: int, *, repeats: int = 5) -> dict[str, dict]:
    """How many times faster each of our projections is with so many threads than with one, by the clock.

    The ratio of the medians, and that of the least: where the system now and then puts two threads
    on one core, only the latter tells what the projection could do.

    Args:
        threads: more than one.
        repeats: rounds that count.

    Returns:
        `median` and `least` of each case.
    """
    runs, seconds = cases(), {}
    for count in (1, threads):
        torch.set_num_threads(count)
        seconds[count] = measure(runs, repeats, clock=time.perf_counter)
    torch.set_num_threads(1)
    kinds = ("median", "least")
    return {name: {kind: seconds[1][name][kind] / seconds[threads][name][kind] for kind in kinds} for name in runs}


def memory() -> dict[str, float]:
    """Memory of one call of each projection, and of the march with few and with many samples, MB."""
    found = {name: extra_mb(name) for name in cases()}
    for name in ("march", "march fields", "march camera"):
        found |= {f"{name}, {samples} samples": extra_mb(name, samples=samples) for samples in (128, 1024, 4096)}
    return found


def extra_mb(name: str, *, samples: int = SAMPLES) -> float:
    """Memory that one call of ours adds to the peak of a fresh process, results included; Linux only.

    Args:
        name:    one of `cases`.
        samples: on each ray of a march.

    Returns:
        MB.
    """
    code = f"from benchmark.timing import grown_mb; print(grown_mb({name!r}, {samples}))"
    found_here = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=found_here, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def grown_mb(name: str, samples: int) -> float:
    """What one call adds to this process: its peak, less what was in use before; on one thread.

    Args:
        name:    one of `cases`.
        samples: on each ray of a march.

    Returns:
        MB.
    """
    torch.set_num_threads(1)
    run = cases(samples=samples)[name]
    small = cases(samples=1)["march"]
    small()  # what is loaded at the first call is not the projection's
    _give_back()
    before = _status_mb("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    run()
    return _status_mb("VmHWM") - before


def _give_back() -> None:
    """Hands freed memory to the system: a call that used it again would seem to need none (glibc keeps 32 MB)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim:
        trim(0)


def _status_mb(entry: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(entry + ":")) / 1024


def machine() -> dict:
    """What the numbers were measured on."""
    kernels = library.missing() or library.instruction_set()
    return {"cpu": _cpu_name(), "cores": os.cpu_count(), "torch": torch.__version__, "kernels": kernels}


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
