"""Radiographs that a network outlines by itself, and which of them it may learn from.

No mask of a person is looked at: a radiograph is used where views of it agree and where what is outlined can be lungs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nerp.anatomy.lung_fields import clean_lungs, field_measures
from nerp.devices import WHOLE
from nerp.networks.segmenter import Segmenter
from nerp.training.checkpoint import State
from nerp.training.digest import digest
from nerp.training.segmentation.films import Films
from nerp.training.segmentation.views import averaged, draw_views
from nerp.training.unlabelled_settings import UnlabelledSettings

REPAIRED = 0.5
"""Weight of a pixel that was filled in or taken away after the network's answer."""


@dataclass(frozen=True)
class PseudoLabels:
    """Outlines to learn from.

    Args:
        chosen:  (M,) int64, the radiographs that they are of.
        masks:   (M, 1, H, W) uint8, 0 or 1.
        weights: (M, 1, H, W) uint8, 0 to 255: how much a pixel counts.
    """

    chosen: Tensor
    masks: Tensor
    weights: Tensor

    def state(self) -> State:
        """All of it, under `labels/…`."""
        return {f"labels/{name}": value for name, value in vars(self).items()}

    @classmethod
    def of_state(cls, tensors: State) -> PseudoLabels | None:
        """What `state` gave; None where there was none."""
        if "labels/chosen" not in tensors:
            return None
        return cls(*(tensors[f"labels/{name}"] for name in ("chosen", "masks", "weights")))

    @property
    def sha256(self) -> str:
        """The hash of all of it."""
        return digest(self.chosen, self.masks, self.weights)


def label_films(
    network: Segmenter, films: Films, *, settings: UnlabelledSettings, generator: torch.Generator
) -> tuple[PseudoLabels, dict[str, Any]]:
    """Outline every radiograph, and keep those that are sure.

    Args:
        network:   in evaluation mode, of one structure: lungs.
        films:     radiographs.
        settings:  views and what is asked of an outline.
        generator: of the views.

    Returns:
        The labels, and what was found: how many were kept and why others were not, and of each radiograph its
        `agreement`, `area`, `balance` and whether it is `used`.
    """
    probability, agreement = averaged(network, films.images, draw_views(settings.views, generator))
    raw = probability[:, 0].numpy() > 0.5
    clean = np.stack([clean_lungs(mask) for mask in raw])
    measures = [{"agreement": one, **field_measures(mask)} for one, mask in zip(agreement.tolist(), clean, strict=True)]
    faults = [_faults(row, settings) for row in measures]
    chosen = torch.tensor([number for number, found in enumerate(faults) if not found], **WHOLE)
    sure = (2 * probability - 1).abs() ** settings.sureness
    weights = torch.where(torch.from_numpy(raw == clean)[:, None], sure, REPAIRED)
    masks = torch.from_numpy(clean)[:, None].to(torch.uint8)
    labels = PseudoLabels(chosen, masks[chosen], (255 * weights[chosen]).round().to(torch.uint8))
    return labels, _found(films, measures, faults)


def _faults(row: dict[str, float], settings: UnlabelledSettings) -> list[str]:
    """What of an outline is not as asked."""
    low, high = settings.area
    good = {
        "agreement": row["agreement"] >= settings.agreement,
        "area": low <= row["area"] <= high,
        "balance": row["balance"] >= settings.balance,
    }
    return [name for name, is_good in good.items() if not is_good]


def _found(films: Films, measures: list[dict[str, float]], faults: list[list[str]]) -> dict[str, Any]:
    rows = [
        {"name": name, **{key: round(value, 4) for key, value in row.items()}, "used": not found}
        for name, row, found in zip(films.names, measures, faults, strict=True)
    ]
    refused = {name: sum(name in found for found in faults) for name in ("agreement", "area", "balance")}
    return {"films": len(rows), "used": faults.count([]), "refused_for": refused, "each": rows}
