"""Every setting of a training run: one commented tree of defaults, read with a YAML of differences.

The dataclasses below are the documentation of the keys. A file of `configs/` states only what
differs from them; `key=value` overrides come last. A key that does not exist, a wrong type and a
number out of range each end in one clear line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from nerp.config.reading import merge, parse_override, preset_path, read_layer
from nerp.errors import ConfigError
from nerp.files import write_text

if TYPE_CHECKING:
    from nerp.camera import CameraDistribution

_INFINITY = float("inf")


def _number(default: Any, low: float = -_INFINITY, high: float = _INFINITY) -> Any:
    """A field whose value, or each of whose values, lies in [low, high]."""
    metadata = {"low": low, "high": high}
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata={**metadata, "length": len(default)})
    return field(default=default, metadata=metadata)


def _bounds(low: float, high: float) -> Any:
    """A field of two numbers in [low, high], or none."""
    return field(default=None, metadata={"low": low, "high": high, "length": 2})


def _choice(default: str, *others: str) -> Any:
    return field(default=default, metadata={"choices": (default, *others)})


@dataclass
class DataConfig:
    ct_dir: str | None = None  # folder of CTs; none: phantoms are made in run_dir/data
    ct_pattern: str = "*"  # names of the files, or of the DICOM folders, to take from it and below
    labels_dir: str | None = None  # folder of label volumes named as the CTs; training does not read them
    radiographs_dir: str | None = None  # folder of real radiographs; none: stand-ins are made in run_dir/data
    size: int = _number(
        128, 16, 1024
    )  # voxels, a multiple of 16, along the longest side of the mapper's isotropic grid
    spacing_mm: float | None = _number(None, 0.1, 50.0)  # fixes the grid's spacing instead of its size
    window_hu: list[float] = _number([-1000.0, 1500.0], -32768.0, 32768.0)  # HU carried to 0 and to 1
    cached_volumes: int = _number(16, 1, 100_000)  # CTs kept in memory on the mapper's grid
    cache_dir: str | None = None  # folder that keeps resampled CTs across runs; none: read the files again


@dataclass
class PhantomConfig:
    count: int = _number(8, 1, 10_000)  # phantoms that play the CTs where data.ct_dir is none
    seed: int = _number(0, 0)
    spacing_mm: float = _number(4.0, 0.5, 10.0)
    stand_ins: int = _number(24, 1, 100_000)  # other phantoms that play the radiographs where radiographs_dir is none


@dataclass
class MapperConfig:
    arch: str = _choice("vnet", "unet")  # MONAI's V-Net, or a light U-Net for CPU
    channels: int = _number(8, 2, 256)  # width of the `unet`'s first level; the V-Net's is fixed
    opacity_max_per_mm: float = _number(0.0143, 1e-6, 1.0)  # 1 % in 360/512 mm; in `per_sample` mode a bare alpha
    residual: bool = True  # ours, not the paper's: the network learns a change of the windowed CT


@dataclass
class ViewerConfig:
    n_samples: int = _number(512, 2, 8192)  # along each ray
    shape: list[int] = _number([256, 256], 8, 4096)  # rows, columns of every image
    opacity: str = _choice("extinction", "per_sample")  # per mm, or the original bare alpha of each sample


@dataclass
class CameraConfig:
    view: str = _choice("pa", "ap", "lateral", "oblique")
    angle_deg: float = _number(0.0, -90.0, 90.0)  # of the oblique view
    yaw_deg: list[float] = _number([-10.0, 10.0], -180.0, 180.0)  # about the superior axis
    pitch_deg: list[float] = _number([-5.0, 5.0], -90.0, 90.0)  # about the right axis
    roll_deg: list[float] = _number([-3.0, 3.0], -180.0, 180.0)  # about the beam
    shift_mm: list[float] = _number([-10.0, 10.0], -1000.0, 1000.0)  # of the film, along its rows and columns
    sdd_mm: list[float] | None = _bounds(100.0, 20_000.0)  # source to detector; none: the view's own
    field_of_view: list[float] = _number([0.95, 1.1], 0.2, 5.0)  # detector size, times the one fitted to the chest

    def distribution(self) -> CameraDistribution:
        """The cameras that these ranges draw around a base camera."""
        from nerp.camera import CameraDistribution  # torch stays unloaded where settings are only read

        return CameraDistribution(
            yaw_deg=tuple(self.yaw_deg),
            pitch_deg=tuple(self.pitch_deg),
            roll_deg=tuple(self.roll_deg),
            shift_mm=tuple(self.shift_mm),
            source_detector_mm=None if self.sdd_mm is None else tuple(self.sdd_mm),
            field_scale=tuple(self.field_of_view),
        )


@dataclass
class DiscriminatorConfig:
    encoder: str = _choice("resnet18", "resnet34")  # never pretrained
    depth: int = _number(5, 3, 5)  # halvings of the image
    channels: int = _number(16, 4, 256)  # width of the decoder's last level, doubled at each level below
    zoom: float = _number(0.1, 0.0, 0.5)  # random zoom of what it sees, real and rendered alike
    shift: float = _number(0.05, 0.0, 0.5)  # random shift likewise, as a part of the image


@dataclass
class LossConfig:
    form: str = _choice("softplus", "log", "hinge")  # of the adversarial loss
    adversarial: float = _number(1.0, 0.0)  # weight of the generator's adversarial term
    l1: float = _number(1.0, 0.0)  # the paper's lambda: VRR to the DRR of the same camera, display images
    tv: float = _number(0.0, 0.0)  # total variation of the opacity
    matter_l1: float = _number(0.0, 0.0)  # matter to the windowed CT, voxel by voxel
    r1: float = _number(0.0, 0.0)  # gradient penalty on real images
    r1_every: int = _number(4, 1)  # steps between two penalties; their weight is scaled to match


@dataclass
class OptimizerConfig:
    lr: float = _number(2e-4, 0.0, 1.0)  # of the mapper
    discriminator_lr: float = _number(2e-4, 0.0, 1.0)
    betas: list[float] = _number([0.5, 0.999], 0.0, 0.999999)
    weight_decay: float = _number(0.0, 0.0, 1.0)
    schedule: str = _choice("constant", "cosine")
    period_steps: int = _number(20_000, 2)  # of the cosine: down and up again
    warmup_steps: int = _number(0, 0)  # linear rise of both rates from 0
    max_grad_norm: float = _number(100.0, 1e-6)  # of each network; longer gradients are shortened to it


@dataclass
class TrainerConfig:
    steps: int = _number(100_000, 1)  # may grow when a finished run is continued
    volumes_per_step: int = _number(1, 1, 1024)  # CTs mapped in a step, per process
    views_per_volume: int = _number(4, 1, 1024)  # cameras each of them serves
    ema_decay: float = _number(0.999, 0.0, 1.0)  # of the averaged mapper that samples and synthesis use
    log_every: int = _number(10, 1)  # steps between lines of metrics.jsonl
    sample_every: int = _number(1000, 1)  # steps between pictures in samples/
    sample_columns: int = _number(4, 1, 16)  # CTs in such a picture
    checkpoint_every: int = _number(1000, 1)  # steps between checkpoints; the last two are kept


@dataclass
class Config:
    seed: int = _number(0, 0)
    run_dir: str = "runs/nerp"
    device: str = _choice("auto", "cpu", "cuda")
    devices: int = _number(1, 1, 1024)  # processes on this machine
    nodes: int = _number(1, 1, 1024)  # machines
    precision: str = _choice("32-true", "bf16-mixed")  # of the networks; rays are always float32
    backend: str = _choice("auto", "reference", "cpu", "cuda")  # of the projection
    data: DataConfig = field(default_factory=DataConfig)
    phantom: PhantomConfig = field(default_factory=PhantomConfig)
    mapper: MapperConfig = field(default_factory=MapperConfig)
    viewer: ViewerConfig = field(default_factory=ViewerConfig)
    camera: CameraConfig = field(default_factory=CameraConfig)
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)


def load_config(source: str | Path | None = None, overrides: Sequence[str] = ()) -> Config:
    """The defaults, changed by a YAML file and then by `key=value` overrides.

    Args:
        source:    a YAML file, the name of a preset such as `demo`, or None for the defaults alone.
        overrides: such as `["trainer.steps=100", "viewer.shape=[64,64]"]`.

    Returns:
        A `Config` with every value checked.

    Raises:
        ConfigError: no such file or preset; not YAML; an unknown key (the nearest is named); a wrong
            type; a value out of its range; an environment variable that is not set.
    """
    layers = [] if source is None else [read_layer(preset_path(source))]
    config = merge(Config, [*layers, *(parse_override(item) for item in overrides)])
    check(config)
    return config


def save_config(config: Config, path: str | Path) -> None:
    """Write every key of `config` as YAML that `load_config` reads, whole or not at all."""
    write_text(path, yaml.safe_dump(asdict(config), sort_keys=False))


def flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    """`{"trainer.steps": 100, …}`: every leaf of a tree of dataclasses under its dotted name."""
    flat = {}
    for item in fields(config):
        value, name = getattr(config, item.name), f"{prefix}{item.name}"
        flat.update(flatten(value, f"{name}.") if is_dataclass(value) else {name: value})
    return flat


def check(config: Config) -> None:
    """Refuse values out of range.

    Raises:
        ConfigError: names the key, the value found and what is allowed.
    """
    _check_section(config, "")
    for name in ("yaw_deg", "pitch_deg", "roll_deg", "shift_mm", "sdd_mm", "field_of_view"):
        bounds = getattr(config.camera, name)
        if bounds is not None and bounds[0] > bounds[1]:
            raise ConfigError(f"camera.{name} is {bounds}; expected the lower bound first")
    low, high = config.data.window_hu
    if low >= high:
        raise ConfigError(f"data.window_hu is [{low}, {high}]; expected two HU, the lower first")
    if config.data.size % 16:
        raise ConfigError(f"data.size is {config.data.size}; expected a multiple of 16, such as 128")


def _check_section(section: Any, prefix: str) -> None:
    for item in fields(section):
        value, name = getattr(section, item.name), f"{prefix}{item.name}"
        if is_dataclass(value):
            _check_section(value, f"{name}.")
        elif value is not None and item.metadata:
            _check_value(value, name, item.metadata)


def _check_value(value: Any, name: str, allowed: Mapping[str, Any]) -> None:
    if "choices" in allowed:
        if value not in allowed["choices"]:
            raise ConfigError(f"{name} is '{value}'; expected one of {', '.join(allowed['choices'])}")
        return
    if "length" in allowed and len(value) != allowed["length"]:
        raise ConfigError(f"{name} is {value}; expected {allowed['length']} numbers, such as {name}=[…, …]")
    for number in value if isinstance(value, list) else [value]:
        if not allowed["low"] <= number <= allowed["high"]:
            raise ConfigError(f"{name} is {number:g}; expected {_interval(allowed['low'], allowed['high'])}")


def _interval(low: float, high: float) -> str:
    return f"a number of at least {low:g}" if high == _INFINITY else f"a number from {low:g} to {high:g}"
