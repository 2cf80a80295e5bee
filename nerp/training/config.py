"""Every setting of a training run: the rooms' own settings, composed, read with a YAML of differences.

The rooms' dataclasses are the documentation of the keys. A file of `configs/` states only what differs from their
defaults; `key=value` overrides come last. A key that does not exist, a wrong type and a number out of range each
end in one clear line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nerp.camera import ViewSettings
from nerp.config.reading import read_settings
from nerp.data.settings import DataSettings
from nerp.errors import ConfigError
from nerp.networks.settings import DiscriminatorSettings, MapperSettings, ViewerSettings
from nerp.phantom.settings import PhantomSettings
from nerp.settings import Settings, choice, number, section
from nerp.training.settings import LossSettings, OptimizerSettings, TrainerSettings


@dataclass(frozen=True)
class Config(Settings):
    """A training run.

    Args:
        seed:      of everything random.
        run_dir:   folder of the run.
        device:    `auto` takes a GPU where there is one.
        devices:   processes on this machine.
        nodes:     machines.
        precision: of the networks; rays are always float32.
        backend:   of the projection.
        data, phantom, mapper, viewer, camera, discriminator, loss, optimizer, trainer: the rooms' settings.
    """

    seed: int = number(0, 0)
    run_dir: str = "runs/nerp"
    device: str = choice("auto", "cpu", "cuda")
    devices: int = number(1, 1, 1024)
    nodes: int = number(1, 1, 1024)
    precision: str = choice("32-true", "bf16-mixed")
    backend: str = choice("auto", "reference", "cpu", "cuda")
    data: DataSettings = section(DataSettings)
    phantom: PhantomSettings = section(PhantomSettings)
    mapper: MapperSettings = section(MapperSettings)
    viewer: ViewerSettings = section(ViewerSettings)
    camera: ViewSettings = section(ViewSettings)
    discriminator: DiscriminatorSettings = section(DiscriminatorSettings)
    loss: LossSettings = section(LossSettings)
    optimizer: OptimizerSettings = section(OptimizerSettings)
    trainer: TrainerSettings = section(TrainerSettings)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.viewer.fine_size is not None and not self.mapper.residual:
            raise ConfigError("viewer.fine_size needs mapper.residual=true: else there is no change to put on its grid")


def load_config(source: str | Path | None = None, overrides: Sequence[str] = (), *, warn: bool = True) -> Config:
    """The defaults, changed by a YAML file and then by `key=value` overrides.

    Args:
        source:    a YAML file, the name of a preset such as `demo`, or None for the defaults alone.
        overrides: such as `["trainer.steps=100", "viewer.shape=[64,64]"]`.
        warn:      tell of keys that have another name now; a run's own file need not be complained of.

    Returns:
        A `Config` with every value checked.

    Raises:
        ConfigError: no such file or preset; not YAML; an unknown key (the nearest is named); a wrong
            type; a value out of its range; an environment variable that is not set.
    """
    return read_settings(Config, source, overrides, warn=warn)
