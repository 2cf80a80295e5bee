"""Emission and absorption in the CT as it is: the paper's baseline, against its closed form."""

import math

import pytest
import torch

from nerp.camera import chest_camera
from nerp.physics.objects import ObjectImages
from nerp.synthesis.renderers import OPACITY_PER_MM, WINDOW_HU, EmissionRenderer, Scene
from nerp.synthesis.settings import PairSettings
from nerp.volume import WATER_PER_MM, Volume


def test_through_an_even_block_it_is_matter_times_what_is_absorbed():
    """I = m (1 - exp(-opacity L)), and 50 HU stand at (50 + 1000) / 2500 of the window."""
    side, length_mm = 60, 240.0
    affine = torch.diag(torch.tensor([4.0, 4.0, 4.0, 1.0], dtype=torch.float64))
    ct = Volume(torch.full((1, side, side, side), 50.0), affine)
    renderer = EmissionRenderer(Scene(ct, torch.device("cpu"), PairSettings(mode="emission")))
    image = renderer.render(chest_camera(ct, shape=(33, 33)).to(torch.float64))
    matter = (50.0 - WINDOW_HU[0]) / (WINDOW_HU[1] - WINDOW_HU[0])
    expected = matter * (1 - math.exp(-OPACITY_PER_MM * length_mm))
    assert float(image[0, 0, 16, 16]) == pytest.approx(expected, rel=0.02)
    assert renderer.fields is not None and renderer.weights_sha256 is None


def test_an_object_lies_before_the_body():
    """Behind an attenuation of a, I becomes 1 - (1 - I) exp(-t); 1500 HU attenuate 2.5 times as water does."""
    affine = torch.diag(torch.tensor([4.0, 4.0, 4.0, 1.0], dtype=torch.float64))
    ct = Volume(torch.full((1, 30, 30, 30), 50.0), affine)
    renderer = EmissionRenderer(Scene(ct, torch.device("cpu"), PairSettings(mode="emission")))
    camera = chest_camera(ct, shape=(9, 9)).to(torch.float64)
    lead = ObjectImages(torch.zeros(1, 1, 9, 9), ("water",), torch.full((1, 1, 9, 9), 3.0))
    bare, covered = renderer.render(camera), renderer.render(camera, objects=lead)
    assert (bare < 1).all() and bare.max() > 0.1
    depth = lead.attenuation() * OPACITY_PER_MM / (2.5 * WATER_PER_MM)
    torch.testing.assert_close(covered, 1 - (1 - bare) * torch.exp(-depth).to(bare))
