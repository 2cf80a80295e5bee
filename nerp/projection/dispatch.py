"""Which backend computes: one choice for all projections."""

from __future__ import annotations

import logging
from functools import cache
from types import ModuleType

import torch
from torch import Tensor

from nerp.errors import UsageError
from nerp.projection.backends import cpu, cuda, reference

BACKENDS = ("reference", "cpu", "cuda")

_MODULES = {"reference": reference, "cpu": cpu, "cuda": cuda}

logger = logging.getLogger(__name__)


def available_backends() -> dict[str, str]:
    """Every backend with `live`, or the reason why it is not, as `nerp info` shows them."""
    return {name: _missing(name) or "live" for name in BACKENDS}


def choose_backend(backend: str, values: Tensor) -> ModuleType:
    """The module that computes projections of `values`.

    Args:
        backend: `auto`, `reference`, `cpu` or `cuda`.
        values:  the tensor to be projected, of any shape; `auto` looks at where it lies, and at its dtype.

    Returns:
        The backend, whose functions `nerp.projection.backends` lists.

    Raises:
        UsageError: an unknown backend, or one that is not live here, with the reason.
    """
    if backend == "auto":
        backend = _best(values)
    if backend not in BACKENDS:
        raise UsageError(f"unknown backend {backend!r}; expected auto, {', '.join(BACKENDS)}")
    reason = _missing(backend)
    if reason:
        raise UsageError(f"backend {backend!r} is not live: {reason}; use 'auto' or 'reference'")
    return _MODULES[backend]


def _best(values: Tensor) -> str:
    """The fastest backend that keeps the precision of `values`: double precision stays in plain PyTorch."""
    if values.device.type not in ("cpu", "cuda") or values.dtype == torch.float64:
        return "reference"
    fastest = values.device.type
    reason = _missing(fastest)
    if reason:
        _log_once(f"projecting with the slower 'reference' backend: {reason}")
    return "reference" if reason else fastest


@cache
def _log_once(message: str) -> None:
    logger.warning(message)


def _missing(backend: str) -> str | None:
    """Why a backend cannot run, or None where it can."""
    return None if backend == "reference" else _MODULES[backend].missing()
