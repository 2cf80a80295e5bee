"""STAND-IN until rules exist."""

from dataclasses import dataclass

from nerp.projection import project_labels


@dataclass(frozen=True)
class MaskRule:
    name: str = "any"
    thickness_mm: float = 0.0


def project_mask(labels, camera, settings, *, backend, fields=None):
    return (
        project_labels(labels, camera, settings.mask, backend=backend).sum(1, keepdim=True) > settings.rule.thickness_mm
    )
