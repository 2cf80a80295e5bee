"""Settings: their defaults, and how a file and overrides change them."""

from nerp.config.schema import (
    CameraConfig,
    Config,
    DataConfig,
    DiscriminatorConfig,
    LossConfig,
    MapperConfig,
    OptimizerConfig,
    PhantomConfig,
    TrainerConfig,
    ViewerConfig,
    check,
    flatten,
    load_config,
    save_config,
)

__all__ = [
    "CameraConfig",
    "Config",
    "DataConfig",
    "DiscriminatorConfig",
    "LossConfig",
    "MapperConfig",
    "OptimizerConfig",
    "PhantomConfig",
    "TrainerConfig",
    "ViewerConfig",
    "check",
    "flatten",
    "load_config",
    "save_config",
]
