"""FID, KID and Inception score of a folder of images against a folder of real ones.

python eval/fidelity.py PAIRS/images REAL/images --extractor efficientnet-lite0
"""

import argparse
import json
import sys
from pathlib import Path

from nerp.errors import NerpError
from nerp.evaluation.extractors import load_extractor
from nerp.evaluation.fidelity import evaluate_fidelity


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fake", type=Path, help="folder of images to judge")
    parser.add_argument("real", type=Path, help="folder of real images")
    parser.add_argument("--extractor", default="inception", help="inception, efficientnet-lite0 or a TorchScript file")
    parser.add_argument("--weights", type=Path, help="Inception's weights file")
    parser.add_argument("--download", action="store_true", help="fetch Inception's weights where they are missing")
    parser.add_argument("--resamples", type=int, default=100, help="bootstrap sets of the intervals; 0 for none")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    try:
        extractor = load_extractor(given.extractor, weights=given.weights, download=given.download)
        result = evaluate_fidelity(
            given.fake, given.real, extractor=extractor, seed=given.seed, n_resamples=given.resamples
        )
    except NerpError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(json.dumps(result, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
