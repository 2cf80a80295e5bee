"""Which backend computes: one choice for all projections."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from torch import Tensor

from nerp.errors import UsageError

BACKENDS = ("reference", "cpu", "cuda")


def available_backends() -> dict[str, str]:
    """Every backend with `live`, or the reason why it is not, as `nerp info` shows them."""
    return {name: _missing(name) or "live" for name in BACKENDS}


def choose_backend(backend: str, values: Tensor) -> ModuleType:
    """The module that computes projections of `values`.

    Args:
        backend: `auto`, `reference`, `cpu` or `cuda`.
        values:  the tensor to be projected; `auto` looks at where it lies.

    Raises:
        UsageError: an unknown backend, or one that is not live here, with the reason.
    """
    if backend == "auto":
        backend = "reference"
    if backend not in BACKENDS:
        raise UsageError(f"unknown backend {backend!r}; expected auto, {', '.join(BACKENDS)}")
    reason = _missing(backend)
    if reason:
        raise UsageError(f"backend {backend!r} is not live: {reason}; use 'auto' or 'reference'")
    return import_module(f"nerp.projection.backends.{backend}")


def _missing(backend: str) -> str | None:
    """Why a backend cannot run, or None where it can."""
    return None if backend == "reference" else "this version of nerp does not have it"
