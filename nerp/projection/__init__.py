"""Exact integrals, emission-absorption marching and label projection."""

from nerp.display import display_image
from nerp.projection.dispatch import available_backends
from nerp.projection.integrals import march, siddon, siddon_of_ct
from nerp.projection.labels import march_labels, project_labels
from nerp.projection.marching import composite, emission_weights, transmittance
from nerp.projection.masks import RULES, MaskRule, Structure, closing_mm, grid_mm, project_mask, project_masks
from nerp.projection.obscuring import obscuring_tissue

__all__ = [
    "RULES",
    "MaskRule",
    "Structure",
    "available_backends",
    "closing_mm",
    "composite",
    "display_image",
    "emission_weights",
    "grid_mm",
    "march",
    "march_labels",
    "obscuring_tissue",
    "project_labels",
    "project_mask",
    "project_masks",
    "siddon",
    "siddon_of_ct",
    "transmittance",
]
