"""Checkpoints: tensors and text in safetensors files, each whole or absent, nothing executable."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nerp.devices import single
from nerp.errors import CheckpointError
from nerp.files import replacing

FORMAT = "nerp-checkpoint-1"
GENERATOR_FORMAT = "nerp-generator-1"
_KEPT = 2
_log = logging.getLogger("nerp")

State = dict[str, Tensor]
"""Weights and optimisers' tensors under names such as `mapper/…`, each of its own shape, dtype and device."""


@dataclass(frozen=True)
class Checkpoint:
    """The state of a run after `step` steps.

    Args:
        step:     steps done.
        settings: every dotted config key with its value, and counts of the data.
        tensors:  weights and optimiser states under names such as `mapper/…` and `optimizer/3/exp_avg`.
    """

    step: int
    settings: dict[str, Any]
    tensors: State


def save_checkpoint(folder: str | Path, checkpoint: Checkpoint) -> Path:
    """Write `folder/step-00000100.safetensors` in one piece and keep the last two; returns its path.

    Args:
        folder:     made if absent.
        checkpoint: its tensors of any shape, dtype and device.
    """
    from safetensors.torch import save_file

    path = Path(folder) / f"step-{checkpoint.step:08d}.safetensors"
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.tensors.items()}
    header = json.dumps({"step": checkpoint.step, "settings": checkpoint.settings})
    metadata = {"format": FORMAT, "header": header, "sha256": _digest(header, tensors)}
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata)
    for old in _newest_first(path.parent)[_KEPT:]:
        old.unlink()
    return path


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read one checkpoint and verify the digest of its tensors, step and settings.

    Raises:
        CheckpointError: the file is truncated, altered, or of another kind.
    """
    tensors, metadata = _read(path, "checkpoint", "delete it")
    if metadata.get("format") != FORMAT:
        raise CheckpointError(f"{path} has format {metadata.get('format')!r}; expected a checkpoint of {FORMAT!r}")
    header = metadata.get("header", "")
    if metadata.get("sha256") != _digest(header, tensors):
        raise CheckpointError(f"checkpoint {path} is damaged (its content does not match its digest); delete it")
    return Checkpoint(**json.loads(header), tensors=tensors)


def latest_checkpoint(folder: str | Path) -> Checkpoint | None:
    """The newest checkpoint that can be read, or None where there is none yet.

    A damaged one is passed over with a warning.

    Raises:
        CheckpointError: there are checkpoints, and all are damaged.
    """
    damaged = []
    for path in _newest_first(Path(folder)):
        try:
            return load_checkpoint(path)
        except CheckpointError as error:
            _log.warning("%s; going back to the one before it", str(error).removesuffix("; delete it"))
            damaged.append(path.name)
    if damaged:
        raise CheckpointError(
            f"all {len(damaged)} checkpoints in {folder} are damaged; delete that folder to start from the beginning"
        )
    return None


def save_generator(path: str | Path, mapper: nn.Module, *, step: int, settings: dict[str, Any]) -> None:
    """Write a mapper's weights alone, whole or not at all; the header says what they are and where from.

    Equal weights, step and settings make equal bytes: all of the header is one text, since safetensors
    writes several in any order.

    Args:
        path:     the file.
        mapper:   whose weights are taken.
        step:     steps it was trained for.
        settings: dotted keys and values; those of `mapper.` are written, of all a hash.
    """
    from safetensors.torch import save_file

    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in mapper.state_dict().items()}
    header = {
        "format": GENERATOR_FORMAT,
        "step": step,
        "mapper": {key: value for key, value in settings.items() if key.startswith("mapper.")},
        "settings_sha256": hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest(),
    }
    with replacing(path) as temporary:
        save_file(weights, temporary, {"header": json.dumps(header)})


def load_generator(path: str | Path) -> tuple[State, dict[str, Any]]:
    """The weights that `save_generator` wrote, on the CPU, and its header: format, step, mapper, settings_sha256.

    Raises:
        CheckpointError: the file is missing, damaged, or of another kind or version.
    """
    weights, metadata = _read(path, "generator", "train it again")
    try:
        header = json.loads(metadata.get("header", ""))
    except ValueError:
        header = {}
    found = header.get("format") if isinstance(header, dict) else None
    if found != GENERATOR_FORMAT:
        raise CheckpointError(
            f"{path} has format {found!r}; expected a generator of {GENERATOR_FORMAT!r}, as `nerp train` writes it"
        )
    return weights, header


def check_settings(found: dict[str, Any], expected: dict[str, Any], run_dir: str | Path) -> None:
    """Refuse to continue a run under other settings.

    Args:
        found:    dotted keys and values of the run.
        expected: those asked for now.
        run_dir:  folder of the run, for the message.

    Raises:
        CheckpointError: names the keys that differ, what the run has and what was asked.
    """
    keys = sorted(key for key in {*found, *expected} if found.get(key) != expected.get(key))
    if keys:
        changes = ", ".join(f"{key} ({found.get(key)} in the run, {expected.get(key)} now)" for key in keys)
        raise CheckpointError(
            f"{run_dir} was made with other settings: {changes}; set them back or give another folder"
        )


def pack_module(name: str, module: nn.Module) -> State:
    """Weights and buffers under `name/…`, as they are: shapes, dtypes and devices of the module.

    Args:
        name:   what stands before each key.
        module: whose state is taken.
    """
    return {f"{name}/{key}": tensor for key, tensor in module.state_dict().items()}


def unpack_module(name: str, module: nn.Module, tensors: State) -> None:
    """Put back what `pack_module` took.

    Args:
        name:    as it was given to `pack_module`.
        module:  receives the weights, on its own device.
        tensors: what `pack_module` returned, others beside it allowed.
    """
    module.load_state_dict(_under(name, tensors))


def pack_optimizer(name: str, optimizer: torch.optim.Optimizer) -> State:
    """The state of each parameter under `name/index/…`; the rates are not state, they follow from the step.

    Args:
        name:      what stands before each key.
        optimizer: whose state is taken: tensors of its parameters' shapes, and counts without dimension.
    """
    state = optimizer.state_dict()["state"]
    return {
        f"{name}/{index}/{key}": value if isinstance(value, Tensor) else single(value)
        for index, entry in state.items()
        for key, value in entry.items()
    }


def unpack_optimizer(name: str, optimizer: torch.optim.Optimizer, tensors: State) -> None:
    """Put back what `pack_optimizer` took, each tensor in its parameter's own order of memory.

    Args:
        name:      as it was given to `pack_optimizer`.
        optimizer: of the same parameters.
        tensors:   what `pack_optimizer` returned, others beside it allowed.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, State] = {}
    for path, tensor in _under(name, tensors).items():
        index, key = path.split("/")
        state.setdefault(int(index), {})[key] = _laid_out_as(parameters[int(index)], tensor)
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _laid_out_as(parameter: Tensor, tensor: Tensor) -> Tensor:
    """Fused optimisers walk through memory, so a state must lie there as its parameter does."""
    if tensor.shape != parameter.shape:
        return tensor
    return torch.empty_like(parameter, dtype=tensor.dtype, device=tensor.device, requires_grad=False).copy_(tensor)


def _read(path: str | Path, kind: str, repair: str) -> tuple[State, dict[str, str]]:
    """Tensors and metadata of a safetensors file, or a `CheckpointError` that says what it is and what to do."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            return {name: file.get_tensor(name) for name in file.keys()}, metadata  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"{kind} {path} is damaged ({reason}); {repair}") from error


def _under(name: str, tensors: State) -> State:
    return {key.removeprefix(f"{name}/"): tensor for key, tensor in tensors.items() if key.startswith(f"{name}/")}


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*.safetensors"), reverse=True)


def _digest(header: str, tensors: State) -> str:
    digest = hashlib.sha256(header.encode())
    for name in sorted(tensors):
        digest.update(f"{name}{tensors[name].dtype}{tuple(tensors[name].shape)}".encode())
        digest.update(tensors[name].contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
