"""The fabric that carries a training: its device, its precision and its processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from nerp.devices import choose_device
from nerp.errors import ConfigError

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def launch(device: str = "auto", precision: str = "32-true", *, devices: int = 1, nodes: int = 1) -> Fabric:
    """A launched Lightning Fabric; on several devices the script starts anew on each.

    Args:
        device:    `auto` takes a GPU where there is one, `cpu` or `cuda`.
        precision: of the networks: `32-true`, or `bf16-mixed` on a GPU.
        devices:   processes on this machine.
        nodes:     machines.

    Raises:
        UsageError: no GPU where one is asked for, too few of them, bfloat16 without one; see `accelerator`.
    """
    from lightning_fabric import Fabric

    asked: Any = precision  # Fabric types it as a long list of literals
    fabric = Fabric(
        accelerator=accelerator(device, precision, devices=devices),
        devices=devices,
        num_nodes=nodes,
        strategy="ddp" if devices * nodes > 1 else "auto",
        precision=asked,
    )
    fabric.launch()
    return fabric


def accelerator(device: str, precision: str = "32-true", *, devices: int = 1) -> str:
    """`cuda` or `cpu`, whichever is asked for and there.

    Args:
        device:    `auto`, `cpu` or `cuda`.
        precision: of the networks.
        devices:   how many are needed.

    Raises:
        UsageError:  no GPU where one is asked for.
        ConfigError: too few of them, or a precision that needs one.
    """
    if choose_device(device).type == "cpu":
        # on CPUs, weight gradients of deep 3-D convolutions in bfloat16 come back partly as unwritten memory
        if precision != "32-true":
            raise ConfigError(f"precision is {precision}, which needs a GPU; on a CPU give precision=32-true")
        return "cpu"
    found = torch.cuda.device_count()
    if devices > found:
        raise ConfigError(f"devices is {devices}, but torch finds {found} GPU(s) here; ask for no more")
    return "cuda"
