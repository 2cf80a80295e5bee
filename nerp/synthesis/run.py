"""A trained run as something that renders: its averaged mapper, its viewer, and the hash of its weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from nerp.camera import Camera, CameraDistribution
from nerp.config import load_config
from nerp.data.ct import mapper_grid, window
from nerp.networks import Viewer
from nerp.networks.generator_file import Generator, load_generator
from nerp.synthesis.matching import sha256
from nerp.volume import Fields, Volume

WEIGHTS, CONFIG = "generator.safetensors", "config.yaml"


@dataclass(frozen=True)
class Run:
    """What a training left for rendering.

    Args:
        generator:      mapper, viewer, and how a CT must come to them.
        weights_sha256: of the file it was read from; its header holds every setting too.
    """

    generator: Generator
    weights_sha256: str

    def fields(self, ct: Volume, device: torch.device) -> Fields:
        """What the mapper makes of a CT, on the mapper's own grid.

        Args:
            ct: `(1, D, H, W)` HU on any grid.
        """
        made = self.generator
        grid = mapper_grid(ct, size=None if made.spacing_mm else made.size, spacing_mm=made.spacing_mm)
        ct01 = window(grid.values, made.window_hu)[None].to(device)
        return made.mapper.to(device)(ct01, grid.affine)

    def view(self, fields: Fields, camera: Camera, *, backend: str) -> Tensor:
        """(B, 1, H, W) radiographs, not scaled for display."""
        viewer = self.generator.viewer
        return Viewer(viewer.n_samples, viewer.opacity, backend)(fields, camera)


def load_run(folder: str | Path) -> Run:
    """The generator of RUN.

    Raises:
        CheckpointError: no generator there, or a damaged one.
    """
    generator = load_generator(folder)
    path = Path(folder)
    return Run(generator, sha256(path / WEIGHTS if path.is_dir() else path))


def run_settings(folder: str | Path) -> dict:
    """The settings that pairs of a run take from it unless told otherwise: `shape` and `cameras`.

    Raises:
        CheckpointError, ConfigError: no generator or no readable configuration there.
    """
    shape, camera = load_generator(folder).shape, load_config(Path(folder) / CONFIG).camera
    cameras = CameraDistribution(
        yaw_deg=tuple(camera.yaw_deg),
        pitch_deg=tuple(camera.pitch_deg),
        roll_deg=tuple(camera.roll_deg),
        shift_mm=tuple(camera.shift_mm),
        source_detector_mm=None if camera.sdd_mm is None else tuple(camera.sdd_mm),
        field_scale=tuple(camera.field_of_view),
    )
    return {"shape": shape, "cameras": cameras}
