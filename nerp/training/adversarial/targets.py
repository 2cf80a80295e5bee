"""What a rendered image is held to, pixel by pixel: an image of the same CT by the same camera."""

from __future__ import annotations

import torch
from torch import Tensor

from nerp.camera import Camera
from nerp.physics.film import Film, film
from nerp.physics.settings import Physics
from nerp.physics.simulate import Setup, Simulator
from nerp.training.adversarial.training_volumes import TrainingVolume
from nerp.volume import WATER_PER_MM, Volume


class PhysicalImages:
    """A CT's radiographs by the primary of a whole spectrum, as developed film: what `loss.l1_target=physics` asks for.

    Scatter, which takes a second a view on a CPU, noise and the panel's bad pixels are left out: the beam, the
    materials and the film are those of mode `physics` with its defaults. The CT's table is taken away, and nothing is
    added at its ends: the image shows what the mapper is given.

    Args:
        volume:  on the mapper's grid.
        device:  where it is projected.
        backend: of the projection.
    """

    def __init__(self, volume: TrainingVolume, device: torch.device, backend: str):
        setup = Setup(physics=Physics(scatter="none", noise=False, extended_mm=0.0))
        self._simulator = Simulator(_hu(volume.attenuation), setup, device=device, backend=backend)

    @torch.no_grad()
    def __call__(self, camera: Camera) -> Tensor:
        """(B, 1, H, W) display images of B views, 0 to 1, bone bright."""
        signal = self._simulator.expose(camera).signal.float()
        sizes = camera.pixel_mm.tolist()
        films = [film(one[None], Film(), (rows, columns)) for one, (rows, columns) in zip(signal, sizes, strict=True)]
        return torch.cat(films)


def _hu(attenuation: Volume) -> Volume:
    """HU of a volume in 1/mm, none below -1000."""
    return Volume((attenuation.values.cpu() / WATER_PER_MM - 1.0) * 1000.0, attenuation.affine, "hu")
