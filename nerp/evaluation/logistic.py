"""Logistic regression: the plainest learner that gives a score, exact and the same on every machine."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nerp.devices import SINGLE

STEPS = 30
"""Newton's steps at most; about eight are taken."""
TOLERANCE = 1e-6


@dataclass(frozen=True)
class Logistic:
    """A fitted regression.

    Args:
        mean, deviation: (F,) float64 of the features it was fitted to, by which others are standardised.
        weights:         (F,) float64, of standardised features.
        bias:            added to their sum.
    """

    mean: Tensor
    deviation: Tensor
    weights: Tensor
    bias: float

    def logits(self, features: Tensor) -> Tensor:
        """(N,) float64 log odds of (N, F) features."""
        return ((features.double() - self.mean) / self.deviation) @ self.weights + self.bias


def fit_logistic(features: Tensor, labels: Tensor, *, penalty: float) -> Logistic:
    """Fit by Newton's method, both classes weighing the same.

    Args:
        features: (N, F).
        labels:   (N,) 1 or 0; both occur.
        penalty:  half of it times the squared weights is added to the sum of losses; > 0.

    Source: iteratively reweighted least squares with a ridge, Hastie, Tibshirani & Friedman 2009, section 4.4.
    """
    values, wanted = features.double(), labels.double()
    mean, deviation = values.mean(0), values.std(0).clamp(min=1e-9)
    inputs = torch.cat([(values - mean) / deviation, torch.ones(len(values), 1, **SINGLE).double()], dim=1)
    share = wanted.mean()
    balance = torch.where(wanted > 0, 0.5 / share, 0.5 / (1 - share))
    ridge = torch.full((inputs.shape[1],), penalty, **SINGLE).double()
    ridge[-1] = 1e-9 * len(values)
    found = torch.zeros_like(ridge)
    for _ in range(STEPS):
        step = _newton(inputs, wanted, balance, ridge, found)
        found = found - step
        if float(step.abs().max()) < TOLERANCE:
            break
    return Logistic(mean, deviation, found[:-1], float(found[-1]))


def _newton(inputs: Tensor, wanted: Tensor, balance: Tensor, ridge: Tensor, found: Tensor) -> Tensor:
    """(F + 1,) gradient over curvature of the penalised loss."""
    odds = torch.sigmoid(inputs @ found)
    gradient = inputs.T @ (balance * (odds - wanted)) + ridge * found
    curvature = (inputs.T * (balance * odds * (1 - odds))) @ inputs + torch.diag(ridge)
    return torch.linalg.solve(curvature, gradient)
