"""Exact integrals, emission-absorption marching and label projection."""

from nerp.projection.dispatch import available_backends
from nerp.projection.integrals import march, siddon

__all__ = ["available_backends", "march", "siddon"]
