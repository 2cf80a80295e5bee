"""Extractors that a user gives: a TorchScript or ONNX file, or a timm architecture with weights of one's own."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nerp.devices import single
from nerp.errors import EvaluationError, UsageError
from nerp.evaluation.features import Extractor, Features
from nerp.files import sha256

SIDE = 224
TIMM = "timm:"
DINOV2 = {"dinov2": "vit_base_patch14_dinov2", "dinov2-small": "vit_small_patch14_dinov2"}
DINOV2 |= {"dinov2-large": "vit_large_patch14_dinov2"}
"""Short names of architectures that are often asked for; see Oquab 2023."""


def takes_weights(name: str) -> bool:
    """Whether an extractor of this name is an architecture that needs a file of weights."""
    return name in DINOV2 or name.startswith(TIMM)


def torchscript(path: Path, device: torch.device) -> Extractor:
    """A TorchScript file, called with (B, 3, 224, 224) float32 in 0..1; it is a program: load only what you trust.

    Args:
        path:   of the file.
        device: where it runs.

    Raises:
        EvaluationError: no such file.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="`torch.jit.load` is")
            network = torch.jit.load(str(path), map_location=device).eval()
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise EvaluationError(
            f"extractor {path} is no TorchScript file ({reason}); save it by torch.jit.save"
        ) from error
    return Extractor(path.name, sha256(path), SIDE, _told(path.name, lambda images: (network(images), None)), device)


def onnx(path: Path) -> Extractor:
    """An ONNX file with one input (B, 3, S, S) float32 in 0..1, run by onnxruntime on the CPU.

    Its first output (B, F) is taken for the features, a second one (B, K), where there is one, for class logits. S is
    what the file states, else 224.

    Raises:
        EvaluationError: onnxruntime is not installed, or the file is none that it reads.
    """
    try:
        import onnxruntime
    except ImportError:
        raise EvaluationError(f"extractor {path} needs onnxruntime, which is not installed; pip install it") from None
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        entry = session.get_inputs()[0]
    except Exception as error:  # onnxruntime's errors have no common class
        reason = " ".join(str(error).split())
        raise EvaluationError(f"extractor {path} is no ONNX file that runs here ({reason}); export it again") from error
    sides = [size for size in entry.shape[2:] if isinstance(size, int)]

    def call(images: Tensor) -> Features:
        outputs = [torch.from_numpy(values) for values in session.run(None, {entry.name: images.numpy()})]
        return outputs[0], outputs[1] if len(outputs) > 1 else None

    side = sides[0] if sides else SIDE
    return Extractor(path.name, sha256(path), side, _told(path.name, call, side), torch.device("cpu"))


def _told(name: str, call: Callable[[Tensor], Features], side: int = SIDE) -> Callable[[Tensor], Features]:
    """The same call; what goes wrong in it is told in one line."""

    def told(images: Tensor) -> Features:
        try:
            return call(images)
        except Exception as error:  # a network of another's making may raise anything
            reason = (str(error).strip() or type(error).__name__).splitlines()[-1]
            shape = f"(B, 3, {side}, {side}) float32 in 0..1"
            raise EvaluationError(f"extractor {name} failed on {shape} ({reason}); it must take that") from error

    return told


def architecture(name: str, weights: str | Path | None, device: torch.device) -> Extractor:
    """A network of timm with weights from a file: `dinov2`, `dinov2-small`, `dinov2-large`, or `timm:ARCHITECTURE`.

    Images are brought to 224 pixels and normalised as timm states for the architecture. Features are those before the
    classifier; logits are left out, since nothing tells what a chest network's classes are.

    Args:
        name:    see above.
        weights: safetensors, or a file of torch.save that holds tensors alone; nothing is downloaded.
        device:  where it runs.

    Raises:
        UsageError: an architecture that timm does not know.
        EvaluationError: no weights, or weights of another architecture.
    """
    import timm

    known = DINOV2.get(name, name.removeprefix(TIMM))
    if weights is None or not Path(weights).is_file():
        raise EvaluationError(f"extractor {name} needs a file of its weights, found {weights}; give it by --weights")
    sized: dict[str, Any] = {"img_size": SIDE} if "vit" in known else {}
    try:
        network: Any = timm.create_model(known, pretrained=False, num_classes=0, **sized)
    except (RuntimeError, TypeError) as error:
        raise UsageError(
            f"timm has no architecture {known!r} that can be used ({error}); see timm.list_models()"
        ) from None
    _fill(network, _tensors(Path(weights)), name)
    network.eval().requires_grad_(False).to(device)
    normal = [single(network.pretrained_cfg[key]).view(1, 3, 1, 1).to(device) for key in ("mean", "std")]

    def call(images: Tensor) -> Features:
        return network((images - normal[0]) / normal[1]), None

    return Extractor(name, sha256(weights), SIDE, call, device)


def _tensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        held = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, RuntimeError, ValueError, OSError, EOFError, KeyError) as error:
        raise EvaluationError(
            f"weights {path} cannot be read ({' '.join(str(error).split())}); fetch them again"
        ) from error
    except Exception as error:  # torch's refusal to unpickle is of a class of pickle's
        raise EvaluationError(f"weights {path} hold more than tensors; save them as safetensors") from error
    for key in ("state_dict", "model", "teacher"):
        held = held[key] if isinstance(held, dict) and isinstance(held.get(key), dict) else held
    return held


def _fill(network: torch.nn.Module, weights: dict[str, Tensor], name: str) -> None:
    """Load weights that have every tensor of the network; a classifier's and a pretext's are passed over."""
    asked = network.state_dict()
    lacking = [key for key in asked if key not in weights]
    if lacking:
        raise EvaluationError(
            f"weights for {name} lack {lacking[0]} and {len(lacking) - 1} more of {len(asked)} tensors; expected "
            "timm's names of that architecture"
        )
    other = [key for key in asked if weights[key].shape != asked[key].shape]
    if other:
        found = f"{other[0]} {tuple(weights[other[0]].shape)}"
        raise EvaluationError(f"weights for {name} hold {found}; expected {tuple(asked[other[0]].shape)}")
    network.load_state_dict({key: weights[key] for key in asked})
