"""Files are whole or absent, and belong to whom the user says."""

import os

import pytest

from nerp.files import remove_partial, replacing, write_text


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
