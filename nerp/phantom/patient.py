"""One person, drawn from a seed: size, sex, posture, and how deep the breath is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import radians
from typing import Any
from zlib import crc32

import torch

from nerp.devices import SINGLE


def stream(seed: int, name: str) -> torch.Generator:
    """The random numbers of one organ of one patient: adding an organ never changes another.

    Args:
        seed: of the patient.
        name: of the organ, or of whatever else is drawn.
    """
    return torch.Generator().manual_seed(crc32(f"{seed}/{name}".encode()) + (int(seed) << 32) % (1 << 62))


@dataclass(frozen=True)
class Patient:
    """The numbers that make one phantom differ from the next.

    Args:
        seed:         what it was drawn from.
        sex:          `F` or `M`.
        scale:        size along x, y, z; 1 is a tall man.
        fat_mm:       thickness of the fat under the skin, mm.
        muscle:       bulk of the shoulder and chest muscles, 1 is average.
        heart:        size of the heart, 1 is average.
        inspiration:  0 (out) to 1 (deep breath in).
        kyphosis:     bend of the thoracic spine, 1 is average.
        scoliosis_mm: sideways bend of the spine.
        yaw_rad:      turn about the body's axis; positive turns the chest to the patient's left.
        lean:         sideways shift of the trunk per height.
        dome_gap_mm:  how much higher the right dome of the diaphragm stands than the left.
        rib_drop:     steepness of the ribs, 1 is average.
        heart_lie:    0 (steep, as in the tall and thin) to 1 (lying flat on the diaphragm).
        stomach_gas_mm: height of the bubble in the stomach, mm.
        arms_raised:  arms over the head (as in a CT) instead of elbows out (as for a radiograph).
        breast_mm:    breast radius; 0 for men.
    """

    seed: int
    sex: str
    scale: tuple[float, float, float]
    fat_mm: float
    muscle: float
    heart: float
    inspiration: float
    kyphosis: float
    scoliosis_mm: float
    yaw_rad: float
    lean: float
    dome_gap_mm: float
    rib_drop: float
    heart_lie: float
    stomach_gas_mm: float
    arms_raised: bool
    breast_mm: float


def draw_patient(seed: int, *, large_heart: bool = False) -> Patient:
    """A plausible adult for every seed.

    Args:
        seed:        any integer >= 0.
        large_heart: enlarge the heart by a third or more, without changing anything else.
    """
    numbers = iter(torch.rand(24, generator=stream(seed, "patient"), **SINGLE).tolist())

    def between(low: float, high: float) -> float:
        """The next number, from its range."""
        return low + (high - low) * next(numbers)

    female = next(numbers) < 0.5
    size = between(0.97, 1.05) * (0.935 if female else 1.0)
    fat = between(0.0, 1.0)
    heart = between(0.86, 1.0) * (1.32 + 0.1 * fat if large_heart else 1.0)
    build: dict[str, Any] = {
        "scale": tuple(size * between(0.97, 1.03) for _ in range(3)),
        "fat_mm": 4.0 + 18.0 * fat**1.5 + (2.0 if female else 0.0),
        "muscle": between(0.75, 1.2) * (0.85 if female else 1.0),
        "breast_mm": (46.0 + 18.0 * fat + between(-5.0, 5.0)) if female else 0.0,
        "heart": heart,
        "heart_lie": 0.25 + 0.5 * fat + between(-0.25, 0.25),
    }
    return Patient(seed=int(seed), sex="F" if female else "M", **build, **_draw_posture(between))


def _draw_posture(between: Callable[[float, float], float]) -> dict[str, Any]:
    """How the chest is held, from `between(low, high)`."""
    return {
        "inspiration": between(0.6, 1.0),
        "kyphosis": between(0.8, 1.25),
        "scoliosis_mm": between(-6.0, 6.0),
        "yaw_rad": radians(between(-4.0, 4.0)),
        "lean": between(-0.025, 0.025),
        "dome_gap_mm": between(5.0, 18.0),
        "rib_drop": between(0.9, 1.12),
        "stomach_gas_mm": between(10.0, 34.0),
        "arms_raised": between(0.0, 1.0) < 0.25,
    }
