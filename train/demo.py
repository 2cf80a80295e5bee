"""The whole line on phantoms, from nothing to a report: what `make demo` runs, each command as one would type it."""

import json
import shlex
import subprocess
import sys
import time
from pathlib import Path

from nerp.config import load_config
from nerp.training.stand_in import make_radiographs

RUN = Path("runs/demo")
LUNGS = "lung_*,pulmonary_arteries,pulmonary_veins,bronchi"


def main() -> int:
    """Train, synthesise, score, report; stop at the first step that fails."""
    started, data, pairs, test = time.monotonic(), RUN / "data", RUN / "pairs", RUN / "test"
    volumes = f"--ct {data}/ct --labels {data}/labels --label-names {data}/labels.csv"
    nerp(f"train demo run_dir={RUN}")
    nerp(f"synthesize {RUN} {volumes} --mask {LUNGS} --views 8 --shape 128 -o {pairs}")
    print(f"\nStand-in radiographs of other phantoms, with masks, go to {test}", flush=True)
    make_test_set(test)
    scores = {
        "segmentation": f"evaluate segmentation --train {pairs} --test {test} --minutes 1.5",
        "fidelity": f"evaluate fidelity {pairs}/images {data}/radiographs/images --extractor efficientnet-lite0",
    }
    for name, command in scores.items():
        result = json.loads(nerp(f"{command} --json", capture=True))
        (RUN / f"evaluation_{name}.json").write_text(json.dumps(result, indent=2))
        print(headline(result), flush=True)
    nerp(f"report {pairs}")
    nerp(f"report {RUN}")
    print(f"\nAll of it took {(time.monotonic() - started) / 60:.1f} minutes. Phantoms played the radiographs, so the")
    print("scores show that every station works, and nothing about patients. The last line above is the report.")
    return 0


def nerp(command: str, capture: bool = False) -> str:
    """Show and run one command; its output where it is captured."""
    print(f"\n$ nerp {command}", flush=True)
    done = subprocess.run([sys.executable, "-m", "nerp", *shlex.split(command)], stdout=capture and subprocess.PIPE)
    if done.returncode:
        sys.exit(done.returncode)
    return done.stdout.decode() if capture else ""


def headline(result: dict) -> dict:
    """The means and values among the scores."""
    scores = {name: score for name, score in result.items() if isinstance(score, dict)}
    return {name: score.get("mean", score.get("value")) for name, score in scores.items() if "ci95" in score}


def make_test_set(folder: Path) -> None:
    """Stand-ins of phantoms that no training has seen."""
    known = load_config("demo").phantom
    common = {"spacing_mm": known.spacing_mm, "shape": (128, 128), "advance": lambda: None}
    make_radiographs(folder, count=12, seed=known.seed + known.stand_ins, **common)


if __name__ == "__main__":
    sys.exit(main())
