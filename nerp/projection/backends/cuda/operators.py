"""The Triton kernels as PyTorch operators. Importing this imports Triton."""

from nerp.projection.backends.cuda import launch
from nerp.projection.ops import Kernels, define

PROJECTIONS = define(
    "cuda",
    Kernels(
        march=launch.march,
        march_backward=launch.march_backward,
        siddon=launch.siddon,
        siddon_backward=launch.siddon_backward,
        label_lengths=launch.label_lengths,
        label_weights=launch.label_weights,
    ),
)
