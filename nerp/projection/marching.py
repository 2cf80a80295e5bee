"""Emission and absorption along a ray: the quantities that a march is made of, from its samples.

A ray is cut into N equal steps, numbered from the source. Sample i emits `matter_i` and absorbs the
fraction `alpha_i` of the light that reaches it; its opacity says how much:

* `per_mm`:     the opacity is an extinction in 1/mm, and `alpha_i = 1 - exp(-opacity_i step)`;
* `per_sample`: the opacity is `alpha_i` itself, 0 to 1, whatever the step, as the published code of
                the method reads it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nerp.errors import GeometryError, UsageError

OPACITIES = ("per_mm", "per_sample")
"""What an opacity may be."""


def transmittance(opacity: Tensor, step_mm: Tensor, *, opacity_is: str = "per_mm") -> Tensor:
    """The fraction of light that passes between the source and each sample: `T_i = prod_{j<i} (1 - alpha_j)`.

    Of an extinction that is `T_i = exp(-sum_{j<i} opacity_j step)`.

    >>> opacity = torch.tensor([0.1, 0.2, 0.4], dtype=torch.float64)
    >>> step_mm = torch.tensor(2.0, dtype=torch.float64)
    >>> [round(passed, 4) for passed in transmittance(opacity, step_mm).tolist()]
    [1.0, 0.8187, 0.5488]

    Args:
        opacity:    (..., N) of each sample from the source on, >= 0: 1/mm, or unitless of at most 1.
        step_mm:    (...) distance between the samples of each ray, mm; 0 for a ray that misses, whose
                    samples absorb nothing.
        opacity_is: `per_mm` or `per_sample`.

    Returns:
        (..., N) unitless, 0 to 1, not growing along the ray. Differentiable in both; `per_sample`, in the
        opacity alone.

    Raises:
        GeometryError: the shapes disagree.
        UsageError:    an unknown `opacity_is`.

    Source: Max 1995, IEEE TVCG 1(2):99-108, eq. 10; Huy & Quan, *Neural Radiance Projection*.
    """
    _check(opacity, step_mm, opacity_is)
    if opacity_is == "per_sample":
        return _passed(_alpha(opacity, step_mm))
    return _passed_depth(opacity * step_mm[..., None])


def emission_weights(opacity: Tensor, step_mm: Tensor, *, opacity_is: str = "per_mm") -> Tensor:
    """What each sample's matter counts in the image: `w_i = T_i alpha_i`.

    They sum to what the whole ray absorbs, `1 - exp(-sum_i opacity_i step)`.

    >>> opacity = torch.tensor([0.1, 0.2, 0.4], dtype=torch.float64)
    >>> step_mm = torch.tensor(2.0, dtype=torch.float64)
    >>> [round(weight, 4) for weight in emission_weights(opacity, step_mm).tolist()]
    [0.1813, 0.2699, 0.3022]

    Args:
        opacity:    (..., N) of each sample from the source on, >= 0: 1/mm, or unitless of at most 1.
        step_mm:    (...) distance between the samples of each ray, mm; 0 for a ray that misses, whose
                    samples absorb nothing.
        opacity_is: `per_mm` or `per_sample`.

    Returns:
        (..., N) unitless, 0 to 1, with a sum of at most 1. Differentiable in both; `per_sample`, in the
        opacity alone.

    Raises:
        GeometryError: the shapes disagree.
        UsageError:    an unknown `opacity_is`.

    Source: Max 1995, IEEE TVCG 1(2):99-108, eq. 10; Huy & Quan, *Neural Radiance Projection*.
    """
    _check(opacity, step_mm, opacity_is)
    if opacity_is == "per_sample":
        alpha = _alpha(opacity, step_mm)
        return _passed(alpha) * alpha
    depth = opacity * step_mm[..., None]
    return _passed_depth(depth) * -torch.expm1(-depth)


def composite(matter: Tensor, opacity: Tensor, step_mm: Tensor, *, opacity_is: str = "per_mm") -> Tensor:
    """The emitted matter along each ray, attenuated by what lies before it: `I = sum_i T_i alpha_i matter_i`.

    >>> matter = torch.tensor([0.5, 1.0, 0.0], dtype=torch.float64)
    >>> opacity = torch.tensor([0.1, 0.2, 0.4], dtype=torch.float64)
    >>> step_mm = torch.tensor(2.0, dtype=torch.float64)
    >>> round(composite(matter, opacity, step_mm).item(), 4)
    0.3606

    Args:
        matter:     (..., N) emission of each sample from the source on, unitless, usually 0 to 1.
        opacity:    (..., N) of each sample, >= 0: 1/mm, or unitless of at most 1.
        step_mm:    (...) distance between the samples of each ray, mm; 0 for a ray that misses.
        opacity_is: `per_mm` or `per_sample`.

    Returns:
        (...) intensity at the detector, unitless, within the range of 0 and the matter. Differentiable in
        all three; `per_sample`, in matter and opacity alone.

    Raises:
        GeometryError: the shapes disagree.
        UsageError:    an unknown `opacity_is`.

    Source: Max 1995, IEEE TVCG 1(2):99-108, eq. 10; Huy & Quan, *Neural Radiance Projection*.
    """
    if matter.shape != opacity.shape:
        found = f"matter has shape {tuple(matter.shape)}, opacity {tuple(opacity.shape)}"
        raise GeometryError(f"{found}; expected both of one shape (..., N): sample both at the same points")
    return (emission_weights(opacity, step_mm, opacity_is=opacity_is) * matter).sum(dim=-1)


def check_opacity(opacity_is: str) -> None:
    """Refuse an unknown reading of opacities with a UsageError."""
    if opacity_is not in OPACITIES:
        raise UsageError(f"unknown opacity_is {opacity_is!r}; expected one of {', '.join(OPACITIES)}")


def _check(opacity: Tensor, step_mm: Tensor, opacity_is: str) -> None:
    check_opacity(opacity_is)
    if opacity.ndim == 0 or opacity.shape[:-1] != step_mm.shape:
        found = f"opacity has shape {tuple(opacity.shape)}, step_mm {tuple(step_mm.shape)}"
        raise GeometryError(f"{found}; expected (..., N) and (...): give one step for each ray")


def _alpha(opacity: Tensor, step_mm: Tensor) -> Tensor:
    """What each sample absorbs where the opacity says it: nothing on rays that miss."""
    return torch.where(step_mm[..., None] > 0, opacity, 0.0)


def _passed(alpha: Tensor) -> Tensor:
    passed = torch.cumprod(1 - alpha, dim=-1)
    return torch.cat([torch.ones_like(passed[..., :1]), passed[..., :-1]], dim=-1)


def _passed_depth(depth: Tensor) -> Tensor:
    """The same of optical depths, in which cancelling costs no digits of a thin sample."""
    return torch.exp(depth - depth.cumsum(dim=-1))
