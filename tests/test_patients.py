"""Whom images are of: by an index, by a set's records, by names; and what cannot be known is not made up."""

import json
from pathlib import Path

import pytest

from nerp.data.patients import find_patients, read_index
from nerp.errors import DataError


def test_names_of_public_sets_tell_patients():
    files = [Path("x") / name for name in ("00000013_005.png", "00000013_026.png", "00000014_000.png", "other.png")]
    found = find_patients(files)
    assert found.labels[0] == found.labels[1] != found.labels[2] and found.count == 3
    assert (found.by, found.unknown) == ("names", 1)
    folders = [Path("p10/p10000032/s50414267/a.jpg"), Path("p10/p10000032/s5/b.jpg"), Path("p10/p10000048/s1/a.jpg")]
    assert find_patients(folders).count == 2
    assert find_patients([Path("patient00001/study1/view1_frontal.jpg"), Path("patient00001/study2/v.jpg")]).count == 1


def test_names_that_tell_nothing_leave_every_image_alone():
    found = find_patients([Path("a/CHNCXR_0001_0.png"), Path("a/CHNCXR_0002_1.png"), Path("b/CHNCXR_0001_0.png")])
    assert (found.by, found.count, found.unknown) == ("nothing", 3, 3)


def test_records_tell_the_ct(tmp_path):
    records = [{"file_name": f"images/{n}.png", "ct_sha256": "ab" if n < 2 else "cd"} for n in range(3)]
    (tmp_path / "metadata.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records) + '{"torn')
    files = [tmp_path / "images" / f"{n}.png" for n in range(4)]
    found = find_patients(files)
    assert (found.by, found.count, found.unknown) == ("records", 3, 1)
    assert found.labels[0] == found.labels[1] != found.labels[2]
    (tmp_path / "metadata.jsonl").write_text("{half\n")
    with pytest.raises(DataError, match=r"metadata.jsonl has a line that is no JSON"):
        find_patients(files)


@pytest.mark.parametrize("titles", ["file,patient_id", "Image Index,Patient ID", "\ufefffile_name,subject_id"])
def test_an_index_comes_before_names(tmp_path, titles):
    (tmp_path / "index.csv").write_text(f"{titles}\n00000013_005.png,a\n00000014_000.png,a\n", encoding="utf-8")
    files = [tmp_path / "x" / name for name in ("00000013_005.png", "00000014_000.png", "00000015_000.png")]
    found = find_patients(files, index=read_index(tmp_path / "index.csv"))
    assert (found.by, found.count, found.unknown) == ("index", 2, 0)
    assert find_patients(files[2:], index=read_index(tmp_path / "index.csv")).by == "names"


def test_an_index_that_is_none_is_refused(tmp_path):
    with pytest.raises(DataError, match="no index at .*absent.csv"):
        read_index(tmp_path / "absent.csv")
    (tmp_path / "index.csv").write_text("file,age\na.png,3\n")
    with pytest.raises(DataError, match="has columns file, age; expected one of files and one of patients"):
        read_index(tmp_path / "index.csv")
    (tmp_path / "index.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="is no CSV"):
        read_index(tmp_path / "index.csv")
