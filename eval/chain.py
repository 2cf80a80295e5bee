"""Time a physical radiograph of a CT, station by station, and a hundred variants of it, as JSON.

Example: python eval/chain.py ct.nii.gz --labels labels.nii.gz
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable

import torch

from nerp import attenuation, chest_camera, read_labels, read_volume, siddon
from nerp.physics.film import Film, film
from nerp.physics.simulate import Simulator
from nerp.projection.materials import project_materials
from nerp.synthesis.structures import structure_groups

SHAPE, REPEATS, N_VARIANTS = (480, 620), 5, 100


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ct")
    parser.add_argument("--labels", help="of the structures whose densities vary; none: the whole body's")
    given = parser.parse_args()
    ct = read_volume(given.ct)
    labels = None if given.labels is None else read_labels(given.labels, like=ct)
    groups = None if labels is None else structure_groups(labels, {})
    camera, per_mm = chest_camera(ct, "pa", shape=SHAPE), attenuation(ct)
    plain, grouped = Simulator(ct), Simulator(ct, labels=labels, groups=groups)
    signal = plain.expose(camera).signal
    scales = [dict.fromkeys(grouped.groups, 1 + 0.002 * number) for number in range(N_VARIANTS)]
    pixel_mm = camera.pixel_mm[0].tolist()
    noise = torch.Generator()
    seconds = {
        "siddon": median(lambda: siddon(per_mm, camera)),
        "project_materials": median(lambda: project_materials(plain.materials, camera)),
        "materials of the CT": median(lambda: Simulator(ct)),
        "radiograph": median(lambda: plain.expose(camera, generator=noise)),
        "film": median(lambda: film(signal, Film(), (pixel_mm[0], pixel_mm[1]))),
        "one of the structures": median(lambda: grouped.expose(camera, scales=scales[0])),
        f"{N_VARIANTS} variants": median(lambda: grouped.variants(camera, scales), repeats=2),
    }
    whole = seconds["materials of the CT"] + seconds["radiograph"] + seconds["film"]
    ratios = {
        "project_materials / siddon": seconds["project_materials"] / seconds["siddon"],
        "variants / one": seconds[f"{N_VARIANTS} variants"] / seconds["one of the structures"],
    }
    told = {"seconds": {**seconds, "CT to film": whole}, "ratios": ratios, "structures": len(grouped.groups)}
    print(json.dumps({**told, "threads": torch.get_num_threads(), "shape": SHAPE}, indent=2))


def median(run: Callable[[], object], *, repeats: int = REPEATS) -> float:
    """Median seconds of some runs after one more."""
    run()
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        found.append(time.perf_counter() - start)
    return statistics.median(found)


if __name__ == "__main__":
    main()
