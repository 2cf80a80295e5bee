"""A trained run as something that renders: its averaged mapper, its viewer, and the hashes of both files behind it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from nerp.anatomy.extension import extended
from nerp.camera import Camera
from nerp.data.ct import mapper_grid, window
from nerp.errors import CheckpointError
from nerp.files import sha256
from nerp.networks.mapper import Mapper
from nerp.networks.viewer import Viewer
from nerp.runs import RunFolder
from nerp.training.checkpoint import load_generator as read_weights
from nerp.training.config import Config, load_config
from nerp.volume import Fields, Volume


@dataclass(frozen=True)
class TrainedGenerator:
    """What a training left for rendering.

    Args:
        mapper:         with the averaged weights, in evaluation mode.
        config:         the settings it was trained with.
        weights_sha256: of the weights' file.
    """

    mapper: Mapper
    config: Config
    weights_sha256: str

    @property
    def config_sha256(self) -> str:
        """Hash of the settings that decide what is rendered; a longer training or another folder changes nothing."""
        data, viewer = self.config.data, {**asdict(self.config.viewer), "shape": list(self.config.viewer.shape)}
        if viewer["fine_size"] is None:
            del viewer["fine_size"]
        grid = [data.size, data.spacing_mm, list(data.window_hu)]
        mapper = asdict(self.config.mapper)
        del mapper["checkpointing"]  # decides how much memory training takes, and nothing else
        grid += [data.extend_mm] if data.extend_mm else []
        deciding = {"mapper": mapper, "viewer": viewer, "grid": grid}
        return hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()

    def fields(self, ct: Volume, device: torch.device) -> Fields:
        """What the mapper makes of a CT: matter and opacity (1, D, H, W), on its own grid or on that of `fine_size`.

        Args:
            ct:     `(1, D, H, W)` HU on any grid.
            device: where the mapper runs and the fields stay.
        """
        data = self.config.data
        longer = extended(ct, data.extend_mm)
        grid = mapper_grid(longer, size=None if data.spacing_mm else data.size, spacing_mm=data.spacing_mm)
        windowed_ct = window(grid.values, data.window_hu)[None].to(device)
        mapper, fine_size = self.mapper.to(device), self.config.viewer.fine_size
        if fine_size is None:
            return mapper(windowed_ct, grid.affine)
        fine = mapper_grid(longer, size=fine_size)
        finely_windowed = window(fine.values, data.window_hu)[None].to(device)
        return mapper.fine_fields(windowed_ct, grid.affine, finely_windowed, fine.affine)

    def view(self, fields: Fields, camera: Camera, *, backend: str) -> Tensor:
        """(B, 1, H, W) radiographs, not scaled for display.

        Args:
            fields:  from `fields`.
            camera:  B views.
            backend: of the projection.
        """
        viewer = self.config.viewer
        finer = 1 if viewer.fine_size is None else viewer.fine_size / self.config.data.size
        return Viewer(round(viewer.n_samples * max(1, finer)), viewer.opacity, backend)(fields, camera)


def load_generator(folder: str | Path) -> TrainedGenerator:
    """The generator of RUN: the mapper that its training chose as the best, where it chose one, else the last.

    Raises:
        CheckpointError: no generator there, or weights that do not fit the run's settings.
        ConfigError: the settings cannot be read.
    """
    run = RunFolder(Path(folder))
    for path in (run.config, run.best):
        if not path.is_file():
            raise CheckpointError(f"{folder} holds no {path.name}; expected a run folder: train one with `nerp train`")
    config = load_config(run.config, warn=False)
    mapper = Mapper(**asdict(config.mapper))
    _load_weights(mapper, run.best)
    return TrainedGenerator(mapper.eval().requires_grad_(False), config, sha256(run.best))


def _load_weights(mapper: Mapper, path: Path) -> None:
    weights, _ = read_weights(path)
    try:
        mapper.load_state_dict(weights)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:120]
        raise CheckpointError(f"{path} does not fit its run's mapper ({reason}); train it again") from error
