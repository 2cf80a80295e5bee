"""How fast projections are, measured side by side in one run.

Times drift between machines and hours; ratios of one run are what counts, so that all contestants
take turns. Processor time is the measure of a single thread, the clock that of several.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nerp.evaluation.workload import SAMPLES, body, contestants, grid, moved, random_fields, rotation, view
from nerp.projection import march, siddon
from nerp.volume import Fields, Volume


@dataclass(frozen=True)
class Aim:
    """A ratio worth having: how many times `ours` must go into `theirs`."""

    title: str
    theirs: tuple[str, ...]
    ours: tuple[str, ...]
    at_least: float
    aim: float

    def ratio(self, seconds: dict[str, float]) -> float | None:
        """The measured ratio, or None where a contestant did not run."""
        if not all(name in seconds for name in (*self.theirs, *self.ours)):
            return None
        return sum(seconds[name] for name in self.theirs) / sum(seconds[name] for name in self.ours)


AIMS = (
    Aim("march forward vs plain torch", ("torch march",), ("march",), 25, 50),
    Aim("march + gradient of fields vs plain torch", ("torch march fields",), ("march fields",), 12, 25),
    Aim("march + gradient of camera vs flashdrr", ("flashdrr camera",), ("march camera",), 8, 20),
    Aim("siddon forward (AP) vs ITK SiddonJacobs", ("itk siddon-jacobs ap",), ("siddon ap",), 1.5, 2),
    Aim("siddon forward (oblique) vs RTK Joseph", ("rtk joseph",), ("siddon",), 1.5, 2.5),
    Aim(
        "siddon + gradient of volume vs RTK Joseph + adjoint", ("rtk joseph", "rtk adjoint"), ("siddon volume",), 1.5, 3
    ),
    Aim("siddon forward over project_labels, 100 labels", ("siddon",), ("labels",), 1 / 2, 1 / 1.3),
)


MEASURED = ("march", "march fields", "march camera", "siddon", "siddon volume", "labels")
"""The projections whose memory is worth a table."""


def table(result: dict) -> str:
    """The results as plain text, a line each."""
    lines = [
        f"{name:32} {times['median']:9.4f} s   least {times['least']:9.4f}" for name, times in result["seconds"].items()
    ]
    for row in result["ratios"]:
        measured = "not measured" if row["ratio"] is None else f"{row['ratio']:.2f}"
        lines.append(f"{row['title']:52} {measured:>12}   at least {row['at_least']:g}, aim {row['aim']:g}")
    lines += [f"{name:32} {share:9.1e} of the largest" for name, share in result["agreement"].items()]
    lines += [f"{name:32} {times:9.2f} x faster with threads" for name, times in result.get("scaling", {}).items()]
    lines += [f"{name:32} {extra:9.1f} MB more" for name, extra in result.get("extra_mb", {}).items()]
    lines += [f"{name} is not here: {reason}" for name, reason in result["missing"].items()]
    return "\n".join(lines)


def ratios(seconds: dict[str, float]) -> list[dict]:
    """Every aim with its measured ratio, None where a contestant did not run."""
    return [{"title": aim.title, "ratio": aim.ratio(seconds), "at_least": aim.at_least, "aim": aim.aim} for aim in AIMS]


def measure(runs: dict[str, Callable], repeats: int, *, clock: Callable[[], float] = time.process_time) -> dict:
    """Median and least seconds of each call; all take turns, after one unmeasured round."""
    taken = {name: [] for name in runs}
    for turn in range(repeats + 1):
        for name, run in runs.items():
            start = clock()
            run()
            if turn:
                taken[name].append(clock() - start)
    return {name: {"median": float(np.median(times)), "least": min(times)} for name, times in taken.items()}


def agreement(*, pixels: int = 32, samples: int = SAMPLES) -> dict[str, float]:
    """Largest difference from the reference in double precision, as a share of the largest number."""
    camera = view(rotation(), pixels=pixels)
    matter, opacity = random_fields()
    values = body(128)[None]

    def marched(backend):
        return lambda m, o, s: march(Fields(m, o, grid(128)), moved(camera, s), samples, backend=backend)

    def integrated(backend):
        return lambda v, s: siddon(Volume(v, grid(128)), moved(camera, s), backend=backend)

    pairs = {"march": (marched, (matter, opacity, camera.source)), "siddon": (integrated, (values, camera.source))}
    differences = {}
    for name, (make, inputs) in pairs.items():
        found = _image_and_gradients(make("auto"), inputs)
        exact = _image_and_gradients(make("reference"), [part.double() for part in inputs])
        shares = [_share(a, b) for a, b in zip(found, exact, strict=True)]
        differences |= {f"{name} forward": shares[0], f"{name} gradients": max(shares[1:])}
    return differences


def _image_and_gradients(render: Callable[..., Tensor], inputs) -> list[Tensor]:
    leaves = [part.clone().requires_grad_() for part in inputs]
    image = render(*leaves)
    return [image.detach(), *torch.autograd.grad(image.square().mean(), leaves)]


def _share(found: Tensor, exact: Tensor) -> float:
    return ((found - exact).abs().max() / exact.abs().max()).item()


def scaling(threads: int, *, repeats: int = 5) -> dict[str, float]:
    """How many times faster each of our projections is with so many threads than with one, by the clock."""
    seconds = {}
    for count in (1, threads):
        torch.set_num_threads(count)
        seconds[count] = measure(contestants(), repeats, clock=time.perf_counter)
    torch.set_num_threads(1)
    return {name: times["least"] / seconds[threads][name]["least"] for name, times in seconds[1].items()}


def extra_mb(name: str, *, samples: int = SAMPLES, threads: int = 1) -> float:
    """Memory that one call of ours adds to the peak of a fresh process, results included, MB; Linux only."""
    code = f"from nerp.evaluation.speed import grown_mb; print(grown_mb({name!r}, {samples}, {threads}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def grown_mb(name: str, samples: int, threads: int) -> float:
    """What one call adds to this process, MB: its peak, less what was in use before."""
    torch.set_num_threads(threads)
    run = contestants(samples=samples)[name]
    before = _status_mb("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    run()
    return _status_mb("VmHWM") - before


def _status_mb(entry: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(entry + ":")) / 1024


def machine() -> dict:
    """What the numbers were measured on."""
    from nerp.projection.backends.cpu import library

    names = [line.split(":")[1].strip() for line in _cpu_info() if line.startswith("model name")]
    kernels = library.missing() or library.instruction_set()
    return {"cpu": names[:1], "cores": os.cpu_count(), "torch": torch.__version__, "kernels": kernels}


def _cpu_info() -> list[str]:
    info = Path("/proc/cpuinfo")
    return info.read_text().splitlines() if info.exists() else []
