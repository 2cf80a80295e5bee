"""The whole line on phantoms, from nothing to a report: what `make demo` runs."""

import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

from nerp.training.config import load_config
from nerp.training.phantom_radiographs import make_radiographs

RUN = Path("runs/demo")
LUNGS = "lung_*,pulmonary_arteries,pulmonary_veins,bronchi"


def main() -> int:
    """Train, synthesise, score, report; stop at the first step that fails."""
    started, data, pairs, test = time.monotonic(), RUN / "data", RUN / "pairs", RUN / "test"
    volumes = f"--ct {data}/ct --labels {data}/labels --label-names {data}/labels.csv"
    nerp(f"train demo run_dir={RUN}")
    nerp(f"synthesize {RUN} {volumes} --mask {LUNGS} --views 8 --shape 128 -o {pairs}")
    print(f"\nRadiographs of other phantoms, with masks, go to {test}", flush=True)
    make_test_set(test)
    keep = f"--save {RUN}/evaluation_"
    nerp(f"evaluate segmentation --train {pairs} --test {test} --minutes 1.5 {keep}segmentation.json")
    real = f"{data}/radiographs/images"
    nerp(f"evaluate fidelity {pairs}/images {real} --extractor efficientnet-lite0 {keep}fidelity.json")
    nerp(f"report {pairs}")
    nerp(f"report {RUN}")
    print(
        f"\n{(time.monotonic() - started) / 60:.1f} minutes. Phantoms played the radiographs: the scores say nothing of"
    )
    print(f"patients, only that every station works. The report: {(RUN / 'report.html').resolve()}")
    return 0


def nerp(command: str) -> None:
    """Show and run one command."""
    print(f"\n$ nerp {command}", flush=True)
    environment = {"OMP_WAIT_POLICY": "PASSIVE", **os.environ}  # on busy cores, spinning threads cost minutes
    code = subprocess.run([sys.executable, "-m", "nerp", *shlex.split(command)], env=environment).returncode
    if code:
        sys.exit(code)


def make_test_set(folder: Path) -> None:
    """Radiographs of phantoms that no training has seen."""
    known = load_config("demo").phantom
    seed = known.seed + known.radiographs
    make_radiographs(folder, count=12, seed=seed, spacing_mm=known.spacing_mm, shape=(128, 128))


if __name__ == "__main__":
    sys.exit(main())
