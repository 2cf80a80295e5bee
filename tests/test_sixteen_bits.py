"""Images of 16 bits: the same picture in finer steps, told by the record, replayed to the byte, read from 0 to 1."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from small_chests import SETTINGS, contents, write_chests

from nerp.config import read_settings
from nerp.data.images import png_bytes, read_binary, read_grey
from nerp.data.pairs import read_dataset, read_pair, read_records
from nerp.errors import ConfigError
from nerp.synthesis import replay, synthesize
from nerp.synthesis.config import SynthesisConfig


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    root = tmp_path_factory.mktemp("deep")
    ct, labels = write_chests(root, ("anna",))
    for bits in (8, 16):
        synthesize(ct, labels, out=root / str(bits), settings=replace(SETTINGS, bits=bits))
    return root


def test_sixteen_bits_are_eight_in_finer_steps(sets):
    narrow, deep = (read_records(sets / bits / "metadata.jsonl") for bits in ("8", "16"))
    for one, other in zip(narrow, deep, strict=True):
        pictures = [read_grey(sets / bits / record.file_name) for bits, record in (("8", one), ("16", other))]
        assert np.abs(pictures[0] - pictures[1]).max() <= 0.5 / 255 + 1e-6
        assert len(np.unique(pictures[1])) > len(np.unique(pictures[0]))
        stored = np.asarray(Image.open(sets / "16" / other.file_name))
        assert stored.dtype == np.uint16 and stored.max() == 65535
        image, mask = read_pair(sets / "16", other)
        assert image.dtype == np.uint8 and mask.any()
        assert (sets / "8" / one.mask_file_name).read_bytes() == (sets / "16" / other.mask_file_name).read_bytes()
        assert (one.display | {"bits": 16}, "bits" in one.display) == (other.display, False)


def test_a_set_tells_its_bits_and_makes_itself_again(sets, tmp_path):
    told = [read_dataset(sets / bits)["settings"].get("bits") for bits in ("8", "16")]
    assert told == [None, 16]
    again = read_settings(SynthesisConfig, sets / "16" / "settings.yaml").set_settings()
    synthesize(sets / "ct", sets / "labels", out=tmp_path / "again", settings=again)
    assert contents(tmp_path / "again") == contents(sets / "16")


def test_sixteen_bits_replay_to_the_byte(sets, tmp_path):
    for bits in ("8", "16"):
        records = sets / bits / "metadata.jsonl"
        common = {"ct": sets / "ct", "labels": sets / "labels"}
        assert replay(records, 1, out=tmp_path / bits, **common)["identical"]
        assert (tmp_path / bits / "image.png").read_bytes() == (
            sets / bits / read_records(records)[1].file_name
        ).read_bytes()


def test_a_dark_picture_of_sixteen_bits_stays_dark(tmp_path):
    """Without what its file says of its bits, one that uses a hundredth of white would be shown as white."""
    dark = np.full((6, 8), 600, np.uint16)
    dark[2:4, 3:5] = 655
    (tmp_path / "dark.png").write_bytes(png_bytes(dark))
    assert read_grey(tmp_path / "dark.png") == pytest.approx(dark / 65535, abs=1e-7)
    Image.fromarray(dark).save(tmp_path / "silent.png")
    assert read_grey(tmp_path / "silent.png").max() == pytest.approx(655 / 1023)
    assert read_binary(tmp_path / "dark.png")[2, 3]


@pytest.mark.parametrize("bits", [12, "deep"])
def test_other_depths_are_refused(bits):
    with pytest.raises(ConfigError, match="bits"):
        read_settings(SynthesisConfig, None, [f"bits={bits}"])
