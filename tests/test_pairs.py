"""Pairs on disk: whole or absent, completed after a kill, refused under other settings."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from pair_records import pair_record

from nerp.data.images import png_bytes
from nerp.data.pair_writer import PairWriter
from nerp.data.pairs import (
    DATASET,
    RECORDS,
    image_path,
    mask_path,
    read_dataset,
    read_pair,
    read_records,
)
from nerp.errors import DataError

SETTINGS = {"mode": "drr", "views": 2, "seed": 0}


def pixels(name: str) -> tuple[np.ndarray, np.ndarray]:
    numbers = np.random.default_rng(sum(map(ord, name)))
    return numbers.integers(0, 256, (8, 6), dtype=np.uint8), np.uint8(255) * numbers.integers(
        0, 2, (8, 6), dtype=np.uint8
    )


def files(name: str) -> list[bytes]:
    return [png_bytes(image) for image in pixels(name)]


def fill(folder, names, settings=SETTINGS):
    with PairWriter(folder, settings) as writer:
        for name in names:
            if name not in writer:
                writer.add(pair_record(name), *files(name))
        return writer.finish({"counts": {"pairs": len(writer.records)}})


def contents(folder) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_finished_folder_reads_back(tmp_path):
    dataset = fill(tmp_path / "pairs", ["a0", "a1"])
    records = read_records(tmp_path / "pairs" / RECORDS)
    assert [each.id for each in records] == ["a0", "a1"]
    assert next(iter(records[0].to_dict())) == "file_name"
    image, mask = read_pair(tmp_path / "pairs", records[1])
    expected_image, expected_mask = pixels("a1")
    assert np.array_equal(image, expected_image)
    assert np.array_equal(mask, expected_mask > 0)
    assert read_dataset(tmp_path / "pairs") == dataset == {"settings": SETTINGS, "complete": True, **dataset}


def test_an_unfinished_folder_says_so(tmp_path):
    with PairWriter(tmp_path / "pairs", SETTINGS) as writer:
        writer.add(pair_record("a0"), *files("a0"))
    assert read_dataset(tmp_path / "pairs")["complete"] is False


def test_a_folder_that_grows_again_is_unfinished_meanwhile(tmp_path):
    fill(tmp_path / "pairs", ["a0"])
    with PairWriter(tmp_path / "pairs", SETTINGS) as writer:
        writer.add(pair_record("a1"), *files("a1"))
        assert read_dataset(tmp_path / "pairs")["complete"] is False


@pytest.mark.parametrize("torn", [b'{"file_na', b"\x00\x00", b'{"id": "a1"}'])
def test_a_torn_last_line_is_cut_and_its_pair_made_again(tmp_path, torn):
    fill(tmp_path / "whole", ["a0", "a1"])
    with PairWriter(tmp_path / "torn", SETTINGS) as writer:
        writer.add(pair_record("a0"), *files("a0"))
    with open(tmp_path / "torn" / RECORDS, "ab") as file:
        file.write(torn)
    assert [each.id for each in read_records(tmp_path / "torn" / RECORDS)] == ["a0"]
    fill(tmp_path / "torn", ["a0", "a1"])
    assert contents(tmp_path / "torn") == contents(tmp_path / "whole")


def test_records_end_in_one_order_whoever_came_first(tmp_path):
    fill(tmp_path / "one", ["a0", "a1", "b0"])
    fill(tmp_path / "other", ["b0", "a1"])
    fill(tmp_path / "other", ["a0", "a1", "b0"])
    assert contents(tmp_path / "one") == contents(tmp_path / "other")


def test_a_lost_file_comes_back_and_its_record_stays_single(tmp_path):
    fill(tmp_path / "pairs", ["a0", "a1"])
    before = contents(tmp_path / "pairs")
    (tmp_path / "pairs" / "masks" / "a0.png").unlink()
    fill(tmp_path / "pairs", ["a0", "a1"])
    assert contents(tmp_path / "pairs") == before


def test_a_lost_file_that_renders_differently_is_refused(tmp_path):
    fill(tmp_path / "pairs", ["a0"])
    (tmp_path / "pairs" / "masks" / "a0.png").unlink()
    with (
        PairWriter(tmp_path / "pairs", SETTINGS) as writer,
        pytest.raises(DataError, match="a file of pair a0 was lost and renders differently"),
    ):
        writer.add(pair_record("a0", mask_sha256="3"), *files("a0"))


def test_other_settings_are_refused_with_the_differing_keys(tmp_path):
    fill(tmp_path / "pairs", ["a0"])
    before = contents(tmp_path / "pairs")
    with (
        pytest.raises(DataError, match="seed is 0 there, 1 here; views is 2 there, 3 here; repeat those"),
        PairWriter(tmp_path / "pairs", {**SETTINGS, "seed": 1, "views": 3}),
    ):
        pass
    assert contents(tmp_path / "pairs") == before


def test_a_folder_of_other_things_is_refused_untouched(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match="no folder of pairs"), PairWriter(tmp_path, SETTINGS):
        pass
    assert contents(tmp_path) == {"notes.txt": b"mine"}


@pytest.mark.parametrize("text", ["[1]", '{"name": "mine"}', '{"settings": 3}'])
def test_a_dataset_of_another_program_is_refused_untouched(tmp_path, text):
    (tmp_path / DATASET).write_text(text)
    with pytest.raises(DataError, match="is not what nerp synthesize writes"), PairWriter(tmp_path, SETTINGS):
        pass
    assert contents(tmp_path) == {DATASET: text.encode()}


def test_a_file_in_the_folders_place_is_refused(tmp_path):
    (tmp_path / "pairs").write_text("")
    with pytest.raises(DataError, match="is a file; expected a folder"), PairWriter(tmp_path / "pairs", SETTINGS):
        pass


def test_two_writers_never_share_a_folder(tmp_path):
    with (
        PairWriter(tmp_path / "pairs", SETTINGS),
        pytest.raises(DataError, match="another process is writing pairs"),
        PairWriter(tmp_path / "pairs", SETTINGS),
    ):
        pass


def test_an_error_before_the_first_pair_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), PairWriter(tmp_path / "deep" / "pairs", SETTINGS):
        raise RuntimeError
    assert not (tmp_path / "deep" / "pairs").exists()


def test_an_error_after_a_pair_keeps_it(tmp_path):
    with pytest.raises(RuntimeError), PairWriter(tmp_path / "pairs", SETTINGS) as writer:
        writer.add(pair_record("a0"), *files("a0"))
        raise RuntimeError
    assert [each.id for each in read_records(tmp_path / "pairs" / RECORDS)] == ["a0"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{]\n", "line 1 of .* is no JSON"),
        ("[1]\n", "line 1 of .* lacks backend"),
        ('{"schema": 99}\n', "line 1 of .* has schema 99; this nerp reads up to 6"),
    ],
)
def test_damaged_records_are_named(tmp_path, text, message):
    (tmp_path / RECORDS).write_text(text)
    with pytest.raises(DataError, match=message):
        read_records(tmp_path / RECORDS)


def test_missing_records_and_dataset_are_named(tmp_path):
    with pytest.raises(DataError, match="no records at"):
        read_records(tmp_path / RECORDS)
    with pytest.raises(DataError, match=f"holds no {DATASET}"):
        read_dataset(tmp_path)
    (tmp_path / DATASET).write_text("{")
    with pytest.raises(DataError, match="is no JSON"):
        read_dataset(tmp_path)


def test_a_record_cannot_lead_out_of_its_folder(tmp_path):
    with pytest.raises(DataError, match="outside its folder"):
        image_path(tmp_path, pair_record("a0", file_name="../secret.png"))
    with pytest.raises(DataError, match="outside its folder"):
        mask_path(tmp_path, pair_record("a0", mask_file_name="/etc/passwd"))


def test_a_pair_of_two_shapes_is_refused(tmp_path):
    fill(tmp_path, ["a0"])
    (tmp_path / "masks" / "a0.png").write_bytes(png_bytes(np.zeros((3, 3), np.uint8)))
    with pytest.raises(DataError, match=r"an image of \(8, 6\) and a mask of \(3, 3\)"):
        read_pair(tmp_path, pair_record("a0"))


KILLED_AT_EVERY_FSYNC = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_pairs import fill

def killed_at(count):
    left, real = [count], os.fsync
    def counting(descriptor):
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        real(descriptor)
    os.fsync = counting
    fill(Path(sys.argv[1]), ["a0", "a1", "b0"])

kills, step = 0, 0
while True:
    child = os.fork()
    if child == 0:
        killed_at(step % 7)
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        break
    kills, step = kills + 1, step + 1
print(kills)
"""


def test_killed_at_every_durable_step_it_still_ends_as_if_never_killed(tmp_path):
    """Each life dies at another fsync of its own, from the first to the sixth; some get a pair further."""
    here = os.path.dirname(__file__)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", KILLED_AT_EVERY_FSYNC, tmp_path / "killed", here],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.path.dirname(here)},
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 7
    fill(tmp_path / "whole", ["a0", "a1", "b0"])
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    lines = (tmp_path / "killed" / RECORDS).read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["a0", "a1", "b0"]


def test_pairs_of_an_older_nerp_are_not_mixed_with_new_ones(tmp_path):
    settings = {"mode": "drr", "view": "pa", "cameras": {"yaw_deg": [-5, 5]}, "mask": [10]}
    (tmp_path / DATASET).write_text(json.dumps({"settings": settings}))
    with (
        pytest.raises(DataError, match="holds pairs of an older nerp: they still replay, but none can be added"),
        PairWriter(tmp_path, SETTINGS),
    ):
        pass
