"""Sets larger than the memory: the same images from disk, by several processes, after a crash, and after a change."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_run import sources_of, tiny
from torch.utils.data import DataLoader

from nerp.data import radiographs
from nerp.data.kept_images import KEY_BYTES, LEVELS, KeptImages
from nerp.data.radiographs import RadiographDataset, read_radiograph
from nerp.errors import DataError, UsageError

SHAPE = (16, 16)
STRIDE = KEY_BYTES + 4 + 2 * 16 * 16


@pytest.fixture
def films(tmp_path):
    """A folder of eight noisy radiographs."""
    folder, draw = tmp_path / "films", np.random.default_rng(0)
    folder.mkdir()
    for number in range(8):
        Image.fromarray(draw.integers(0, 255, (20, 20)).astype(np.uint8)).save(folder / f"{number}.png")
    return folder


def images(source, cache, n_kept: int = 2) -> RadiographDataset:
    return RadiographDataset(source, SHAPE, n_kept=n_kept, cache_folder=cache)


def never(*arguments, **options):
    raise AssertionError("read again")


def test_what_does_not_fit_is_kept_on_disk(tmp_path, films, monkeypatch):
    found = images(films, tmp_path / "cache")
    first = [found[index] for index in range(8)]
    for index, image in enumerate(first):
        exact = read_radiograph(films / f"{index}.png", SHAPE)
        torch.testing.assert_close(image, exact, rtol=0, atol=0 if index < 2 else 0.51 / LEVELS)
    monkeypatch.setattr(radiographs, "read_radiograph", never)
    assert all(torch.equal(found[index], first[index]) for index in range(8))
    assert found[2].data_ptr() != first[2].data_ptr(), "what is on disk does not stay in memory"
    assert found[0].data_ptr() == first[0].data_ptr()
    again = images(films, tmp_path / "cache", n_kept=0)
    assert all(torch.equal(again[index], first[index]) for index in range(2, 8))
    with pytest.raises(DataError, match="read again"):
        again[0]
    assert torch.equal(again[-1], first[7])
    with pytest.raises(IndexError):
        again[8]


def test_a_small_set_and_one_without_a_folder_need_no_file(tmp_path, films):
    assert torch.equal(images(films, tmp_path / "cache", n_kept=8)[7], read_radiograph(films / "7.png", SHAPE))
    assert torch.equal(images(films, None)[7], read_radiograph(films / "7.png", SHAPE))
    assert not (tmp_path / "cache").exists()


def test_a_changed_file_another_shape_and_a_lost_file_are_noticed(tmp_path, films):
    found = images(films, tmp_path / "cache")
    before = found[5]
    Image.fromarray(255 - np.asarray(Image.open(films / "5.png"))).save(films / "5.png")
    os.utime(films / "5.png", ns=(1, 1))
    torch.testing.assert_close(found[5], 1 - before, rtol=0, atol=0.01)
    other = RadiographDataset(films, (8, 16), n_kept=0, cache_folder=tmp_path / "cache")
    assert other[5].shape == (1, 8, 16)
    assert len(list((tmp_path / "cache").iterdir())) == 2
    (films / "5.png").unlink()
    with pytest.raises(DataError, match=r"5\.png: no such file"):
        found[5]


def test_a_torn_place_counts_as_absent(tmp_path, films):
    found = images(films, tmp_path / "cache", n_kept=0)
    whole = [found[index] for index in range(8)]
    (file,) = (tmp_path / "cache").iterdir()
    data = bytearray(file.read_bytes())
    assert len(data) == 8 * STRIDE
    data[3 * STRIDE + 100] ^= 1
    file.write_bytes(data[: 7 * STRIDE + 40])
    assert all(torch.equal(found[index], whole[index]) for index in range(8))
    assert file.stat().st_size == 8 * STRIDE


def test_a_full_disk_costs_time_and_nothing_else(tmp_path, films, caplog):
    (tmp_path / "cache").write_text("a file where the folder should be")
    found = images(films, tmp_path / "cache")
    assert torch.equal(found[7], found[7]) and torch.equal(found[6], found[6])
    assert caplog.text.count("cannot be written") == 1


READER = """
import sys
from nerp.data.radiographs import RadiographDataset
found = RadiographDataset(sys.argv[1], (16, 16), n_kept=0, cache_folder=sys.argv[2])
print("ready", flush=True)
while True:
    [found[index] for index in range(8)]
    next(found._kept.path.parent.iterdir()).unlink()
"""


def test_nothing_is_lost_by_a_process_that_is_killed(tmp_path, films):
    command = [sys.executable, "-c", READER, str(films), str(tmp_path / "cache")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        try:
            process.wait(0.5)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
    found = images(films, tmp_path / "cache", n_kept=0)
    for index in range(8):
        exact = read_radiograph(films / f"{index}.png", SHAPE)
        torch.testing.assert_close(found[index], exact, rtol=0, atol=0.51 / LEVELS)


def test_several_workers_fill_one_file_and_name_the_bad_one(tmp_path, films):
    found = images(films, tmp_path / "cache")
    batches = torch.cat(list(DataLoader(found, batch_size=2, num_workers=2)))
    assert torch.equal(batches, torch.stack([found[index] for index in range(8)]))
    (films / "6.png").write_bytes((films / "6.png").read_bytes()[:60])
    with pytest.raises(DataError, match=r"6\.png cannot be read as an image"):
        list(DataLoader(found, batch_size=2, num_workers=2))


def test_whatever_goes_wrong_names_the_file(films, monkeypatch):
    def no_memory(*arguments, **options):
        raise MemoryError("no room")

    monkeypatch.setattr(radiographs, "read_radiograph", no_memory)
    with pytest.raises(DataError, match=r"3\.png: cannot be read \(MemoryError: no room\)"):
        images(films, None)[3]


def test_more_than_the_memory_holds_is_refused(films):
    paths = [films / "0.png"] * 100_000
    with pytest.raises(UsageError, match=r"need \d+\.\d GiB, more than there is; keep fewer in memory"):
        RadiographDataset(paths, (200_000, 200_000), n_kept=100_000)


def test_places_are_kept_apart(tmp_path):
    kept = KeptImages(tmp_path / "file.bin", (1, 2))
    image = torch.tensor([[[0.0, 1.0]]])
    assert kept.read(3, b"a") is None
    assert torch.equal(kept.write(3, b"a", image), image) and torch.equal(kept.read(3, b"a"), image)
    assert kept.read(3, b"b") is None and kept.read(2, b"a") is None and kept.read(4, b"a") is None


def test_a_training_bounds_its_radiographs(tmp_path, training_data):
    config = tiny(tmp_path, *training_data, f"data.cache_dir={tmp_path}/grids", "data.cached_radiographs=1")
    found = sources_of(config).radiographs
    assert found[0].data_ptr() == found[0].data_ptr() and torch.equal(found[1], found[1])
    assert len(list((tmp_path / "grids").glob("radiographs-*.bin"))) == 1
