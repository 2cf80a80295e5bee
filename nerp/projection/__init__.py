"""Exact integrals, emission-absorption marching and label projection."""

from nerp.projection.dispatch import available_backends
from nerp.projection.display import display_image
from nerp.projection.hiding import hiding_labels, hiding_tissue, lung_labels
from nerp.projection.integrals import march, siddon
from nerp.projection.labels import march_labels, project_labels
from nerp.projection.masks import RULES, MaskRule, project_mask

__all__ = [
    "RULES",
    "MaskRule",
    "available_backends",
    "display_image",
    "hiding_labels",
    "hiding_tissue",
    "lung_labels",
    "march",
    "march_labels",
    "project_labels",
    "project_mask",
    "siddon",
]
