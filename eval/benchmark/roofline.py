"""The least time that this machine could take for our algorithms: what they do, over how fast it can do each.

Rates are measured with loops of nothing but one kind of work, from the nearest cache or, for reading,
from memory. A projection that overlapped all kinds perfectly would take the time of the slowest one.
Lookups and additions to memory share the processor's ports to its cache, so that their times add up.
They are done as the kernels do them, from offsets in a register: a processor told its addresses
beforehand can do a quarter more. Gradients walk every ray once more, since no number of a single
sample or voxel is kept; an algorithm that kept them, or shared voxels among rays, has other limits.
"""

from __future__ import annotations

from dataclasses import dataclass

from benchmark import microbenchmarks
from benchmark.workload import N_LABELS, PIXELS, SAMPLES, grid, rotation, view
from nerp.projection.rays import Rays, cast_rays

MARCH_ARITHMETIC = 52
"""Multiply-adds a sample: 6 for the position, 28 for 14 interpolations, 14 for the exponential, 4 to composite."""

FIELDS_ARITHMETIC = 20
"""More for the gradient of both fields: 8 for the sample's, 12 for the weights of the 8 corners."""

CAMERA_ARITHMETIC = 46
"""More for the gradient of the ray: 8 for the sample's, 26 for six slopes, 12 for their sums."""

VOXEL_ARITHMETIC = 6
"""For each voxel met: 4 for its borders, 2 for its part."""


@dataclass(frozen=True)
class Work:
    """What a projection does, nothing twice. Pairs are 16 bytes: two voxels of two interleaved fields."""

    lookups: float = 0.0
    pair_lookups: float = 0.0
    additions: float = 0.0
    pair_additions: float = 0.0
    arithmetic: float = 0.0
    bytes: float = 0.0  # to and from memory, if each is moved once

    def seconds(self, rates: dict[str, float]) -> dict[str, float]:
        """Seconds of the cache's ports, of arithmetic, and of memory, each by itself, at `rates` per second."""
        ports = ("lookups", "pair_lookups", "additions", "pair_additions")
        return {
            "cache": sum(getattr(self, name) / rates[name] for name in ports),
            "arithmetic": self.arithmetic / rates["arithmetic"],
            "memory": self.bytes / rates["bytes"],
        }


def count_voxels(rays: Rays) -> float:
    """How many voxels all rays (B, R) meet, nearly: one, and one more for each plane of each axis."""
    return (rays.lengths_mm * rays.directions.abs().sum(-1) + (rays.lengths_mm > 0)).sum().item()


def works() -> dict[str, Work]:
    """What each projection of the workload does at least, counted on its rays."""
    rays = cast_rays(view(rotation()), grid(256), (256, 256, 256))
    hits = (rays.lengths_mm > 0).sum().item()
    crossed = count_voxels(rays)
    samples, fields_bytes, volume_bytes = hits * SAMPLES, 2 * 4 * 128**3, 4 * 256**3
    march = {"pair_lookups": 4 * samples, "arithmetic": MARCH_ARITHMETIC * samples, "bytes": fields_bytes}
    siddon = {"lookups": crossed, "arithmetic": VOXEL_ARITHMETIC * crossed, "bytes": volume_bytes}
    return {
        "march": Work(**march),
        "march fields": Work(
            pair_lookups=8 * samples,
            pair_additions=4 * samples,
            arithmetic=(2 * MARCH_ARITHMETIC + FIELDS_ARITHMETIC) * samples,
            bytes=3 * fields_bytes,  # read by either walk; their gradient written
        ),
        "march camera": Work(
            pair_lookups=8 * samples,
            arithmetic=(2 * MARCH_ARITHMETIC + CAMERA_ARITHMETIC) * samples,
            bytes=2 * fields_bytes,
        ),
        "siddon": Work(**siddon),
        "siddon volume": Work(
            lookups=crossed,
            additions=crossed,
            arithmetic=2 * VOXEL_ARITHMETIC * crossed,
            bytes=2 * volume_bytes,  # the volume read; its gradient written
        ),
        "siddon camera": Work(lookups=2 * crossed, arithmetic=3 * VOXEL_ARITHMETIC * crossed, bytes=2 * volume_bytes),
        "labels": Work(
            lookups=crossed,
            arithmetic=VOXEL_ARITHMETIC * crossed,
            bytes=volume_bytes + 4 * PIXELS**2 * N_LABELS,
        ),
    }


def roofline(seconds: dict[str, float]) -> dict:
    """How near each projection comes to what this machine's measured rates allow.

    Args:
        seconds: what each projection took.

    Returns:
        `rates`, work per second; and `projections`: for each the least seconds by cache, arithmetic and
        memory, the one that binds, and the fraction of it reached. Empty where rates cannot be
        measured, for which `microbenchmarks.missing` has the reason.

    Source: Williams et al. 2009, Commun. ACM 52(4):65-76, with the cache's ports as a third roof.
    """
    if microbenchmarks.missing():
        return {}
    found, rows = microbenchmarks.rates(), {}
    for name, work in works().items():
        least = work.seconds(found)
        binding = max(least, key=least.__getitem__)
        rows[name] = {**least, "binding": binding, "reached": least[binding] / seconds[name]}
    return {"rates": found, "projections": rows}
