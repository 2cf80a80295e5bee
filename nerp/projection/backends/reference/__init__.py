"""The plain backend: PyTorch alone, any device and dtype, differentiable twice; the tests' oracle."""

from nerp.projection.backends.reference.integrals import march, siddon, siddon_ahead
from nerp.projection.backends.reference.labelling import label_lengths, label_weights
from nerp.projection.backends.reference.material_lengths import areal_densities
from nerp.projection.rays import cast_rays

__all__ = ["areal_densities", "cast_rays", "label_lengths", "label_weights", "march", "siddon", "siddon_ahead"]
