"""A physical radiograph of a CT, station by station, and a hundred variants of it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from nerp import Volume, attenuation, chest_camera, read_labels, read_volume, siddon
from nerp.anatomy import without_table
from nerp.phantom import thorax
from nerp.physics.film import Film, film
from nerp.physics.objects import project_object_materials, random_objects
from nerp.physics.simulate import Simulator
from nerp.projection.materials import project_materials
from nerp.synthesis.structures import structure_groups

SHAPE, REPEATS, N_VARIANTS = (480, 620), 5, 100


def subject(ct: Path | None, labels: Path | None) -> tuple[Volume, Volume | None]:
    """The CT of a file, `(1, D, H, W)` HU, and labels on its grid if there are any; a phantom and its own for none."""
    if ct is None:
        made = thorax(0)
        return made.ct, made.labels
    read = read_volume(ct)
    return read, None if labels is None else read_labels(labels, like=read)


def measure(ct: Volume, labels: Volume | None, *, threads: int = 2) -> dict:
    """Median seconds of each station, and ratios.

    Args:
        ct:      `(1, D, H, W)` HU.
        labels:  of the structures whose densities vary; None varies the whole body's.
        threads: to use.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        seconds = stations(ct) | variants(ct, labels)
    finally:
        torch.set_num_threads(before)
    seconds["CT to film"] = sum(seconds[part] for part in ("materials of the CT", "radiograph", "film"))
    ratios = {
        "project_materials / siddon": seconds["project_materials"] / seconds["siddon"],
        "variants / one": seconds[f"{N_VARIANTS} variants"] / seconds["one of the structures"],
    }
    return {"seconds": seconds, "ratios": ratios, "threads": threads, "shape": SHAPE}


def stations(ct: Volume) -> dict[str, float]:
    """Median seconds of each step from a CT `(1, D, H, W)` HU to a film."""
    camera, per_mm, made, noise = chest_camera(ct, "pa", shape=SHAPE), attenuation(ct), Simulator(ct), torch.Generator()
    things = random_objects(ct, torch.Generator().manual_seed(0), camera=camera)
    signal, pixel_mm = made.expose(camera).signal, camera.pixel_mm[0].tolist()
    return {
        "siddon": median(lambda: siddon(per_mm, camera)),
        "project_materials": median(lambda: project_materials(made.materials, camera)),
        "materials of the CT": median(lambda: Simulator(ct)),
        "body and table": median(lambda: without_table(ct)),
        "objects at the bedside": median(lambda: project_object_materials(things, camera)),
        "radiograph": median(lambda: made.expose(camera, generator=noise)),
        "film": median(lambda: film(signal, Film(), (pixel_mm[0], pixel_mm[1]))),
    }


def variants(ct: Volume, labels: Volume | None) -> dict[str, float]:
    """Median seconds of one radiograph with other densities, and of many.

    Args:
        ct:     `(1, D, H, W)` HU.
        labels: of the structures.
    """
    groups = None if labels is None else structure_groups(labels, {})
    camera, made = chest_camera(ct, "pa", shape=SHAPE), Simulator(ct, labels=labels, groups=groups)
    scales = [dict.fromkeys(made.groups, 1 + 0.002 * number) for number in range(N_VARIANTS)]
    return {
        "one of the structures": median(lambda: made.expose(camera, scales=scales[0])),
        f"{N_VARIANTS} variants": median(lambda: made.variants(camera, scales), repeats=2),
    }


def median(run: Callable[[], object], *, repeats: int = REPEATS) -> float:
    """Median seconds of some runs after one more."""
    run()
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        found.append(time.perf_counter() - start)
    return statistics.median(found)
