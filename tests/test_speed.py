"""What the benchmark claims: same pictures, whole ratios, counts that rays confirm."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from nerp.evaluation.speed import accuracy, limits, peers, summary, timing, workload
from nerp.projection.backends import cpu
from nerp.projection.backends.cpu import library
from nerp.projection.backends.segments import segments
from nerp.projection.rays import Rays, cast_rays

SCRIPT = Path(__file__).parents[1] / "eval" / "speed.py"
compiled = pytest.mark.skipif(cpu.missing() is not None, reason=str(cpu.missing()))


def test_contestants_take_turns_and_the_first_round_does_not_count():
    seconds, order = [0.0], []

    def run(name, taken):
        order.append(name)
        seconds[0] += taken.pop(0)

    a, b = [100, 1, 2, 6], [100, 5, 5, 4]
    runs = {"a": lambda: run("a", a), "b": lambda: run("b", b)}
    times = timing.measure(runs, 3, clock=lambda: seconds[0])
    assert [set(order[i : i + 2]) for i in range(0, 8, 2)] == [{"a", "b"}] * 4
    assert times == {"a": {"median": 2.0, "least": 1.0}, "b": {"median": 5.0, "least": 4.0}}


def test_ratios_are_theirs_over_ours():
    rows = {row["title"]: row for row in summary.ratios({"torch march": 50.0, "march": 2.0, "rtk joseph": 3.0})}
    assert rows["march vs plain torch"]["ratio"] == 25.0
    assert rows["siddon + volume's gradient vs RTK Joseph + adjoint"]["ratio"] is None


def test_the_table_tells_ratios_and_what_is_not_here():
    seconds = {"march": {"median": 1.0, "least": 0.5}, "torch march": {"median": 30.0, "least": 29.0}}
    result = {"seconds": seconds, "ratios": summary.ratios({"march": 1.0, "torch march": 30.0})}
    text = summary.table(result | {"missing": {"itk": "no module"}})
    assert "30.00   at least 25, aim 50" in text and "not measured" in text and "itk: no module" in text


def test_limits_add_up_by_what_shares_a_resource():
    rates = {"lookups": 4.0, "pair_lookups": 2.0, "additions": 1.0, "pair_additions": 1.0, "arithmetic": 10.0}
    work = limits.Work(lookups=8, additions=1, arithmetic=5, bytes=6)
    assert work.seconds(rates | {"bytes": 2.0}) == {"cache": 3.0, "arithmetic": 0.5, "memory": 3.0}


def test_without_the_kernels_there_are_no_limits(monkeypatch):
    monkeypatch.setattr(limits.library, "missing", lambda: "not built")
    assert limits.limits({"march": 1.0}) == {}


def test_voxels_are_counted_as_segments_of_the_rays():
    rays = cast_rays(workload.view(workload.rotation(), pixels=16), workload.grid(64), (64, 64, 64))
    counted = limits.count_voxels(rays)
    _, lengths_mm = segments(Rays(rays.starts[0], rays.directions[0], rays.lengths_mm[0]), (64, 64, 64))
    assert counted == pytest.approx((lengths_mm > 1e-9).sum().item(), rel=0.02)


@compiled
@pytest.mark.parametrize(("kind", "floats"), [(0, 1), (1, 4)])
def test_lookups_read_what_they_count(kind, floats):
    data = torch.full((limits.CACHED + 16,), 0.5)
    found = library.load().nerp_exercise(kind, data.data_ptr(), limits.CACHED, 1000)
    assert found == 1000 * library.lanes() * floats * 0.5


@compiled
@pytest.mark.parametrize(("kind", "floats"), [(2, 1), (3, 4)])
def test_additions_add_what_they_count(kind, floats):
    data = torch.full((limits.CACHED + 16,), 0.5)
    data[1:] = 0
    library.load().nerp_exercise(kind, data.data_ptr(), limits.CACHED, 10)
    assert data.sum() == 0.5 + 10 * library.lanes() * floats * 0.5


@compiled
def test_reading_reads_the_window():
    data = torch.full((limits.CACHED + 16,), 0.5)
    assert library.load().nerp_exercise(5, data.data_ptr(), limits.CACHED, 3) == 3 * limits.CACHED * 0.5


@compiled
def test_rates_are_those_of_a_machine():
    found = limits.rates(repeats=1)
    assert all(1e7 < rate < 1e13 for rate in found.values()), found
    assert found["arithmetic"] > found["lookups"]


def test_plain_march_draws_our_picture():
    """Of fields that end inside the volume, since `grid_sample` fades to 0 at its faces."""
    ours = workload.Projections(pixels=24)
    inside = torch.zeros(1, 128, 128, 128)
    inside[:, 4:-4, 4:-4, 4:-4] = 1
    fields = [part * inside for part in workload.random_fields()]
    expected = ours.march(*fields)
    assert expected.max() > 0.1
    whole = workload.plain_march(*fields, ours.camera)
    torch.testing.assert_close(whole, expected.flatten(), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(workload.plain_march(*fields, ours.camera, rays_at_once=100), whole)


def test_peers_run_or_say_why_not():
    runs, missing = peers.peers()
    names = {"itk", "diffdrr", "nanodrr", "flashdrr"}
    assert set(missing) | {name.split()[0].replace("rtk", "itk") for name in runs} == names
    assert all(missing.values())


@compiled
@pytest.mark.slow
def test_gradients_are_those_of_double_precision():
    found = accuracy.agreement(pixels=32)
    assert max(share for name, share in found.items() if "forward" in name) <= 1e-5
    assert max(found.values()) <= 1e-4


@compiled
@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("name", ["march", "march fields", "march camera"])
def test_memory_does_not_grow_with_samples(name):
    few, many = (timing.extra_mb(name, samples=samples) for samples in (128, 4096))
    gradient_mb = 2 * 4 * 128**3 / 2**20
    assert many <= few + 2
    assert many <= 64 + gradient_mb


@compiled
@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_that_was_used_before_counts_again():
    """Both padded grids and both gradients are new, whatever the process had and gave back."""
    padded_mb, dense_mb = (2 * 4 * n**3 / 2**20 for n in (130, 128))
    assert timing.extra_mb("march fields") >= 2 * padded_mb + dense_mb


@pytest.mark.slow
def test_the_script_writes_what_it_prints(tmp_path):
    out = tmp_path / "speed.json"
    command = [sys.executable, SCRIPT, "--repeats", "1", "--threads", "1", "--out", out]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    result = json.loads(out.read_text())
    assert {"machine", "seconds", "ratios", "agreement", "limits", "pictures"} <= set(result)
    assert f"{result['ratios'][0]['ratio']:.2f}" in done.stdout
