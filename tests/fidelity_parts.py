"""What the tests of fidelity share: features of known distributions, small images, a plain extractor."""

import warnings

import numpy as np
import torch
from PIL import Image

from nerp.evaluation.features import Extractor


def gaussians(count, *, mean=0.0, scale=1.0, width=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return mean + scale * torch.randn(count, width, generator=generator, dtype=torch.float64)


def write_images(folder, count, *, level=0.5, side=48, seed=0):
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(seed)
    for index in range(count):
        pixels = np.clip(generator.normal(level, 0.1, (side, side)), 0, 1)
        Image.fromarray((pixels * 255).astype(np.uint8)).save(folder / f"{index:03d}.png")
    return folder


class Means(torch.nn.Module):
    """Four features of an image: its mean in each quarter."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.adaptive_avg_pool2d(images.mean(1, keepdim=True), 2).flatten(1)


def save_script(network, path):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="`torch.jit.")
        torch.jit.script(network).save(str(path))


def means():
    return Extractor("means", "0" * 64, 32, lambda images: (Means()(images), None))
