"""The picture of a report, light and dark, drawn by Chromium: python assets/docs/report_picture.py assets/report.png"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

from nerp.cli import main as nerp

SIZE = (1000, 1240)
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--force-color-profile=srgb")


def main(out: str) -> int:
    """Make pairs of phantoms, score them against other phantoms' DRRs, and take pictures of the page."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        page = report(folder)
        shots = [shot(page, folder / f"{scheme}.png", dark=scheme == "dark") for scheme in ("light", "dark")]
    both = Image.new("RGB", (2 * SIZE[0], SIZE[1]))
    for place, image in enumerate(shots):
        both.paste(image, (place * SIZE[0], 0))
    both.resize((SIZE[0], SIZE[1] // 2), Image.Resampling.LANCZOS).quantize(256, Image.Quantize.FASTOCTREE).save(
        out, optimize=True
    )
    return 0


def report(folder: Path) -> Path:
    """The page of six physical radiographs of two phantoms, with their fidelity."""
    for part, seed in (("seen", 0), ("other", 50)):
        run(f"phantom {folder}/{part} --count 2 --seed {seed}")
    inputs = "--ct {0}/ct --labels {0}/labels --label-names {0}/labels.csv --mask lung_* --views 3"
    run(f"synthesize {inputs.format(folder / 'seen')} --mode physics -o {folder}/pairs")
    run(f"synthesize {inputs.format(folder / 'other')} -o {folder}/drr")
    keep = f"--save {folder}/pairs/evaluation_fidelity.json"
    run(f"evaluate fidelity {folder}/pairs {folder}/drr --extractor efficientnet-lite0 {keep}")
    run(f"report {folder}/pairs --pairs 5")
    return folder / "pairs" / "report.html"


def run(command: str) -> None:
    """One command of nerp, which has to succeed."""
    if code := nerp(command.split()):
        sys.exit(code)


def shot(page: Path, out: Path, *, dark: bool) -> Image.Image:
    """What a window shows of a page."""
    scheme = ["--blink-settings=preferredColorScheme=0"] if dark else ["--blink-settings=preferredColorScheme=1"]
    size = f"--window-size={SIZE[0]},{SIZE[1]}"
    command = ["chromium", *FLAGS, *scheme, size, f"--screenshot={out}", page.as_uri()]
    subprocess.run(command, check=True, timeout=120, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return Image.open(out).convert("RGB")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
