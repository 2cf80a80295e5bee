"""Files whole or absent, and places that are judged before the work."""

import hashlib
import os

import pytest

from nerp.errors import DataError
from nerp.files import (
    check_file,
    check_folder,
    json_bytes,
    remove_partial,
    replacing,
    sha256,
    write_bytes,
    write_text,
)


def test_a_file_is_written_whole_with_its_folder(tmp_path):
    write_bytes(tmp_path / "a" / "b" / "c.bin", b"\x00\x01")
    write_text(tmp_path / "a" / "é.txt", "é")
    assert (tmp_path / "a" / "b" / "c.bin").read_bytes() == b"\x00\x01"
    assert (tmp_path / "a" / "é.txt").read_bytes() == "é".encode()


def test_an_error_keeps_the_former_file_and_nothing_else(tmp_path):
    write_bytes(tmp_path / "a.txt", b"former")
    with pytest.raises(RuntimeError), replacing(tmp_path / "a.txt") as temporary:
        temporary.write_bytes(b"half")
        assert temporary.suffix == ".txt"
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_bytes() == b"former"


def test_json_keeps_every_bit_and_refuses_what_is_no_number():
    assert json_bytes({"a": 0.1 + 0.2}) == b'{\n  "a": 0.30000000000000004\n}\n'
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_bytes(float("nan"))


def test_sha256_is_that_of_the_content(tmp_path):
    (tmp_path / "a").write_bytes(b"x" * (2**20 + 1))
    assert sha256(tmp_path / "a") == hashlib.sha256(b"x" * (2**20 + 1)).hexdigest()


def test_places_that_can_be_written_are_accepted_and_not_made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check_folder("new/deep")
    check_folder(tmp_path)
    check_file("new/a.json")
    assert not list(tmp_path.iterdir())


def test_places_that_cannot_be_written_are_refused(tmp_path, monkeypatch):
    (tmp_path / "taken").write_text("")
    for place in (tmp_path / "taken", tmp_path / "taken" / "deep" / "er"):
        with pytest.raises(DataError, match="taken is a file; expected a folder to write to"):
            check_folder(place)
    with pytest.raises(DataError, match="taken is a file"):
        check_file(tmp_path / "taken" / "a.json")
    with pytest.raises(DataError, match="is a folder; expected the name of a file"):
        check_file(tmp_path)
    monkeypatch.setattr(os, "access", lambda *_: False)  # tests may run as a user who may do everything
    with pytest.raises(DataError, match="is not writable; choose another folder"):
        check_folder(tmp_path / "new")


def test_failed_write_leaves_the_former_file(tmp_path):
    path = tmp_path / "file.txt"
    write_text(path, "former")
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "former"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["ct.nii.gz", "weights.safetensors", "a.b.png", "bare"])
def test_temporary_name_is_hidden_and_ends_as_the_file(tmp_path, name):
    with replacing(tmp_path / "new" / name) as temporary:
        assert temporary.name.startswith(".")
        assert temporary.name.endswith(name)
        temporary.write_bytes(b"x")
    assert [path.name for path in (tmp_path / "new").iterdir()] == [name]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_umask_decides_who_may_read(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        with replacing(tmp_path / "file") as temporary:
            temporary.write_text("text")
            temporary.chmod(0o640)  # what some writers do
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == mode


def test_what_a_killed_writer_left_is_removed(tmp_path):
    context = replacing(tmp_path / "ct.nii.gz")
    context.__enter__().write_text("half")
    (tmp_path / "kept.txt").write_text("whole")
    assert len(list(tmp_path.iterdir())) == 2
    remove_partial(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["kept.txt"]
