"""The trained generator on disk: weights in safetensors, and in its header all that rendering needs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nerp.errors import CheckpointError
from nerp.files import replacing
from nerp.networks.mapper import Mapper
from nerp.networks.viewer import Viewer

FORMAT = "nerp-generator-1"


@dataclass(frozen=True)
class Generator:
    """A mapper and a viewer, and how the CT must come to them.

    Args:
        mapper:        in evaluation mode when loaded.
        viewer:        renders the mapper's fields.
        size:          voxels along the longest side of the mapper's grid, where `spacing_mm` is None.
        spacing_mm:    of the mapper's grid, or None.
        window_hu:     HU carried to 0 and to 1.
        shape:         (H, W) it was trained at.
        step:          training steps behind it.
        config_sha256: of the settings it was trained with.
    """

    mapper: Mapper
    viewer: Viewer
    size: int
    spacing_mm: float | None
    window_hu: tuple[float, float]
    shape: tuple[int, int]
    step: int = 0
    config_sha256: str = ""


def save_generator(path: str | Path, generator: Generator) -> None:
    """Write the mapper's weights and the generator's settings, whole or not at all."""
    from safetensors.torch import save_file

    facts = {
        "mapper": generator.mapper.settings,
        "viewer": {"n_samples": generator.viewer.n_samples, "opacity": generator.viewer.opacity},
        "size": generator.size,
        "spacing_mm": generator.spacing_mm,
        "window_hu": list(generator.window_hu),
        "shape": list(generator.shape),
        "step": generator.step,
        "config_sha256": generator.config_sha256,
    }
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in generator.mapper.state_dict().items()}
    with replacing(path) as temporary:
        save_file(weights, temporary, {"format": FORMAT, "generator": json.dumps(facts)})


def load_generator(path: str | Path, *, backend: str = "auto") -> Generator:
    """Read what `save_generator` wrote, on the CPU, ready to render.

    Args:
        path:    `generator.safetensors`, or the folder of the run that holds it.
        backend: of the projection.

    Raises:
        CheckpointError: no such file, damaged, or not a generator of this format.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path) / "generator.safetensors" if Path(path).is_dir() else Path(path)
    if not path.is_file():
        raise CheckpointError(f"no generator at {path}; train one with `nerp train`, or give its run folder")
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"generator {path} is damaged ({str(error).splitlines()[0]}); train it again") from error
    if metadata.get("format") != FORMAT:
        raise CheckpointError(f"{path} has format {metadata.get('format')!r}; expected a generator of {FORMAT!r}")
    return _assemble(json.loads(metadata["generator"]), weights, backend)


def _assemble(facts: dict[str, Any], weights: dict[str, Any], backend: str) -> Generator:
    mapper = Mapper(**facts["mapper"])
    mapper.load_state_dict(weights)
    viewer = Viewer(**facts["viewer"], backend=backend)
    window_hu, shape = tuple(facts["window_hu"]), tuple(facts["shape"])
    names = ("size", "spacing_mm", "step", "config_sha256")
    rest = {name: facts[name] for name in names}
    return Generator(mapper.eval().requires_grad_(False), viewer, window_hu=window_hu, shape=shape, **rest)
