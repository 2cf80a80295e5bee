"""What a study found, small enough for the repository: no list by image, no folder, and all that decided it.

python eval/results.py runs/experiments/fidelity_table                # writes assets/results/fidelity_table.json
python eval/results.py runs/experiments/fidelity_table results.json
"""

import argparse
from pathlib import Path

from nerp.errors import NerpError
from nerp.experiments.study.results import results_of
from nerp.files import json_bytes, write_bytes
from nerp.report.words import without_folders

RESULTS = Path(__file__).resolve().parents[1] / "assets" / "results"


def pathless(value: object) -> object:
    """A JSON value whose texts name no folder of this machine."""
    if isinstance(value, dict):
        return {without_folders(str(key)): pathless(one) for key, one in value.items()}
    if isinstance(value, list):
        return [pathless(one) for one in value]
    return without_folders(value) if isinstance(value, str) else value


def main() -> None:
    """Read a study's folder, and write what it found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path, help="folder of nerp study")
    parser.add_argument("out", type=Path, nargs="?", help="JSON file")
    given = parser.parse_args()
    path = given.out or RESULTS / f"{given.study.resolve().name}.json"
    try:
        write_bytes(path, json_bytes(pathless(results_of(given.study))))
    except NerpError as error:
        raise SystemExit(f"results: {error}") from error
    print(path)


if __name__ == "__main__":
    main()
