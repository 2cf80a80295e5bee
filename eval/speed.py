"""How fast the projections are here: seconds, ratios to peers, threads, memory, agreement with double precision.

python eval/speed.py --peers --threads 2 --out speed.json
"""

import argparse
import json
import sys
from pathlib import Path

import torch

from nerp.evaluation import speed
from nerp.evaluation.peers import peers
from nerp.evaluation.workload import contestants, plain_contestants


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", action="store_true", help="also measure the peers that are installed")
    parser.add_argument("--threads", type=int, default=2, help="compare so many threads with one; 1 skips it")
    parser.add_argument("--repeats", type=int, default=5, help="turns of each contestant")
    parser.add_argument("--memory", action="store_true", help="also measure memory, each in a fresh process")
    parser.add_argument("--out", type=Path, help="write the results as JSON")
    given = parser.parse_args()
    torch.set_num_threads(1)
    runs = {**contestants(), **plain_contestants()}
    others, missing = peers(1) if given.peers else ({}, {})
    seconds = speed.measure({**runs, **others}, given.repeats)
    result = {"machine": speed.machine(), "seconds": seconds, "missing": missing}
    result["ratios"] = speed.ratios({name: times["median"] for name, times in seconds.items()})
    result["agreement"] = speed.agreement()
    if given.threads > 1:
        result["scaling"] = speed.scaling(given.threads, repeats=given.repeats)
    if given.memory:
        result["extra_mb"] = {
            f"{k} x{n}": speed.extra_mb(k, samples=n) for k in speed.MEASURED for n in (128, 512, 4096)
        }
    print(speed.table(result))
    if given.out:
        given.out.write_text(json.dumps(result, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
