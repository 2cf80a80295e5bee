"""On what a cell was made: processor, cores, GPU, and the versions of what computed it; nothing names the machine."""

from __future__ import annotations

import os
import platform
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from nerp import __version__

PACKAGES = ("torch", "numpy", "monai", "segmentation-models-pytorch")


@cache
def machine() -> dict[str, Any]:
    """JSON-ready: `cpu`, `cores` that may be used, `gpu` or None, and versions."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    versions = {name: metadata.version(name) for name in PACKAGES}
    told = {"cpu": _processor(), "cores": _cores(), "gpu": gpu}
    return {**told, "nerp": __version__, "python": platform.python_version(), **versions}


def _cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _processor() -> str:
    """The processor's name, as Linux tells it; elsewhere as Python does."""
    told = Path("/proc/cpuinfo")
    lines = told.read_text(encoding="utf-8", errors="replace").splitlines() if told.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
