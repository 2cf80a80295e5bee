"""A trained run as something that renders: its mapper's averaged weights and the settings they were trained with."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from nerp.camera import Camera
from nerp.config import Config, load_config
from nerp.data.ct import mapper_grid, window
from nerp.errors import CheckpointError
from nerp.networks import Mapper, Viewer
from nerp.synthesis.matching import sha256
from nerp.volume import Fields, Volume

WEIGHTS, CONFIG = "generator.safetensors", "config.yaml"


class Generator:
    """Mapper and viewer of a run.

    Args:
        mapper: with the run's weights.
        config: the run's configuration.
        weights_sha256, config_sha256: of the files they were read from.
    """

    def __init__(self, mapper: Mapper, config: Config, *, weights_sha256: str, config_sha256: str):
        self.mapper, self.config = mapper.eval(), config
        self.weights_sha256, self.config_sha256 = weights_sha256, config_sha256

    def fields(self, ct: Volume, device: torch.device) -> Fields:
        """What the mapper makes of a CT, on the mapper's own grid.

        Args:
            ct: `(1, D, H, W)` HU on any grid.
        """
        data = self.config.data
        grid = mapper_grid(ct, size=None if data.spacing_mm else data.size, spacing_mm=data.spacing_mm)
        ct01 = window(grid.values, data.window_hu)[None].to(device)
        return self.mapper.to(device)(ct01, grid.affine)

    def view(self, fields: Fields, camera: Camera, *, backend: str) -> Tensor:
        """(B, 1, H, W) radiographs, not scaled for display."""
        viewer = Viewer(self.config.viewer.n_samples, self.config.viewer.opacity, backend)
        return viewer(fields, camera)


def load_generator(run: str | Path) -> Generator:
    """The generator of RUN.

    Raises:
        CheckpointError: no finished weights there, or weights that do not fit the run's configuration.
        ConfigError: the configuration cannot be read.
    """
    run = Path(run)
    for name in (CONFIG, WEIGHTS):
        if not (run / name).is_file():
            raise CheckpointError(f"{run} holds no {name}; expected a folder that nerp train wrote, let it train first")
    config = load_config(run / CONFIG)
    mapper = Mapper(**asdict(config.mapper))
    _load_weights(mapper, run / WEIGHTS)
    return Generator(mapper, config, weights_sha256=sha256(run / WEIGHTS), config_sha256=sha256(run / CONFIG))


def _load_weights(mapper: Mapper, path: Path) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        mapper.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise CheckpointError(f"{path} does not fit its run's mapper ({reason}); train again or restore it") from error
