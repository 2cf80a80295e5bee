"""A training run of a second, and how its folder is read, for the tests of training."""

import json
from pathlib import Path

from nerp.training.adversarial import build_networks
from nerp.training.adversarial.sources import open_sources
from nerp.training.checkpoint import latest_checkpoint
from nerp.training.config import load_config


def tiny(run_dir, *overrides):
    """A run of a second: 32-voxel grids, 16 x 16 images."""
    return load_config(
        None,
        [
            f"run_dir={run_dir}",
            "device=cpu",
            "phantom.count=2",
            "phantom.radiographs=3",
            "phantom.spacing_mm=10",
            "data.size=32",
            "mapper.arch=unet",
            "mapper.channels=4",
            "viewer.n_samples=16",
            "viewer.shape=[16,16]",
            "discriminator.depth=3",
            "discriminator.channels=4",
            "trainer.views_per_volume=2",
            "trainer.steps=6",
            "trainer.log_every=1",
            "trainer.checkpoint_every=2",
            *overrides,
        ],
    )


def networks_of(config):
    return build_networks(config.mapper, config.viewer, config.discriminator, seed=config.seed, backend=config.backend)


def sources_of(config):
    return open_sources(config.data, config.camera, shape=config.viewer.shape, made=Path(config.run_dir) / "data")[0]


def state(run_dir):
    return latest_checkpoint(run_dir / "checkpoints")


def metrics(run_dir):
    rows = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def event_steps(run_dir, name="l1"):
    """Steps whose metric TensorBoard shows, a killed run's included."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run_dir / "tensorboard")).Reload()
    return [event.step for event in events.Scalars(name)]
