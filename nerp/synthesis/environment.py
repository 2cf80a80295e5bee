"""What decides the last bits of an image: device, threads, versions; and each pair's own randomness."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from nerp import __version__
from nerp.data.records import PairRecord


@dataclass(frozen=True)
class Environment:
    """Where something was rendered.

    Args:
        nerp, torch: versions.
        device:      `cpu` or `cuda`.
        threads:     of the CPU.
        processor:   instruction set that PyTorch uses on the CPU, such as `AVX2`.
        backend:     of the projection.
    """

    nerp: str
    torch: str
    device: str
    threads: int
    processor: str | None
    backend: str

    def differences(self, record: PairRecord) -> list[str]:
        """How this place differs from the one a pair was made in: `torch 2.4.0 then, 2.5.0 here`."""
        stored = {name: getattr(record, name) for name in vars(self)}
        known = {name: value for name, value in stored.items() if value is not None}
        return [
            f"{name} {value} then, {vars(self)[name]} here"
            for name, value in known.items()
            if vars(self)[name] != value
        ]


def here(device: torch.device, backend: str) -> Environment:
    """The present environment.

    Args:
        device:  in use.
        backend: of the projection, in use.
    """
    processor = torch.backends.cpu.get_cpu_capability()
    threads = torch.get_num_threads()
    return Environment(__version__, str(torch.__version__), device.type, threads, processor, backend)


@contextmanager
def repeatable(threads: int | None = None) -> Iterator[None]:
    """Render with `threads` CPU threads and deterministic GPU kernels, then restore what was set."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        with torch.inference_mode(), torch.backends.cudnn.flags(benchmark=False, deterministic=True, allow_tf32=False):
            yield
    finally:
        torch.set_num_threads(before)


def pair_id(ct_sha256: str, view_index: int) -> str:
    """The name of a pair's files: from the CT's hash and the view, never from a file's name.

    Args:
        ct_sha256:  of the CT.
        view_index: from 0.
    """
    return f"{ct_sha256[:12]}_{view_index:03d}"


def pair_generator(seed: int, ct_sha256: str, view_index: int) -> torch.Generator:
    """Each pair's own randomness, whatever was rendered before it and in which order.

    Args:
        seed:       of the set.
        ct_sha256:  of the CT.
        view_index: from 0.
    """
    return _generator(f"{seed}:{ct_sha256}:{view_index}")


def chance_generator(seed: int, ct_sha256: str, view_index: int) -> torch.Generator:
    """Likewise of what is drawn beside the camera, so that cameras stay whatever else is drawn.

    Args:
        seed:       of the set.
        ct_sha256:  of the CT.
        view_index: from 0.
    """
    return _generator(f"{seed}:{ct_sha256}:{view_index}:chance")


def variation_generator(seed: int, ct_sha256: str, group: int) -> torch.Generator:
    """Likewise of how a CT is varied for some of its views.

    Args:
        seed:      of the set.
        ct_sha256: of the CT.
        group:     of views that share it, from 0.
    """
    return _generator(f"{seed}:{ct_sha256}:{group}:variation")


def _generator(text: str) -> torch.Generator:
    digest = hashlib.sha256(text.encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
