"""Time a physical radiograph of a CT, station by station, and a hundred variants of it, as JSON.

Example: python eval/chain.py ct.nii.gz --labels labels.nii.gz
"""

import argparse
import json

from benchmark.chain import measure
from nerp import read_labels, read_volume


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ct")
    parser.add_argument("--labels", help="of the structures whose densities vary; none: the whole body's")
    given = parser.parse_args()
    ct = read_volume(given.ct)
    labels = None if given.labels is None else read_labels(given.labels, like=ct)
    print(json.dumps(measure(ct, labels), indent=2))


if __name__ == "__main__":
    main()
