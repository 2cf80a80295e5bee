"""Randomness without state: each draw of a step follows from the seed, the step and its name."""

import hashlib
from typing import Any

import torch


def stream(seed: int, step: int, name: str, rank: int = 0) -> torch.Generator:
    """A CPU generator of its own for one purpose in one step of one process.

    A resumed run needs no stored generator state, and adding a draw disturbs no other.

    Args:
        seed: of the run.
        step: of the run, from 1; 0 for what comes before.
        name: the purpose.
        rank: number of the process.
    """
    digest = hashlib.sha256(f"{seed}/{step}/{name}/{rank}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def choose(n: int, among: int, generator: torch.Generator) -> list[int]:
    """Indices, without repetition while there are enough.

    Args:
        n:         how many, N.
        among:     all are below it.
        generator: source of the draws.
    """
    kind: dict[str, Any] = {"generator": generator, "dtype": torch.int64, "device": "cpu"}
    rounds = [torch.randperm(among, **kind) for _ in range(-(-n // among))]
    return torch.cat(rounds)[:n].tolist()


def between(low: float, high: float, n: int, generator: torch.Generator) -> torch.Tensor:
    """Numbers from low to high, evenly spread: a float32 tensor of shape (N,) on the CPU.

    Args:
        low, high: ends.
        n:         how many.
        generator: source of the draws, on the CPU.
    """
    return low + (high - low) * torch.rand(n, generator=generator, dtype=torch.float32, device="cpu")
