"""A parametric thorax: CT in HU, labels and findings, drawn from a seed.

Everything is a closed surface or a swept tube in the patient's own frame, evaluated on the grid asked for:
the same seed at another spacing is the same patient. Nothing is taken from any scan.
"""

from nerp.phantom.files import write_phantoms
from nerp.phantom.labels import FINDINGS, LABEL_OF, LABELS, LUNG_LABELS, OBSCURING_LABELS
from nerp.phantom.thorax import Phantom, thorax

__all__ = [
    "FINDINGS",
    "OBSCURING_LABELS",
    "LABELS",
    "LABEL_OF",
    "LUNG_LABELS",
    "Phantom",
    "thorax",
    "write_phantoms",
]
