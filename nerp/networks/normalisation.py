"""Normalisation that does not look across the batch."""

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
