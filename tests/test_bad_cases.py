"""One bad file stands in no other's way: it is found first, listed with all others, or skipped and told."""

import json
from dataclasses import replace

import numpy as np
import pytest
from small_chests import SETTINGS, chest, contents, write_chests

from nerp.data.pairs import read_records
from nerp.errors import DataError, VolumeError
from nerp.synthesis import synthesize
from nerp.volume import Volume, write_volume

NAMES = ("anna", "bert", "carl", "dora", "emil")
SKIPPING = replace(SETTINGS, views=1, inputs=replace(SETTINGS.inputs, skip_bad=True))


def cut(path):
    path.write_bytes(path.read_bytes()[:-300])


def no_gzip(path):
    path.write_bytes(b"<!DOCTYPE html><title>404</title>" * 20)


def not_hu(path):
    from nerp.volume import read_volume

    ct = read_volume(path)
    write_volume(path, Volume(ct.values / 1000.0, ct.affine, "1/mm"))


def gone(path):
    path.unlink()


KINDS = {"cut": ("ct", cut), "no file": ("labels", gone), "a page": ("labels", no_gzip), "not HU": ("ct", not_hu)}
CHEAP = ("cut", "no file", "a page")


@pytest.fixture
def folders(tmp_path):
    return write_chests(tmp_path / "in", names=NAMES)


def spoil(folders, kind, name):
    part, harm = KINDS[kind]
    harm(folders[("ct", "labels").index(part)] / f"{name}.nii.gz")


@pytest.mark.parametrize("kind", KINDS)
def test_a_bad_ct_is_skipped_and_told(folders, tmp_path, kind, caplog):
    spoil(folders, kind, "carl")
    dataset = synthesize(*folders, out=tmp_path / "pairs", settings=SKIPPING)
    assert dataset["counts"] == {"pairs": 4, "cts": 4} and len(dataset["skipped"]) == 1
    assert "carl" in caplog.text
    told = json.dumps(dataset)
    assert "carl" not in told and str(tmp_path) not in told  # names of files may tell of patients


def test_all_bad_files_are_listed_before_anything_is_made(folders, tmp_path):
    for kind, name in zip(CHEAP, ("anna", "carl", "emil"), strict=True):
        spoil(folders, kind, name)
    with pytest.raises(DataError) as refused:
        synthesize(*folders, out=tmp_path / "pairs", settings=replace(SKIPPING, inputs=SETTINGS.inputs))
    message = str(refused.value)
    assert all(name in message for name in ("anna", "carl", "emil")) and "--skip-bad" in message
    assert "\n" not in message and not (tmp_path / "pairs").exists()


def test_what_only_reading_tells_does_not_stop_the_others(folders, tmp_path):
    spoil(folders, "not HU", "bert")
    with pytest.raises(VolumeError, match=r"bert\.nii\.gz"):
        synthesize(*folders, out=tmp_path / "pairs", settings=replace(SKIPPING, inputs=SETTINGS.inputs))
    assert len(read_records(tmp_path / "pairs" / "metadata.jsonl")) == 4
    write_volume(folders[0] / "bert.nii.gz", chest(50.0)[0])
    assert synthesize(*folders, out=tmp_path / "pairs", settings=replace(SKIPPING, inputs=SETTINGS.inputs))["complete"]


def test_skipped_and_repaired_it_is_made(folders, tmp_path):
    whole = contents(folders[0])["dora.nii.gz"]
    spoil(folders, "cut", "dora")
    synthesize(*folders, out=tmp_path / "pairs", settings=SKIPPING)
    (folders[0] / "dora.nii.gz").write_bytes(whole)
    dataset = synthesize(*folders, out=tmp_path / "pairs", settings=SKIPPING)
    assert dataset["counts"]["cts"] == 5 and "skipped" not in dataset


def test_nothing_but_bad_files_is_refused(folders, tmp_path):
    for name in NAMES:
        spoil(folders, "cut", name)
    with pytest.raises(DataError, match="5 of 5"):
        synthesize(*folders, out=tmp_path / "pairs", settings=SKIPPING)
    assert not (tmp_path / "pairs").exists()


def test_the_command_skips(nerp, folders, tmp_path):
    spoil(folders, "not HU", "bert")
    stated = ["--ct", folders[0], "--labels", folders[1], "--mask", "10,11", "--views", "1", "--shape", "16"]
    code, _, err = nerp("synthesize", *stated, "-o", tmp_path / "pairs")
    assert code == 1 and err.count("bert.nii.gz") == 1
    code, out, err = nerp("synthesize", *stated, "-o", tmp_path / "pairs", "--skip-bad", "--json")
    assert code == 0, err
    assert np.isclose(json.loads(out)["masks"][0]["empty"], 0) and len(json.loads(out)["skipped"]) == 1


def test_a_folder_of_several_series_is_skipped_and_told(folders, tmp_path):
    from small_chests import write_series

    write_series(folders[0] / "two", chest()[0])
    for path in sorted((folders[0] / "two").iterdir()):
        import pydicom

        slice_ = pydicom.dcmread(path)
        slice_.SeriesInstanceUID = "1.2.826.0.1.79"
        slice_.save_as(path.with_name(f"other_{path.name}"))
    (folders[1] / "two.nii.gz").write_bytes((folders[1] / "anna.nii.gz").read_bytes())
    dataset = synthesize(*folders, out=tmp_path / "pairs", settings=SKIPPING)
    assert dataset["counts"]["cts"] == 5 and dataset["skipped"][0]["sha256"] is None
    assert "2 series" in dataset["skipped"][0]["reason"]
