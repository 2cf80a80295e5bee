"""A full-size image stays within its memory cap, forward and backward."""

import subprocess
import sys

import pytest

CAP_BYTES = 1.5 * 1024**3
PROGRAM = """
import resource, sys, torch
from nerp.camera import Camera
from nerp.projection import march, siddon
from nerp.volume import Fields, Volume

n = 160
affine = torch.diag(torch.tensor([2.0, 2.0, 2.0, 1.0], dtype=torch.float64))
affine[:3, 3] = -(n - 1.0)
values = torch.full((1, n, n, n), 0.01, requires_grad=sys.argv[2] == "backward")
vectors = [[(0.0, -1600.0, 0.0)], [(0.0, 200.0, 0.0)], [(-1.0, 0.0, 0.0)], [(0.0, 0.0, -1.0)]]
camera = Camera(*(torch.tensor(v, dtype=torch.float64) for v in vectors), shape=(256, 256), pixel_mm=(1.4, 1.4))

def render(camera):
    if sys.argv[1] == "siddon":
        return siddon(Volume(values, affine), camera)
    return march(Fields(values, values, affine), camera, 512)

small = Camera(camera.source, camera.detector_centre, camera.image_right, camera.image_down, (2, 2), (1.4, 1.4))
for view in (small, camera):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    image = render(view)
    if sys.argv[2] == "backward":
        image.sum().backward()
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


@pytest.mark.slow
@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize("projection", ["siddon", "march"])
def test_256_by_256_by_512_stays_below_its_cap(projection, direction):
    command = [sys.executable, "-c", PROGRAM, projection, direction]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
    assert float(result.stdout) < CAP_BYTES
