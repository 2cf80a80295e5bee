"""Images with findings that a small network tells at once: a bright spot on the left, a dark one on the right."""

from pathlib import Path

import numpy as np
from PIL import Image


def write_findings(folder: Path, count: int, *, seed=0, side=40, images_each=1) -> Path:
    """`folder/images` with files of patients by NIH's names, and `folder/labels.csv`: effusion, nodule, mass.

    Effusion (each second patient) is the spot on the left; nodule (each third) on the right; mass (each fifth) is
    nowhere to be seen.
    """
    generator = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True)
    rows = ["Image Index,Pleural Effusion,Lung nodule,Mass"]
    for patient in range(count):
        effusion, nodule, mass = (int(patient % every == 0) for every in (2, 3, 5))
        for number in range(images_each):
            image = generator.normal(0.5, 0.05, (side, side))
            image[12:24, 4:14] += 0.4 * effusion
            image[12:24, 26:36] -= 0.4 * nodule
            file = f"{1000 * seed + patient + 1:08d}_{number:03d}.png"
            Image.fromarray((image.clip(0, 1) * 255).astype(np.uint8)).save(folder / "images" / file)
            rows.append(f"{file},{effusion},{nodule},{mass}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return folder
