"""CTs of the size of practice, and how long each station of the factory takes with them."""

import resource
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import torch

from nerp.data.source_files import SourceFile
from nerp.factory import load_plan, make_dataset
from nerp.formats import read_grid, unpacked, write_grid
from nerp.phantom import write_phantoms
from nerp.synthesis.inputs import open_ct, open_labels
from nerp.synthesis.scans import Scan, ready

SIDE, COARSE_MM, NOISE_HU = 512, 2.0, 15.0
ITK_SCRIPT = Path(__file__).with_name("itk_projector.py")


def write_cts(folder: Path, count: int, slices: int) -> None:
    """Phantoms made finer, with noise so that they pack as real CTs do."""
    if (folder / "ct").is_dir() and len(list((folder / "ct").iterdir())) >= count:
        return
    write_phantoms(folder / "coarse", count=count, seed=0, spacing_mm=COARSE_MM)
    rng = np.random.default_rng(0)
    for kind in ("ct", "labels"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for path in sorted((folder / "coarse" / kind).iterdir()):
            values, affine = read_grid(path)
            both = zip((SIDE, SIDE, slices), values.shape, strict=True)
            index = [np.arange(size) * have // size for size, have in both]
            fine = values[np.ix_(*index)]
            if kind == "ct":
                fine = np.clip(fine + rng.normal(0, NOISE_HU, fine.shape), -1024, 3071).round().astype(np.int16)
            scale = np.diag([*(have / size for size, have in zip(fine.shape, values.shape, strict=True)), 1.0])
            write_grid(folder / kind / path.name, fine, affine @ scale)
    shutil.copy(folder / "coarse" / "labels.csv", folder / "labels.csv")


def plan(folder: Path, pixels: int, **more):
    """Front views with masks of lungs and heart."""
    masks = {"labels": {"lungs": "lung_*", "heart": "heart"}, "label_names": str(folder / "labels.csv")}
    return load_plan(
        None,
        options={
            "sources": {"made": {"ct": str(folder / "ct"), "labels": str(folder / "labels")}},
            "images": {"pa": {"mode": "drr"}},
            "common": {"shape": [pixels, pixels], "mask": masks},
            "shard": 1,
            "device": "cpu",
            **more,
        },
    )


def measure(folder: Path, work: Path, pixels: int, *, itk: Path | None) -> dict:
    """Seconds by station of one CT, CTs a minute with one and two workers, the largest worker's memory, and ITK's."""
    cts = sorted((folder / "ct").iterdir())
    whole = {}
    for workers in (1, 2):
        begun = time.perf_counter()
        make_dataset(plan(folder, pixels, workers=workers), work / f"set{workers}")
        whole[workers] = time.perf_counter() - begun
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    torch.set_num_threads(1)
    alone = [_stations(folder, path, pixels) for path in cts]
    stations = {name: sum(one[name] for one in alone) / len(alone) for name in alone[0]}
    result = {
        "kind": "factory speed",
        "cts": len(cts),
        "voxels": list(read_grid(cts[0])[0].shape),
        "stations_s": stations,
        "ct_s": sum(stations.values()),
        "cts_per_minute_and_core": 60 / sum(stations.values()),
        "whole_s": {str(workers): seconds for workers, seconds in whole.items()},
        "worker_gib": memory,
    }
    return result if itk is None else {**result, "itk_s": _itk(itk, cts, work)}


def _stations(folder: Path, path: Path, pixels: int) -> dict[str, float]:
    """One CT, station by station, as a worker makes it."""
    config = plan(folder, pixels).image_settings["pa"]
    settings, labels_path = config.set_settings(), folder / "labels" / path.name
    clock, seconds = _Clock(), {}
    for one in (path, labels_path):
        SourceFile.of(one)
    seconds["hash"] = clock.lap()
    with unpacked(path) as stream:
        while stream.read(2**20):
            pass
    seconds["gunzip"] = clock.lap()
    ct = open_ct(path, settings.inputs, compact=True)
    seconds["convert and check"] = clock.lap() - seconds["gunzip"]
    labels = open_labels(labels_path, ct, settings.inputs, compact=True)
    seconds["labels"] = clock.lap()
    scan = Scan(path, labels_path, ct, labels)
    camera = scan.base_camera(ct, settings)
    seconds["camera"] = clock.lap()
    synthesiser, _ = ready(scan, settings, None)
    seconds["lung fields"] = clock.lap()
    synthesiser.renderer.render(camera)
    seconds["project"] = clock.lap()
    synthesiser.pair(camera)
    seconds["project labels, encode"] = clock.lap() - seconds["project"]
    return seconds


class _Clock:
    def __init__(self):
        self._last = time.process_time()

    def lap(self) -> float:
        """Seconds of this process since the last."""
        now = time.process_time()
        self._last, before = now, self._last
        return now - before


def _itk(python: Path, cts: list[Path], work: Path) -> float:
    """CPU seconds a CT of ITK's projector, called as DRR-RATE called it: a process a file, its start not counted."""
    seconds = []
    for path in cts:
        command = [str(python), str(ITK_SCRIPT), str(path), str(work / f"{path.name}.png")]
        told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        seconds.append(float(told.splitlines()[-1]))
    return sum(seconds) / len(seconds)


def table(result: dict) -> str:
    """The result for people."""
    lines = [f"{' x '.join(map(str, result['voxels']))} voxels, {result['cts']} CTs"]
    lines += [f"  {name:18} {seconds:7.2f} s" for name, seconds in result["stations_s"].items()]
    lines.append(f"  a CT {result['ct_s']:.2f} s: {result['cts_per_minute_and_core']:.1f} a minute and core")
    one, two = (result["whole_s"][key] for key in ("1", "2"))
    lines.append(
        f"  all, workers' start included: {one:.1f} s with one worker, {two:.1f} s with two ({one / two:.2f} x)"
    )
    lines.append(f"  a worker's memory at its peak: {result['worker_gib']:.2f} GiB")
    if "itk_s" in result:
        lines.append(f"  ITK's projector, a CT: {result['itk_s']:.2f} s ({result['itk_s'] / result['ct_s']:.1f} x)")
    return "\n".join(lines)
