"""Teach a segmenter on a folder of pairs and keep its weights.

python train/segmenter.py PAIRS -o runs/segmenter.safetensors --minutes 5
"""

import argparse
import json
import sys
from pathlib import Path

from nerp.cli import guarded
from nerp.files import check_file
from nerp.networks.segmenter import save_segmenter
from nerp.training.supervised import SegmenterPlan, train_segmenter


def show(done: int, planned: int, loss: float) -> None:
    if done % 50 == 0:
        print(f"step {done} of {planned}, loss {loss:.4f}", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", type=Path, help="folder with images/ and masks/")
    parser.add_argument("-o", "--out", type=Path, required=True, help="weights file to write, .safetensors")
    parser.add_argument("--epochs", type=int, help="passes over the pairs; about 1000 steps if not given")
    parser.add_argument("--minutes", type=float, default=10.0, help="time limit")
    parser.add_argument("--side", type=int, default=128, help="working resolution, a multiple of 32")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    check_file(given.out)
    plan = SegmenterPlan(epochs=given.epochs, minutes=given.minutes, seed=given.seed, side=given.side)
    trained = train_segmenter(given.pairs, plan=plan, progress=show)
    save_segmenter(given.out, trained.network)
    print(json.dumps(trained.record(), indent=2))


if __name__ == "__main__":
    sys.exit(guarded(main))
