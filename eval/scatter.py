"""Scatter of a slab of water under a parallel beam, at the centre of a square field, 20 cm of water round each ray.

python eval/scatter.py --water-mm 200 --field-mm 300 --gap-mm 50 --kev 60 --json
python eval/scatter.py --water-mm 200 --field-mm 300 --gap-mm 50 --kvp 120 --al-mm 2.5 --grid 12:1-al --exact
"""

import argparse
import json
import sys

from benchmark.slab import Slab, measure
from nerp.errors import NerpError


def main() -> int:
    """Print primary transmission and scatter over primary, by counts and by energy."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--water-mm", type=float, default=200.0, help="thickness of the slab, 400 by 400 mm across")
    parser.add_argument("--field-mm", type=float, default=300.0, help="side of the field at the detector")
    parser.add_argument("--gap-mm", type=float, default=50.0, help="between the slab and the detector")
    parser.add_argument("--kev", type=float, help="energy of all photons; instead of --kvp")
    parser.add_argument("--kvp", type=float, default=120.0, help="peak voltage of a tungsten spectrum")
    parser.add_argument("--al-mm", type=float, default=2.5, help="filtration of that spectrum")
    parser.add_argument("--cu-mm", type=float, default=0.0, help="added copper")
    parser.add_argument("--grid", help="such as 12:1-al or 10:1-fibre")
    parser.add_argument("--exact", action="store_true", help="by the transport of single photons, not the fast way")
    parser.add_argument("--photons", type=int, help="how many; each way has its own default")
    parser.add_argument("--seed", type=int, default=0, help="of the random numbers")
    parser.add_argument("--threads", type=int, help="to use")
    parser.add_argument("--json", action="store_true", help="print JSON")
    try:
        result = measure(Slab(**vars(parser.parse_args())))
    except NerpError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(json.dumps(result) if result.pop("json") else "\n".join(f"{name}: {value}" for name, value in result.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
