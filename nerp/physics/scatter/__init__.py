"""Scattered photons: an exact transport to judge by, and a fast one to use."""

from nerp.physics.scatter.fast import FastEffort, Scatter, fast_scatter
from nerp.physics.scatter.referee import Effort, Tallies, transport
from nerp.physics.scatter.setting import Arrangement, Matter, arrangement, slab_arrangement

__all__ = [
    "Arrangement",
    "Effort",
    "FastEffort",
    "Matter",
    "Scatter",
    "Tallies",
    "arrangement",
    "fast_scatter",
    "slab_arrangement",
    "transport",
]
