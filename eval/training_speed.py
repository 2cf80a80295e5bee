"""What a step of adversarial training costs here: seconds by station, and memory at its peak.

python eval/training_speed.py                                 the preset chest at 128^3 and 128 x 128, on this machine
python eval/training_speed.py paper --full --device cuda      the paper's scale: 256^3, 256 x 256, 512 samples
python eval/training_speed.py chest mapper.checkpointing=true key=value, as nerp train takes them
"""

import argparse
import json
import sys
from pathlib import Path

from benchmark import stations

SMALL = ["data.size=128", "viewer.shape=[128,128]", "viewer.n_samples=128"]
FULL = ["data.size=256", "viewer.shape=[256,256]", "viewer.n_samples=512"]


def main() -> int:
    """Measure the steps, print them as a table, and write them where `--out` says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", nargs="?", default="chest", help="preset or YAML file")
    parser.add_argument("overrides", nargs="*", help="key=value")
    parser.add_argument("--full", action="store_true", help="the paper's scale")
    parser.add_argument("--steps", type=int, default=3, help="that are measured, after one that is not")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--out", type=Path, help="write the result as JSON")
    given = parser.parse_intermixed_args()
    precision = [] if given.device == "cuda" else ["precision=32-true"]
    overrides = [f"device={given.device}", *precision, *(FULL if given.full else SMALL), *given.overrides]
    result = stations.measure(given.config, overrides, steps=given.steps)
    print(stations.table(result))
    if given.out:
        given.out.write_text(json.dumps(result, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
