"""Small chests of ellipsoids, runs and DICOM series for the tests of synthesis."""

from dataclasses import replace
from pathlib import Path

import torch
from dicom_series import write_slice

from nerp.config import save_settings
from nerp.networks import Mapper
from nerp.projection import MaskRule
from nerp.settings import flatten
from nerp.synthesis import MaskSettings, PairSettings
from nerp.training.checkpoint import save_generator
from nerp.training.config import load_config
from nerp.volume import Volume, write_volume

SPACING_MM = 14.0
HEART = 51
SETTINGS = PairSettings(
    shape=(24, 20), mask=MaskSettings(labels=(10, 11), rule=MaskRule("thickness")), views=3, device="cpu"
)
MASK = {"mask_labels": "labels", "rule": "rule", "obscuring": "obscuring", "label_names": "label_names"}
VIEW = ("view", "angle_deg", "yaw_deg")


def changed(**changes) -> PairSettings:
    """`SETTINGS` with some of its own, of the mask's and of the view's settings changed."""
    mask = {MASK[name]: changes.pop(name) for name in MASK if name in changes}
    camera = {name: changes.pop(name) for name in VIEW if name in changes}
    parts = {"mask": replace(SETTINGS.mask, **mask), "camera": replace(SETTINGS.camera, **camera)}
    return replace(SETTINGS, **parts, **changes)


def chest(heart_mm: float = 45.0) -> tuple[Volume, Volume]:
    """A trunk with two lungs and a heart of ellipsoids; labels 10, 11 and 51."""
    affine = torch.diag(torch.tensor([SPACING_MM] * 3 + [1.0], dtype=torch.float64))
    shape = torch.tensor([26, 18, 26])
    affine[:3, 3] = -(shape - 1) / 2 * SPACING_MM
    index = torch.cartesian_prod(*(torch.arange(n, dtype=torch.float64) for n in shape.tolist()))
    points = index @ affine[:3, :3].T + affine[:3, 3]

    def inside(centre, radii):
        return (((points - torch.tensor(centre)) / torch.tensor(radii)) ** 2).sum(1) <= 1

    body = inside((0.0, 0.0, 0.0), (165.0, 110.0, 400.0))
    labels = torch.zeros(len(points))
    labels[inside((75.0, 0.0, 0.0), (55.0, 80.0, 120.0))] = 10
    labels[inside((-75.0, 0.0, 0.0), (55.0, 80.0, 120.0))] = 11
    labels[inside((-20.0, 20.0, -40.0), (heart_mm, 45.0, 50.0))] = HEART
    hu = torch.full_like(labels, -1000.0)
    hu[body] = 30.0
    hu[(labels == 10) | (labels == 11)] = -850.0
    volumes = (values.reshape(1, *shape.tolist()) for values in (hu, labels))
    return tuple(Volume(values, affine, unit) for values, unit in zip(volumes, ("hu", "label"), strict=True))


def write_chests(folder: Path, names=("anna", "bert")) -> tuple[Path, Path]:
    """`folder/ct` and `folder/labels`, each chest with another heart."""
    for number, name in enumerate(names):
        for part, volume in zip(("ct", "labels"), chest(45.0 + 5.0 * number), strict=True):
            (folder / part).mkdir(parents=True, exist_ok=True)
            write_volume(folder / part / f"{name}.nii.gz", volume)
    return folder / "ct", folder / "labels"


def write_run(folder: Path, *, n_samples: int = 32) -> Path:
    """A run whose mapper is small and untrained."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        mapper = Mapper("unet", channels=2)
    viewer = [f"viewer.n_samples={n_samples}", "viewer.shape=[24,20]"]
    grid = ["mapper.arch=unet", "mapper.channels=2", "data.size=32", "data.window_hu=[-1000,500]"]
    config = load_config(None, [*grid, *viewer])
    save_settings(config, folder / "config.yaml")
    save_generator(folder / "generator.safetensors", mapper, step=0, settings=flatten(config))
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def write_series(folder: Path, volume: Volume) -> None:
    """A CT as axial DICOM slices that name a patient."""
    folder.mkdir()
    for k in range(volume.shape[2]):
        place = volume.affine @ torch.tensor([volume.shape[0] - 1, volume.shape[1] - 1, k, 1.0], dtype=torch.float64)
        pixels = volume.values[0, :, :, k].flip(0, 1).T.numpy()
        position = (-float(place[0]), -float(place[1]), float(place[2]))
        fields = {"PixelSpacing": [SPACING_MM] * 2, "RescaleIntercept": 0.0}
        write_slice(folder / f"{k}.dcm", pixels, position, series="1.2.826.0.1.77", **fields)
