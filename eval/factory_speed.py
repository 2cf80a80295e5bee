"""What a CT costs on its way into a data set: seconds by station, CTs a minute with one worker and two, memory, ITK.

python eval/factory_speed.py                        two CTs of 512 x 512 x 300, made here of phantoms with noise
python eval/factory_speed.py --slices 600           larger ones, for the memory of a worker
python eval/factory_speed.py --itk PYTHON           beside ITK's own, by a Python that has itk-twoprojectionregistration
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from benchmark import factory


def main() -> int:
    """Measure, print a table, and write it where `--out` says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cts", type=int, default=2, help="how many")
    parser.add_argument("--slices", type=int, default=300, help="of each, of 512 x 512 voxels")
    parser.add_argument("--pixels", type=int, default=512, help="of an image's side")
    parser.add_argument("--folder", type=Path, help="keep the CTs here, and use those that are here")
    parser.add_argument("--itk", type=Path, metavar="PYTHON", help="that has itk-twoprojectionregistration")
    parser.add_argument("--out", type=Path, help="write the result as JSON")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary) / "cts"
        factory.write_cts(folder, given.cts, given.slices)
        result = factory.measure(folder, Path(temporary), given.pixels, itk=given.itk)
    print(factory.table(result))
    if given.out:
        given.out.write_text(json.dumps(result, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
