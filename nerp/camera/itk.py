"""The views of ITK's tool of radiographs by Siddon and Jacobs, as the authors of DRR-RATE called it."""

from __future__ import annotations

import numpy as np
import torch

from nerp.arguments import image_shape
from nerp.camera.perspective import Camera
from nerp.errors import UsageError
from nerp.headers.place import letter
from nerp.volume import Volume

SOURCE_ISOCENTRE_MM = 1000.0
"""From the source to the plane in which the pixels are measured; ITK's unit of length is the way to that plane."""
SHIFT_MM = 300.0
"""By which the CT is carried beyond that plane, so that more of it is seen."""
PIXEL_MM = float(np.float32(0.51))
"""In that plane, of 512 pixels; the tool keeps it in single precision."""
PIXELS = 512

ASKEW = 1e-3
"""How far a direction may be from an axis, in any part."""
_LPS = torch.diag(torch.tensor([-1.0, -1.0, 1.0], dtype=torch.float64, device="cpu"))

ITK_VIEWS = {"ap": (1, 1.0, 0), "lateral": (0, -1.0, 1)}
"""Index axis of the beam, its sense, and index axis of the columns."""


def itk_camera(volume: Volume, view: str = "ap", *, shape: tuple[int, int] | int = (PIXELS, PIXELS)) -> Camera:
    """The camera of `getDRRSiddonJacobsRayTracing -t 0 300 0`, for `lateral` with `-rz -90`.

    The tool takes the CT's index axes for left, posterior and superior, whatever its directions say: a CT of other
    axes is seen from elsewhere, mirrored or upside down. The source stands 1300 mm from the middle of the grid; the
    detector, whose place changes nothing, stands behind the grid. With other than 512 pixels the field is the same.

    | view      | source      | column 0        | row 0    | of a CT whose axes run LPS |
    |-----------|-------------|-----------------|----------|----------------------------|
    | `ap`      | in front    | patient's right | superior | first index grows to left  |
    | `lateral` | on the left | anterior        | superior | second to posterior        |

    Args:
        volume: `(C, D, H, W)`; its grid alone counts.
        view:   `ap` or `lateral`.
        shape:  (H, W) pixels; one number is both.

    Returns:
        A batch of one float64 camera on the CPU, with the middle of the grid as its isocentre.

    Raises:
        UsageError: another view.

    Source: Wu 2010, *ITK-based implementation of two-projection 2D/3D registration* (Insight Journal 784);
    Hou et al., *Shadow and Light* (DRR-RATE), for the shift and the turn.
    """
    check_view(view)
    shape = image_shape(shape)
    axis, sense, column = ITK_VIEWS[view]
    directions = (volume.affine[:3, :3] / volume.affine[:3, :3].norm(dim=0)).T
    beam, spacing_mm = sense * directions[axis], volume.spacing_mm[axis]
    middle = volume.to_world((torch.tensor(volume.shape, dtype=torch.float64, device="cpu") - 1) / 2)
    source_middle_mm = SOURCE_ISOCENTRE_MM + SHIFT_MM
    behind_mm = (volume.shape[axis] / 2 + 1) * spacing_mm
    pixel_mm = PIXEL_MM * PIXELS / max(shape) * (source_middle_mm + behind_mm) / SOURCE_ISOCENTRE_MM
    return Camera(
        (middle - source_middle_mm * beam)[None],
        (middle + behind_mm * beam)[None],
        directions[column][None],
        -directions[2][None],
        shape=(shape[0], shape[1]),
        pixel_mm=torch.full((1, 2), pixel_mm, dtype=torch.float64, device="cpu"),
        isocentre=middle[None],
    )


def ignored_directions(volume: Volume) -> str | None:
    """A clause for a warning where a CT's axes are not those that the tool takes them for; None where they are.

    Args:
        volume: `(C, D, H, W)`; its grid alone counts.
    """
    directions = volume.affine[:3, :3] / volume.affine[:3, :3].norm(dim=0)
    if torch.allclose(directions, _LPS, rtol=0.0, atol=ASKEW):
        return None
    found = "".join(letter(column) for column in directions.numpy().T)
    return (
        f"its axes run towards {found}, and ITK's tool takes them for LPS without looking: the image is flipped, "
        "turned or askew, as the tool's is; other modes keep the orientation"
    )


def check_view(view: str) -> None:
    """Refuse a view that the tool was not called for.

    Raises:
        UsageError: neither `ap` nor `lateral`.
    """
    if view not in ITK_VIEWS:
        raise UsageError(f"mode itk has the views ap and lateral, found {view!r}; add --view ap")
