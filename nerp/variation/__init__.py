"""One CT as many: breathed, stretched and with findings inserted, its labels with it.

What chance decides is a few numbers; from them and the CT everything else follows, so that a record replays.
"""

from nerp.variation.deformation import Deformation, deform
from nerp.variation.insertion import insert_findings
from nerp.variation.removal import finding_parts, without_finding
from nerp.variation.settings import INSERTABLE, DeformationSettings, InsertSettings
from nerp.variation.variation import Variation, Varied, draw_variation, finding_values, vary

__all__ = [
    "INSERTABLE",
    "Deformation",
    "DeformationSettings",
    "InsertSettings",
    "Variation",
    "Varied",
    "deform",
    "draw_variation",
    "finding_parts",
    "finding_values",
    "insert_findings",
    "vary",
    "without_finding",
]
