"""A parametric thorax: CT in HU, labels and findings, drawn from a seed."""

from nerp.phantom.labels import FINDINGS, HIDING_LABELS, LABELS, LUNG_LABELS
from nerp.phantom.thorax import Phantom, thorax

__all__ = ["FINDINGS", "HIDING_LABELS", "LABELS", "LUNG_LABELS", "Phantom", "thorax"]
