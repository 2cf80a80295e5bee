"""Seconds that a step of adversarial training spends at each station, and memory at its peak."""

import platform
import resource
import time
from collections.abc import Callable
from functools import wraps
from statistics import median
from typing import Any

import torch

from nerp.data.ct import mapper_grid
from nerp.phantom import thorax
from nerp.training.adversarial import AdversarialTrainer, build_networks
from nerp.training.adversarial.parts import Recipe, Sources
from nerp.training.adversarial.training_volumes import TrainingVolumes
from nerp.training.config import Config, load_config
from nerp.training.fabric import launch

STATIONS = ("mapper", "viewer", "DRR", "discriminators", "backward", "rest")


class Clock:
    """Adds up the seconds of calls by the station that they belong to.

    Args:
        device: whose work is waited for.
    """

    def __init__(self, device: torch.device):
        self.device = device
        self.seconds = dict.fromkeys(STATIONS, 0.0)

    def now(self) -> float:
        """Seconds, once the device has done all that it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def watch(self, owner: Any, name: str, station: str) -> None:
        """Count the calls of an object's method for a station."""
        call: Callable = getattr(owner, name)

        @wraps(call)
        def timed(*args: Any, **kwargs: Any) -> Any:
            start = self.now()
            made = call(*args, **kwargs)
            self.seconds[station] += self.now() - start
            return made

        setattr(owner, name, timed)


def measure(source: str, overrides: list[str], *, steps: int) -> dict[str, Any]:
    """Medians over some steps, the first of which is not counted: kernels are built in it."""
    config = load_config(source, overrides)
    fabric = launch(config.device, config.precision)
    trainer = _trainer(config, fabric)
    clock = Clock(fabric.device)
    networks = trainer.networks
    clock.watch(networks.mapper, "field_values", "mapper")
    clock.watch(networks.viewer, "forward", "viewer")
    clock.watch(trainer._rendering, "integrals", "DRR")
    for judge in (networks.discriminator, networks.patch_discriminator):
        if judge is not None:
            clock.watch(judge, "forward", "discriminators")
    clock.watch(fabric, "backward", "backward")
    rows = [_step(trainer, clock, step) for step in range(1, steps + 2)][1:]
    seconds = {name: median(row[name] for row in rows) for name in rows[0]}
    return {"config": source, "overrides": overrides, "seconds": seconds, "peak_gb": _peak_gb(fabric.device), **_told()}


def table(result: dict[str, Any]) -> str:
    """A line a station."""
    lines = [f"{name:15} {seconds:8.3f} s" for name, seconds in result["seconds"].items()]
    return "\n".join([*lines, f"{'memory':15} {result['peak_gb']:8.2f} GB at the peak", result["machine"]])


def _step(trainer: AdversarialTrainer, clock: Clock, step: int) -> dict[str, float]:
    clock.seconds = dict.fromkeys(STATIONS, 0.0)
    start = clock.now()
    trainer.step(step)
    whole = clock.now() - start
    clock.seconds["rest"] = whole - sum(clock.seconds.values())
    return {**clock.seconds, "step": whole}


def _trainer(config: Config, fabric: Any) -> AdversarialTrainer:
    """On one phantom and on noise for radiographs: neither changes what a step costs."""
    size = None if config.data.spacing_mm else config.data.size
    grid = mapper_grid(thorax(0, spacing_mm=3.0).ct, size=size, spacing_mm=config.data.spacing_mm)
    shape, window_hu = config.viewer.shape, config.data.window_hu
    volumes = TrainingVolumes([grid], config.camera, shape=shape, window_hu=window_hu, n_kept=1)
    draw = torch.Generator().manual_seed(0)
    radiographs = list(torch.rand(8, 1, *shape, generator=draw, dtype=torch.float32, device="cpu"))
    parts = config.mapper, config.viewer, config.discriminator
    networks = build_networks(*parts, seed=config.seed, backend=config.backend)
    recipe = Recipe(config.loss, config.optimizer, config.trainer, config.discriminator)
    sources = Sources(volumes, radiographs, config.camera)
    return AdversarialTrainer(networks, sources, recipe=recipe, seed=config.seed, fabric=fabric)


def _peak_gb(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def _told() -> dict[str, Any]:
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or platform.machine()
    return {"machine": f"{name}, {torch.get_num_threads()} threads, torch {torch.__version__}"}
