"""The mapper: from a windowed CT to the emission of matter and the attenuation by opacity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from nerp.errors import ConfigError, GeometryError
from nerp.networks.adaptation import remove_dropout, replace_batch_norm
from nerp.volume import Fields, as_affine

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
        checkpointing:      of the V-Net: its blocks are computed again for the gradient instead of being kept: about
                            a third more work, and much less memory. The `unet` is small and keeps all.

    Batch normalisations are exchanged for group normalisations.

    Source: Huy & Quan, *Neural Radiance Projection* (the mapper); Milletari et al. 2016 (V-Net).

    Raises:
        ConfigError: no such `arch`.
    """

    def __init__(
        self,
        arch: str = "vnet",
        channels: int = 8,
        opacity_max_per_mm: float = 0.0143,
        residual: bool = True,
        checkpointing: bool = False,
    ):
        super().__init__()
        if arch not in ARCHITECTURES:
            raise ConfigError(f"mapper arch is '{arch}'; expected one of {', '.join(ARCHITECTURES)}")
        self.opacity_max_per_mm = opacity_max_per_mm
        self.residual = residual
        self._recomputes = checkpointing and arch == "vnet"
        self.side_multiple = 16 if arch == "vnet" else 4
        self.network, last = _vnet() if arch == "vnet" else _light_unet(channels)
        if residual:
            nn.init.zeros_(last.weight)
            nn.init.zeros_(cast(Tensor, last.bias))

    def forward(self, windowed_ct: Tensor, affine: Tensor) -> Fields:
        """The fields of a CT.

        Args:
            windowed_ct: (B, 1, D, H, W) in 0 to 1; sides multiples of 16 (`unet`: of 4).
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
        """`forward` without the affine: matter and opacity, each (B, D, H, W), of a CT (B, 1, D, H, W) in 0 to 1."""
        self._check(windowed_ct)
        recomputes = self._recomputes and torch.is_grad_enabled()
        logits = (_recomputed(self.network, windowed_ct) if recomputes else self.network(windowed_ct)).float()
        if self.residual:
            logits = logits + torch.logit(windowed_ct.float().clamp(_DARKEST, 1.0 - _DARKEST))
        matter, opacity = torch.sigmoid(logits).unbind(dim=1)
        return matter, opacity * self.opacity_max_per_mm

    def fine_fields(self, windowed_ct: Tensor, affine: Tensor, fine: Tensor, fine_affine: Tensor) -> Fields:
        """The fields of a CT on a finer grid: what the network changes is interpolated, the CT keeps its resolution.

        Args:
            windowed_ct: (B, 1, D, H, W), what the network sees, as for `forward`.
            affine:      (4, 4) of its grid.
            fine:        (B, 1, D', H', W) the same CT, windowed, on another grid within the same place.
            fine_affine: (4, 4) of that grid.

        Returns:
            `Fields` on the other grid, as of `forward`. Differentiable in the weights and in both CTs.

        Raises:
            ConfigError:   the network learns no change of the CT (`residual`).
            GeometryError: as `forward`.
        """
        if not self.residual:
            raise ConfigError("viewer.fine_size needs mapper.residual=true: else there is no change to put on its grid")
        self._check(windowed_ct)
        change = _interpolated(self.network(windowed_ct).float(), affine, fine.shape[2:], fine_affine)
        logits = change + torch.logit(fine.float().clamp(_DARKEST, 1.0 - _DARKEST))
        matter, opacity = torch.sigmoid(logits).unbind(dim=1)
        return Fields(matter, opacity * self.opacity_max_per_mm, fine_affine)

    def _check(self, windowed_ct: Tensor) -> None:
        found, multiple = tuple(windowed_ct.shape), self.side_multiple
        if windowed_ct.ndim != 5 or found[1] != 1:
            raise GeometryError(f"mapper got a CT of shape {found}; expected (B, 1, D, H, W)")
        if any(side % multiple for side in found[2:]):
            fits = tuple(-(-side // multiple) * multiple for side in found[2:])
            raise GeometryError(
                f"mapper got a CT of {found[2:]} voxels; expected sides that are multiples of {multiple}: pad to {fits}"
            )


def _interpolated(values: Tensor, affine: Tensor, shape: Sequence[int], onto: Tensor) -> Tensor:
    """Values (B, C, D, H, W) at the voxels of another grid, trilinear, held constant beyond the outermost voxels.

    Args:
        values: on the grid of `affine`.
        affine: (4, 4) float64.
        shape:  of the other grid, (D', H', W').
        onto:   (4, 4) float64 of the other grid.
    """
    index = torch.linalg.inv(as_affine(affine)) @ as_affine(onto)
    size = torch.tensor(values.shape[2:], dtype=torch.float64, device="cpu")
    others = torch.tensor(list(shape), dtype=torch.float64, device="cpu")
    # both grids in -1 to 1 from face to face, in the order (w, h, d) of functional.affine_grid
    scale = index[:3, :3] * others / size[:, None]
    middle = (index[:3, :3] @ ((others - 1) / 2) + index[:3, 3] + 0.5) * 2 / size - 1
    theta = torch.cat([scale.flip(0, 1), middle.flip(0)[:, None]], dim=1).to(values)
    grid = functional.affine_grid(
        theta.expand(len(values), 3, 4), [len(values), values.shape[1], *shape], align_corners=False
    )
    return functional.grid_sample(values, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _vnet() -> tuple[nn.Module, nn.Conv3d]:
    """MONAI's V-Net, and its last layer."""
    from monai.networks.nets import VNet  # costs seconds

    network = VNet(out_channels=2, dropout_prob_down=0.0, dropout_prob_up=(0.0, 0.0))
    return remove_dropout(replace_batch_norm(network)), cast(nn.Conv3d, network.out_tr.conv2)


def _recomputed(vnet: nn.Module, windowed_ct: Tensor) -> Tensor:
    """What a V-Net makes of a CT, each block without its inner values, which are computed again for the gradient.

    Source: gradient checkpointing, Chen et al. 2016.
    """

    def block(name: str, *given: Tensor) -> Tensor:
        return checkpoint(getattr(vnet, name), *given, use_reentrant=False)

    levels = [block("in_tr", windowed_ct)]
    for width in (32, 64, 128, 256):
        levels.append(block(f"down_tr{width}", levels[-1]))
    deepest = levels.pop()
    for width in (256, 128, 64, 32):
        deepest = block(f"up_tr{width}", deepest, levels.pop())
    return block("out_tr", deepest)


def _light_unet(channels: int) -> tuple[nn.Module, nn.Conv3d]:
    """The light U-Net, and its last layer."""
    network = _LightUNet(channels)
    return network, network.leave


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
