"""Networks of other packages made fit for batches of one and for exact resuming."""

from __future__ import annotations

from torch import nn


def replace_batch_norm(module: nn.Module) -> nn.Module:
    """Exchange every batch normalisation in `module` for a group normalisation, in place.

    Batches here are of one CT, or of rendered beside real images: statistics over the batch would
    make an image depend on its neighbours, and differ between training and use. Groups are of
    eight channels. Source: group normalisation, Wu & He 2018.
    """
    for name, child in module.named_children():
        if isinstance(child, (nn.BatchNorm2d, nn.BatchNorm3d)):
            channels = child.num_features
            groups = channels // 8 if channels % 8 == 0 else 1
            setattr(module, name, nn.GroupNorm(groups, channels))
        else:
            replace_batch_norm(child)
    return module


def remove_dropout(module: nn.Module) -> nn.Module:
    """Exchange every dropout in `module` for the identity, in place.

    MONAI's V-Net keeps a dropout of 0.5 in its two finest decoder levels whatever it is told.
    """
    for name, child in module.named_children():
        if isinstance(child, nn.modules.dropout._DropoutNd):
            setattr(module, name, nn.Identity())
        else:
            remove_dropout(child)
    return module
