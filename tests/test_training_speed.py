"""What `eval/training_speed.py` claims: every second of a step stands at one station."""

import json
import runpy
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "eval" / "training_speed.py"
TINY = ["data.size=32", "viewer.shape=[16,16]", "viewer.n_samples=8", "mapper.arch=unet", "discriminator.depth=3"]


def test_stations_add_up_to_the_step(tmp_path, monkeypatch, capsys):
    out = tmp_path / "speed.json"
    more = ["discriminator.channels=4", "discriminator.patches=1", "trainer.views_per_volume=1", "--steps", "1"]
    monkeypatch.setattr(sys, "argv", ["training_speed.py", "demo", *TINY, *more, "--out", str(out)])
    assert runpy.run_path(str(SCRIPT))["main"]() == 0
    told, result = capsys.readouterr().out, json.loads(out.read_text())
    seconds = dict(result["seconds"])
    whole = seconds.pop("step")
    assert set(seconds) == {"mapper", "viewer", "DRR", "discriminators", "backward", "rest"}
    assert sum(seconds.values()) == pytest.approx(whole) and min(seconds.values()) > 0
    assert result["peak_gb"] > 0.05 and "GB at the peak" in told
