"""The whole line on phantoms, from nothing to a report: what `make demo` runs, as one would type it."""

import subprocess
import sys
import time
from pathlib import Path

from nerp.config import load_config
from nerp.training.stand_in import make_radiographs

RUN = Path("runs/demo")
N_TEST = 16


def main() -> int:
    """Train, synthesise, score, report; stop at the first step that fails."""
    started = time.monotonic()
    data, pairs, test = RUN / "data", RUN / "pairs", RUN / "test"
    steps = [
        f"train demo run_dir={RUN}",
        f"synthesize {RUN} --ct {data / 'ct'} --labels {data / 'labels'} --label-names {data / 'labels.csv'}"
        f" --mask lung_* --views 8 --shape 128 -o {pairs}",
        f"evaluate segmentation --train {pairs} --test {test} --minutes 1.5 -o {RUN / 'segmentation'}",
        f"evaluate fidelity {pairs / 'images'} {data / 'radiographs' / 'images'} --extractor efficientnet-lite0"
        f" -o {RUN / 'fidelity.json'}",
        f"report {RUN}",
    ]
    for step in steps:
        if step.startswith("evaluate segmentation"):
            make_test_set(test)
        print(f"\n$ nerp {step}", flush=True)
        code = subprocess.run([sys.executable, "-m", "nerp", *step.split()], check=False).returncode
        if code:
            return code
    print(f"\nThe whole line took {(time.monotonic() - started) / 60:.1f} minutes. Stand-ins played the radiographs:")
    print("the scores show that every station works, and nothing about patients.")
    return 0


def make_test_set(folder: Path) -> None:
    """Stand-in radiographs of phantoms that training has not seen, with their masks."""
    settings = load_config("demo").phantom
    seed = settings.seed + settings.stand_ins
    make_radiographs(folder, count=N_TEST, seed=seed, spacing_mm=settings.spacing_mm, shape=(128, 128))


if __name__ == "__main__":
    sys.exit(main())
