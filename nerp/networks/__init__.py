"""Networks with weights, and the viewer that turns their fields into images."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nerp.networks.discriminator import Discriminator
    from nerp.networks.mapper import Mapper
    from nerp.networks.viewer import Viewer

_HOMES = {
    "Mapper": "nerp.networks.mapper",
    "Viewer": "nerp.networks.viewer",
    "Discriminator": "nerp.networks.discriminator",
}

__all__ = ["Discriminator", "Mapper", "Viewer"]


def __getattr__(name: str) -> type:
    if name not in _HOMES:
        raise AttributeError(f"module 'nerp.networks' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
