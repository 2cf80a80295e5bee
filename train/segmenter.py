"""Teach a segmenter on a folder of pairs and keep its weights.

python train/segmenter.py PAIRS -o runs/segmenter --minutes 5       a run's folder; run again, it goes on
python train/segmenter.py PAIRS -o runs/segmenter.safetensors       the weights alone
"""

import argparse
import json
import sys
from pathlib import Path

from nerp.cli import guarded
from nerp.config import read_settings
from nerp.files import check_file
from nerp.networks.segmenter import save_segmenter
from nerp.training.segmentation import train_segmenter
from nerp.training.settings import SegmenterConfig


def main() -> None:
    """Train, print the numbers of the training as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", help="folder with images/ and masks/")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="such as segmenter.side=256 device=cuda")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder of the run, or a .safetensors file")
    parser.add_argument("--epochs", help="passes over the pairs; about 1000 steps if not given")
    parser.add_argument("--minutes", help="time limit, 10 if not given")
    parser.add_argument("--side", help="working resolution, a multiple of 32, 128 if not given")
    parser.add_argument("--seed", help="of everything random")
    given = parser.parse_intermixed_args()
    keys = {name: f"segmenter.{name}" for name in ("epochs", "minutes", "side")} | {"seed": "seed"}
    options = [f"{key}={getattr(given, name)}" for name, key in keys.items() if getattr(given, name) is not None]
    is_file = given.out.suffix == ".safetensors"
    if is_file:
        check_file(given.out)
    where = {"train": given.pairs, "out": None if is_file else str(given.out)}
    trained = train_segmenter(read_settings(SegmenterConfig, None, [*given.overrides, *options], options=where))
    if is_file:
        save_segmenter(given.out, trained.network)
    print(json.dumps(trained.record(), indent=2))


if __name__ == "__main__":
    sys.exit(guarded(main))
