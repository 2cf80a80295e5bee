"""What the benchmark claims: same pictures, whole ratios, counts that rays confirm."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmark import accuracy, cases, microbenchmarks, peers, roofline, summary, timing, workload
from nerp.projection.backends import cpu
from nerp.projection.backends.reference.segments import segments
from nerp.projection.rays import Rays, cast_rays

SCRIPT = Path(__file__).parents[1] / "eval" / "speed.py"
compiled = pytest.mark.skipif(cpu.missing() is not None, reason=str(cpu.missing()))
measurable = pytest.mark.usefixtures("compiler")
CACHED = microbenchmarks.CACHED


def test_cases_take_turns_and_the_first_round_does_not_count():
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


def test_the_roofline_adds_up_by_what_shares_a_resource():
    rates = {"lookups": 4.0, "pair_lookups": 2.0, "additions": 1.0, "pair_additions": 1.0, "arithmetic": 10.0}
    work = roofline.Work(lookups=8, additions=1, arithmetic=5, bytes=6)
    assert work.seconds(rates | {"bytes": 2.0}) == {"cache": 3.0, "arithmetic": 0.5, "memory": 3.0}


@pytest.fixture
def compiler():
    """The microbenchmarks are compiled, or the test is skipped."""
    if microbenchmarks.missing():
        pytest.skip(microbenchmarks.missing())


@pytest.fixture
def fresh_microbenchmarks():
    """They are compiled anew for the test, and after it."""
    microbenchmarks.load.cache_clear()
    yield
    microbenchmarks.load.cache_clear()


def test_without_the_kernels_there_is_no_roofline(fresh_microbenchmarks, monkeypatch):
    monkeypatch.setattr(microbenchmarks.library, "missing", lambda: "not built")
    assert roofline.roofline({"march": 1.0}) == {}
    assert microbenchmarks.missing() == "not built"


@compiled
def test_without_a_compiler_there_is_no_roofline_and_the_reason_is_told(fresh_microbenchmarks, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert roofline.roofline({"march": 1.0}) == {}
    with pytest.raises(RuntimeError, match="no C.. compiler is found; install .* or name one in CXX"):
        microbenchmarks.rates()


def test_voxels_are_counted_as_segments_of_the_rays():
    rays = cast_rays(workload.view(workload.rotation(), pixels=16), workload.grid(64), (64, 64, 64))
    counted = roofline.count_voxels(rays)
    _, lengths_mm = segments(Rays(rays.starts[0], rays.directions[0], rays.lengths_mm[0]), (64, 64, 64))
    assert counted == pytest.approx((lengths_mm > 1e-9).sum().item(), rel=0.02)


@measurable
@pytest.mark.parametrize(("kind", "floats"), [("lookups", 1), ("pair_lookups", 4)])
def test_lookups_read_what_they_count(kind, floats):
    data = torch.full((CACHED + 16,), 0.5)
    assert microbenchmarks.run(kind, data, CACHED, 1000) == 1000 * microbenchmarks.lanes() * floats * 0.5


@measurable
@pytest.mark.parametrize(("kind", "floats"), [("additions", 1), ("pair_additions", 4)])
def test_additions_add_what_they_count(kind, floats):
    data = torch.full((CACHED + 16,), 0.5)
    data[1:] = 0
    microbenchmarks.run(kind, data, CACHED, 10)
    assert data.sum() == 0.5 + 10 * microbenchmarks.lanes() * floats * 0.5


@measurable
def test_reading_reads_the_window():
    data = torch.full((CACHED + 16,), 0.5)
    assert microbenchmarks.run("reading", data, CACHED, 3) == 3 * CACHED * 0.5


@measurable
def test_arithmetic_multiplies_and_adds_what_it_counts():
    """After two rounds of s -> s / 2 + 1 / 2, twelve sums that began at 0 to 11 are s / 4 + 3 / 4."""
    data = torch.full((CACHED + 16,), 0.5)
    expected = microbenchmarks.lanes() * sum(start / 4 + 3 / 4 for start in range(12))
    assert microbenchmarks.run("arithmetic", data, CACHED, 2) == expected


@measurable
def test_rates_are_those_of_a_machine():
    found = microbenchmarks.rates(repeats=1)
    assert all(1e7 < rate < 1e13 for rate in found.values()), found
    assert found["arithmetic"] > found["lookups"]


def test_plain_march_draws_our_picture():
    """Of fields that end inside the volume, since `grid_sample` fades to 0 at its faces."""
    ours = cases.Projections(pixels=24)
    inside = torch.zeros(1, 128, 128, 128)
    inside[:, 4:-4, 4:-4, 4:-4] = 1
    fields = [part * inside for part in workload.random_fields()]
    expected = ours.march(*fields)
    assert expected.max() > 0.1
    whole = cases.plain_march(*fields, ours.camera)
    torch.testing.assert_close(whole, expected.flatten(), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(cases.plain_march(*fields, ours.camera, rays_at_once=100), whole)


def test_peers_run_or_say_why_not():
    runs, missing = peers.peers()
    names = {"itk", "diffdrr", "nanodrr", "flashdrr"}
    assert set(missing) | {name.split()[0].replace("rtk", "itk") for name in runs} == names
    assert all(missing.values())


@compiled
@pytest.mark.slow
def test_gradients_are_those_of_double_precision():
    found = accuracy.agreement(pixels=32)
    assert max(error for name, error in found.items() if "forward" in name) <= 1e-5
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
    assert {"machine", "seconds", "ratios", "agreement", "roofline", "pictures"} <= set(result)
    assert f"{result['ratios'][0]['ratio']:.2f}" in done.stdout


def test_a_physical_radiograph_is_timed_station_by_station(monkeypatch):
    from plain_chest import plain_chest

    from benchmark import chain

    monkeypatch.setattr(chain, "SHAPE", (24, 30))
    monkeypatch.setattr(chain, "N_VARIANTS", 3)
    monkeypatch.setattr(chain, "REPEATS", 1)
    told = chain.measure(plain_chest(spacing_mm=16.0), None)
    assert told["seconds"]["CT to film"] > told["seconds"]["radiograph"] > 0
    assert told["ratios"]["variants / one"] > 0
