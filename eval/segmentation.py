"""Score a segmenter on images with human masks, trained on pairs here or before.

python eval/segmentation.py --train PAIRS --test DIR -o runs/scores --minutes 5
python eval/segmentation.py --weights runs/scores/segmenter.safetensors --test DIR
"""

import argparse
import json
import sys
from pathlib import Path

from nerp.errors import NerpError
from nerp.evaluation.segmentation import evaluate_segmentation
from nerp.training.supervised import SegmenterPlan


def show(done: int, planned: int, loss: float) -> None:
    if done % 50 == 0:
        print(f"step {done} of {planned}, loss {loss:.4f}", file=sys.stderr)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, help="folder of pairs to learn from")
    parser.add_argument("--weights", type=Path, help="segmenter.safetensors of an earlier run, instead of --train")
    parser.add_argument("--test", type=Path, required=True, help="folder with images/ and masks/")
    parser.add_argument("-o", "--out", type=Path, help="folder for weights, scores and predictions")
    parser.add_argument("--epochs", type=int, help="passes over the pairs; about 1000 steps if not given")
    parser.add_argument("--minutes", type=float, default=10.0, help="time limit of the training")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    try:
        plan = SegmenterPlan(epochs=given.epochs, minutes=given.minutes, seed=given.seed)
        result = evaluate_segmentation(
            given.train, given.test, plan=plan, weights=given.weights, out=given.out, progress=show
        )
    except NerpError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(json.dumps(result, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
