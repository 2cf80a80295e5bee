"""When the results of two backends count as the same."""

import torch
from torch import Tensor


def close(found: Tensor, expected: Tensor, bound: float, *, terms: float = 0.0) -> None:
    """Equal within `bound` of the largest expected number; or to rounding, of `terms` that cancel in it."""
    assert found.shape == expected.shape
    error, scale = largest(found.double() - expected.double()), largest(expected)
    assert error <= max(bound * scale, 1e-6 * terms), f"off by {error:.2e} of {scale:.2e}"


def largest(values: Tensor) -> float:
    return values.abs().max().item() if values.numel() else 0.0


def fields_of(view) -> list[Tensor]:
    """Matter and opacity, one each for all views or for every view, with an opaque voxel."""
    n_fields = len(view.camera) if view.seed % 2 and len(view.camera) else 1
    matter, opacity = view.random(2, n_fields, *view.shape)
    opacity[0, 0, 0, 0] = 1.0
    return [matter, opacity]


def gradients(project, tensors, view, upstream):
    """The image of a projection; its gradients in its tensors, and in the source and the pixel of each ray."""
    tensors, ends = [tensor.clone().requires_grad_() for tensor in tensors], view.ends()
    image = project(*tensors, view.rays_between(*ends))
    return image, *torch.autograd.grad((image * upstream.to(image)).sum(), [*tensors, *ends])


def march_by(backend, n_samples: int, per_sample: bool):
    """The march as a function of fields (F, D, H, W) and of rays (B, R), to (B, R)."""

    def image(matter, opacity, rays):
        lines = rays.reshape(len(matter), -1)
        image = backend.march(matter, opacity, lines, n_samples=n_samples, per_sample=per_sample)
        return image.reshape(rays.lengths_mm.shape)

    return image


def agree(found, expected, smooth, terms: float) -> None:
    """Gradients of tensors everywhere, those of the rays' ends where `smooth`, and finite elsewhere."""
    for one, other in zip(found[:-2], expected[:-2], strict=True):
        close(one, other, 1e-4, terms=terms)
    for one, other in zip(found[-2:], expected[-2:], strict=True):
        assert one.isfinite().all()
        close(one[smooth.flatten()], other[smooth.flatten()], 1e-4, terms=1e-6)
