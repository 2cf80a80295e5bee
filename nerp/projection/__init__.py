"""Exact integrals, emission-absorption marching and label projection."""

from nerp.projection.dispatch import available_backends
from nerp.projection.display import display_image
from nerp.projection.integrals import march, siddon
from nerp.projection.labels import march_labels, project_labels

__all__ = ["available_backends", "display_image", "march", "march_labels", "project_labels", "siddon"]
