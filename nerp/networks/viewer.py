"""The viewer: marches a camera's rays through the mapper's fields."""

from __future__ import annotations

from torch import Tensor, nn

from nerp.camera import Camera
from nerp.errors import ConfigError
from nerp.volume import Fields

OPACITIES = {"extinction": "per_mm", "per_sample": "per_sample"}


class Viewer(nn.Module):
    """Renders fields by emission and absorption; it has no weights.

    Args:
        n_samples: samples along each ray.
        opacity:   `extinction`, 1/mm, so that the image depends on neither the samples nor the crop; or
                   `per_sample`, the original reading: the field is the alpha of a sample, whatever its length.
        backend:   of the projection: `auto`, `reference`, `cpu` or `cuda`.

    Source: Huy & Quan, *Neural Radiance Projection* (the viewer).

    Raises:
        ConfigError: no such `opacity`.
    """

    def __init__(self, n_samples: int = 512, opacity: str = "extinction", backend: str = "auto"):
        super().__init__()
        if opacity not in OPACITIES:
            raise ConfigError(f"viewer opacity is '{opacity}'; expected one of {', '.join(OPACITIES)}")
        self.n_samples = n_samples
        self.opacity = opacity
        self.backend = backend

    def forward(self, fields: Fields, camera: Camera) -> Tensor:
        """Intensities at the detector, not scaled for display.

        Args:
            fields: of F volumes, (F, D, H, W) each.
            camera: of B views, a multiple of F; the views of one volume are contiguous.

        Returns:
            (B, 1, H, W) float32, unitless, >= 0. Differentiable in both fields and in the camera.
        """
        from nerp.projection import march

        opacity_is = OPACITIES[self.opacity]
        return march(fields, camera, self.n_samples, opacity_is=opacity_is, backend=self.backend)
