"""The mapper: from a windowed CT to the matter that shines and the opacity that dims."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from nerp.errors import ConfigError, GeometryError
from nerp.networks.adaptation import remove_dropout, replace_batch_norm
from nerp.volume import Fields

ARCHITECTURES = ("vnet", "unet")
_DARKEST = 1e-3
"""Windowed CT values are kept this far from 0 and 1 where they enter as logits."""


class Mapper(nn.Module):
    """Maps a CT to its fields.

    Args:
        arch:               `vnet`, MONAI's V-Net without dropout; or `unet`, a light U-Net for CPU.
        channels:           width of the `unet`'s first level, doubled at each of its two others.
        opacity_max_per_mm: bound of the opacity, 1/mm (a bare alpha where the viewer is `per_sample`).
        residual:           the network learns a change of the CT: the windowed CT is added to both outputs
                            as a logit and the last layer starts at zero, so the untrained fields are
                            matter = CT and opacity = CT * opacity_max_per_mm. Ours, not the paper's.

    Batch normalisations are exchanged for group normalisations.

    Source: Huy & Quan, *Neural Radiance Projection* (the mapper); Milletari et al. 2016 (V-Net).

    Raises:
        ConfigError: no such `arch`.
    """

    def __init__(
        self, arch: str = "vnet", channels: int = 8, opacity_max_per_mm: float = 0.0143, residual: bool = True
    ):
        super().__init__()
        if arch not in ARCHITECTURES:
            raise ConfigError(f"mapper arch is '{arch}'; expected one of {', '.join(ARCHITECTURES)}")
        self.opacity_max_per_mm = opacity_max_per_mm
        self.residual = residual
        self.side_multiple = 16 if arch == "vnet" else 4
        self.network = _vnet() if arch == "vnet" else _LightUNet(channels)
        if residual:
            _start_at_zero(self.network.out_tr.conv2 if arch == "vnet" else self.network.leave)

    def forward(self, windowed_ct: Tensor, affine: Tensor) -> Fields:
        """The fields of a CT.

        Args:
            windowed_ct: (B, 1, D, H, W), 0 to 1; sides multiples of 16 (`unet`: of 4).
            affine:      (4, 4) from voxel index to world mm, given on to the fields.

        Returns:
            `Fields`: matter (B, D, H, W) 0 to 1; opacity (B, D, H, W) 0 to `opacity_max_per_mm`. float32.
            Differentiable in the weights and in the CT.

        Raises:
            GeometryError: wrong shape, or sides that do not fit the network.
        """
        matter, opacity = self.field_values(windowed_ct)
        return Fields(matter, opacity, affine)

    def field_values(self, windowed_ct: Tensor) -> tuple[Tensor, Tensor]:
        """`forward` without the affine: matter and opacity, each (B, D, H, W)."""
        self._check(windowed_ct)
        logits = self.network(windowed_ct).float()
        if self.residual:
            logits = logits + torch.logit(windowed_ct.float().clamp(_DARKEST, 1.0 - _DARKEST))
        matter, opacity = torch.sigmoid(logits).unbind(dim=1)
        return matter, opacity * self.opacity_max_per_mm

    def _check(self, windowed_ct: Tensor) -> None:
        found, multiple = tuple(windowed_ct.shape), self.side_multiple
        if windowed_ct.ndim != 5 or found[1] != 1:
            raise GeometryError(f"mapper got a CT of shape {found}; expected (B, 1, D, H, W)")
        if any(side % multiple for side in found[2:]):
            fits = tuple(-(-side // multiple) * multiple for side in found[2:])
            raise GeometryError(
                f"mapper got a CT of {found[2:]} voxels; expected sides that are multiples of {multiple}: pad to {fits}"
            )


def _vnet() -> nn.Module:
    from monai.networks.nets import VNet  # costs seconds

    network = VNet(out_channels=2, dropout_prob_down=0.0, dropout_prob_up=(0.0, 0.0))
    return remove_dropout(replace_batch_norm(network))


def _start_at_zero(convolution: nn.Module) -> None:
    nn.init.zeros_(convolution.weight)
    nn.init.zeros_(convolution.bias)


class _LightUNet(nn.Module):
    """Three levels, one convolution each way at the finest, additive skips: about a hundredth of the V-Net's work."""

    def __init__(self, channels: int):
        super().__init__()
        fine, middle, coarse = channels, 2 * channels, 4 * channels
        self.enter = _block(1, fine)
        self.down1 = nn.Sequential(_block(fine, middle, stride=2), _block(middle, middle))
        self.down2 = nn.Sequential(_block(middle, coarse, stride=2), _block(coarse, coarse))
        self.narrow2 = nn.Conv3d(coarse, middle, 1)
        self.up2 = _block(middle, middle)
        self.narrow1 = nn.Conv3d(middle, fine, 1)
        self.up1 = _block(fine, fine)
        self.leave = nn.Conv3d(fine, 2, 1)

    def forward(self, windowed_ct: Tensor) -> Tensor:
        fine = self.enter(windowed_ct)
        middle = self.down1(fine)
        coarse = self.down2(middle)
        middle = self.up2(middle + _double(self.narrow2(coarse)))
        fine = self.up1(fine + _double(self.narrow1(middle)))
        return self.leave(fine)


def _block(inputs: int, outputs: int, stride: int = 1) -> nn.Module:
    convolution = nn.Conv3d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
    groups = outputs // 8 if outputs % 8 == 0 else 1
    return nn.Sequential(convolution, nn.GroupNorm(groups, outputs), nn.LeakyReLU(0.2, inplace=True))


def _double(features: Tensor) -> Tensor:
    return functional.interpolate(features, scale_factor=2, mode="nearest")
