"""From settings to a launched Fabric; what cannot be trained is said before any data is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from nerp.config import Config
from nerp.errors import ConfigError

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def launch(config: Config) -> Fabric:
    """The fabric that carries devices, precision and processes; on several devices the script starts anew on each.

    Raises:
        ConfigError: images that the discriminator cannot halve, no loss, a GPU or more of them asked for
            than there are, bfloat16 without a GPU.
    """
    from lightning_fabric import Fabric

    check_trainable(config)
    fabric = Fabric(
        accelerator=accelerator(config),
        devices=config.devices,
        num_nodes=config.nodes,
        strategy="ddp" if config.devices * config.nodes > 1 else "auto",
        precision=config.precision,
    )
    fabric.launch()
    return fabric


def check_trainable(config: Config) -> None:
    """Refuse settings that fit a rendering but no training (`ConfigError`)."""
    depth, shape, loss = config.discriminator.depth, config.viewer.shape, config.loss
    if any(side % 2**depth for side in shape):
        raise ConfigError(
            f"viewer.shape is {list(shape)}; expected multiples of {2**depth}, since discriminator.depth is {depth}:"
            " change either"
        )
    if not any((loss.adversarial, loss.l1, loss.tv, loss.matter_l1)):
        raise ConfigError("every loss of the mapper has weight 0; expected at least one above, such as loss.l1=1")


def accelerator(config: Config) -> str:
    """`cuda` or `cpu`, whichever is asked for and there; `ConfigError` for what cannot be had."""
    found = torch.cuda.device_count()
    if config.device == "cuda" and not found:
        raise ConfigError("device is cuda, but torch finds no GPU here; give device=cpu, or install torch for CUDA")
    if config.device == "cpu" or not found:
        # on CPUs, weight gradients of deep 3-D convolutions in bfloat16 come back partly as unwritten memory
        if config.precision != "32-true":
            raise ConfigError(f"precision is {config.precision}, which needs a GPU; on a CPU give precision=32-true")
        return "cpu"
    if config.devices > found:
        raise ConfigError(f"devices is {config.devices}, but torch finds {found} GPU(s) here; ask for no more")
    return "cuda"
