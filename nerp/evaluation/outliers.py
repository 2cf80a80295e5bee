"""Images that a network finds unlike all others of their set."""

from __future__ import annotations

from statistics import NormalDist

import torch
from torch import Tensor

NEIGHBOURS = 5
"""Fewer images alike than this are outliers together."""
FEWEST = 30
"""Images below which a spread of distances tells nothing."""
QUARTILE = 0.6745
"""Upper quartile of the standard normal distribution."""


def neighbour_distances(features: Tensor, neighbours: int = NEIGHBOURS) -> Tensor:
    """How far each image is from the image that is so many places down the list of those nearest to it.

    Args:
        features:   (N, F).
        neighbours: places, fewer than N.

    Returns:
        (N,) Euclidean distances, float64, >= 0.
    """
    doubles = features.double()
    rows = [torch.cdist(part, doubles).kthvalue(neighbours + 1, dim=1).values for part in doubles.split(256)]
    return torch.cat(rows)


def outlier_limit(distances: Tensor, false_alarms: float) -> float:
    """The distance from which on an image counts as an outlier.

    Median and upper quartile of the logarithms tell what is ordinary, so that up to a quarter of the images may be
    outliers without being taken for it.

    Args:
        distances:    (N,) from `neighbour_distances`.
        false_alarms: rate of ordinary images beyond the limit where distances are log-normal, 0 to .5.

    Returns:
        exp(m + z s): m the median, s the upper quartile's distance from it over that of the normal distribution, z the
        normal deviate of the rate. Infinite where more than half of the distances are 0.

    Source: robust z-score, Iglewicz & Hoaglin 1993, with the quartile for the median absolute deviation.
    """
    logs = distances.clamp_min(torch.finfo(torch.float64).tiny).log()
    middle, upper = (float(logs.quantile(q)) for q in (0.5, 0.75))
    if float(distances.median()) == 0:
        return float("inf")
    deviate = NormalDist().inv_cdf(1 - false_alarms)
    return float(torch.tensor(middle + deviate * (upper - middle) / QUARTILE, dtype=torch.float64, device="cpu").exp())
