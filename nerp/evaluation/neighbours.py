"""Precision, recall, density and coverage: which images of one set lie among the other's, by their neighbours.

Around each image lies a ball that reaches to the k-th nearest other image of its own set. Precision is the part of
the fake images that lie in a ball of a real one, recall the part of the real ones in a ball of a fake one; density
counts the real balls around a fake image, over k; coverage is the part of the real balls that hold a fake image.
The border belongs to the ball. All four of any number of subsets come from one pass over blocks of rows, so that
memory stays flat.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nerp.devices import WHOLE

NEIGHBOURS = 5
METRICS = ("precision", "recall", "density", "coverage")
NEAREST_KEPT = 128
"""Neighbours of an image among which a subset's k-th is looked for."""
ROWS = 256
BORDER = 1e-9


def neighbour_scores(
    fake: Tensor, real: Tensor, *, subsets: Sequence[Tensor] | None = None, k: int = NEIGHBOURS
) -> dict[str, Tensor]:
    """The four scores of subsets of two sets.

    Args:
        fake:    (N, F) float64 features, N > k.
        real:    (M, F) float64 features, M > k.
        subsets: (R, N) and (R, M) bool, True where a subset holds an image, more than k of each; None takes all.
        k:       how many neighbours a ball reaches to.

    Returns:
        `precision`, `recall` and `coverage` in 0..1, and `density`, >= 0; (R,) float64 each.

    Source: Kynkaanniemi 2019, eq. 1 and 2 (precision, recall); Naeem 2020, eq. 4 and 5 (density, coverage).
    """
    kept = subsets or [torch.ones(1, len(side), dtype=torch.bool, device="cpu") for side in (fake, real)]
    n_fake, n_real = (of_side.sum(1).double() for of_side in kept)
    radii = [_radii(side, held, k) for side, held in zip((fake, real), kept, strict=True)]
    around_fake, around_real = _balls(fake, real, radii)
    is_covered = _ranked(real, fake, kept[0], 1) <= radii[1]
    return {
        "precision": ((around_fake > 0) & kept[0]).sum(1) / n_fake,
        "recall": ((around_real > 0) & kept[1]).sum(1) / n_real,
        "density": (around_fake * kept[0]).sum(1) / (k * n_fake),
        "coverage": (is_covered & kept[1]).sum(1) / n_real,
    }


def squared_distances(first: Tensor, second: Tensor) -> Tensor:
    """Squared Euclidean distances (N, M), >= 0; what is within rounding of 0 is 0, so that a copy lies on its image.

    Args:
        first:  (N, F) float64 features.
        second: (M, F) float64 features.
    """
    sizes = first.square().sum(1)[:, None] + second.square().sum(1)
    found = torch.addmm(sizes, first, second.T, alpha=-2.0)
    return found.where(found > 1e-12 * sizes, 0.0)


def _balls(fake: Tensor, real: Tensor, radii: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """How many real balls of each subset lie around each fake image, (R, N), and fake ones around a real one, (R, M).

    Few balls change from one subset to the next; those of the first subset are counted, and then the changes.
    """
    of_fake, of_real = radii
    around_fake, around_real = (torch.zeros(side.shape, **WHOLE) for side in radii)
    changes = [[_changed(side, number) for number in range(len(side))] for side in radii]
    for rows in torch.arange(len(fake), **WHOLE).split(ROWS):
        distances = squared_distances(fake[rows], real)
        around_fake[:, rows] = _held(distances, of_real[0])
        around_real += _held(distances.T, of_fake[0, rows])
        for number in range(1, len(of_fake)):
            columns = changes[1][number]
            around_fake[number, rows] += _change(distances[:, columns], of_real[0, columns], of_real[number, columns])
            lines = changes[0][number]
            lines = lines[(lines >= rows[0]) & (lines <= rows[-1])]
            around_real[number] += _change(distances[lines - rows[0]].T, of_fake[0, lines], of_fake[number, lines])
    return around_fake, around_real


def _changed(radii: Tensor, number: int) -> Tensor:
    return (radii[number] != radii[0]).nonzero()[:, 0]


def _held(distances: Tensor, radii: Tensor) -> Tensor:
    return (distances <= radii).sum(1)


def _change(distances: Tensor, before: Tensor, after: Tensor) -> Tensor:
    return _held(distances, after) - _held(distances, before)


def _radii(features: Tensor, kept: Tensor, k: int) -> Tensor:
    """(R, N) squared distance to the k-th nearest other image that a subset holds; -1 where it is not held itself.

    It is widened by more than rounding, so that a copy of the k-th lies on the border, too.
    """
    return (_ranked(features, None, kept, k) * (1.0 + BORDER)).where(kept, -1.0)


def _ranked(features: Tensor, others: Tensor | None, kept: Tensor, rank: int) -> Tensor:
    """(R, N) squared distance from each image to the `rank`-th nearest of the others, or of its own set, if None."""
    among = features if others is None else others
    found = torch.empty(len(kept), len(features), dtype=torch.float64, device="cpu")
    for rows in torch.arange(len(features), **WHOLE).split(ROWS):
        distances = squared_distances(features[rows], among)
        if others is None:
            distances[torch.arange(len(rows), **WHOLE), rows] = torch.inf
        nearest, which = distances.topk(min(len(among), max(NEAREST_KEPT, 2 * rank)), largest=False)
        for number, held in enumerate(kept):
            place = (held[which].cumsum(1) < rank).sum(1, keepdim=True).clamp(max=nearest.shape[1] - 1)
            found[number, rows] = nearest.gather(1, place)[:, 0]
    return found
