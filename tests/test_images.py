"""Pictures: every depth and kind on one scale, masks of two values alone."""

import json

import numpy as np
import pytest
from ellipses import write_pairs
from PIL import Image

from nerp.data.folders import find_pairs
from nerp.data.images import (
    list_images,
    png_bytes,
    read_binary,
    read_colour,
    read_grey,
    read_image,
    read_mask,
)
from nerp.errors import DataError

RAMP = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5
MASK = np.zeros((6, 8), bool)
MASK[2:4, 3:6] = True


def save(path, values, **options):
    Image.fromarray(values).save(path, **options)
    return path


def test_png_keeps_every_pixel(tmp_path):
    (tmp_path / "x.png").write_bytes(png_bytes(RAMP))
    assert np.array_equal(np.rint(255 * read_grey(tmp_path / "x.png")), RAMP)
    (tmp_path / "mask.png").write_bytes(png_bytes(MASK))
    assert np.array_equal(np.asarray(Image.open(tmp_path / "mask.png")), MASK * 255)


def test_every_kind_of_file_gives_the_same_picture(tmp_path):
    colours = np.repeat(RAMP[..., None], 3, axis=2)
    files = [
        save(tmp_path / "grey.png", RAMP),
        save(tmp_path / "deep.png", RAMP.astype(np.uint16) * 257),
        save(tmp_path / "deep.tif", RAMP.astype(np.int32) * 257),
        save(tmp_path / "fraction.tif", (RAMP / 255).astype(np.float32)),
        save(tmp_path / "colour.png", colours),
        save(tmp_path / "clear.png", np.dstack([colours, 255 - RAMP])),
        save(tmp_path / "grey.bmp", RAMP),
        save(tmp_path / "grey.gif", RAMP),
    ]
    for path in files:
        assert read_grey(path) == pytest.approx(RAMP / 255, abs=1e-6), path.name
        assert read_colour(path) == pytest.approx(colours / 255, abs=1e-6), path.name
        assert read_image(path).shape == (1, 1, 6, 8)
    assert list_images(tmp_path) == sorted(files)


def test_luminance_of_colours(tmp_path):
    save(tmp_path / "colour.png", np.array([[[255, 0, 0], [0, 255, 0]]], np.uint8))
    assert read_grey(tmp_path / "colour.png")[0] == pytest.approx([0.299, 0.587])


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_any_depth_in_a_deep_file_is_as_bright_as_its_twin_of_8_bits(tmp_path, bits):
    deep = np.rint(RAMP / 255 * (2**bits - 1))
    for name, kind in (("a.png", np.uint16), ("a.tif", np.uint16), ("b.tif", np.int32), ("c.tif", np.float32)):
        path = save(tmp_path / name, deep.astype(kind))
        assert read_grey(path) == pytest.approx(RAMP / 255, abs=0.5 / 255)
        assert read_colour(path)[..., 1] == pytest.approx(RAMP / 255, abs=0.5 / 255)
        assert read_image(path)[0, 0].numpy() == pytest.approx(RAMP / 255, abs=0.5 / 255)


@pytest.mark.parametrize("values", [(0, 1), (0, 255), (0, 65535), (200, 255)])
def test_masks_of_every_depth_read_alike(tmp_path, values):
    dtype = np.uint16 if max(values) > 255 else np.uint8
    path = save(tmp_path / "mask.png", np.where(MASK, values[1], values[0]).astype(dtype))
    assert np.array_equal(read_binary(path), MASK)
    assert np.array_equal(read_mask(path)[0, 0].numpy() > 0.5, MASK)


def test_masks_may_be_coloured_compressed_empty_or_full(tmp_path):
    red = np.zeros((6, 8, 3), np.uint8)
    red[MASK, 0] = 255
    assert np.array_equal(read_binary(save(tmp_path / "red.png", red)), MASK)
    big = np.kron(MASK, np.ones((20, 20), bool))
    assert np.array_equal(read_binary(save(tmp_path / "m.jpg", big.astype(np.uint8) * 255, quality=90)), big)
    assert not read_binary(save(tmp_path / "empty.png", np.zeros((6, 8), np.uint8))).any()
    assert read_binary(save(tmp_path / "full.png", np.ones((6, 8), np.uint8))).all()


def test_a_map_of_several_labels_is_no_mask(tmp_path):
    labels = np.zeros((6, 8), np.uint8)
    labels[:, 1:3], labels[:, 5:7] = 1, 2
    with pytest.raises(DataError, match=r"m\.png: 25% of its pixels are neither dark nor bright"):
        read_binary(save(tmp_path / "m.png", labels))


def test_what_is_no_picture_is_named(tmp_path):
    (tmp_path / "x.png").write_bytes(b"\x89PNG\r\n")
    for path in (tmp_path / "x.png", tmp_path / "none.png", tmp_path):
        with pytest.raises(DataError, match="cannot be read as an image"):
            read_grey(path)
    with pytest.raises(DataError, match="no folder at"):
        list_images(tmp_path / "x.png")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no image in .*empty: expected files ending in .png"):
        list_images(tmp_path / "empty")


def test_two_images_of_one_stem_are_refused(tmp_path):
    write_pairs(tmp_path, 2)
    save(tmp_path / "images" / "01.jpg", RAMP)
    with pytest.raises(DataError, match=r"images holds both 01\.jpg and 01\.png; keep one"):
        find_pairs(tmp_path)


def test_a_torn_last_record_costs_no_more_than_itself(tmp_path):
    write_pairs(tmp_path, 3)
    lines = [json.dumps({"file_name": f"images/0{index}.png"}) for index in range(2)]
    (tmp_path / "metadata.jsonl").write_text("\n".join(lines))
    assert [image.stem for image, _ in find_pairs(tmp_path)[0]] == ["00", "01"]
    (tmp_path / "metadata.jsonl").write_text("\n".join(lines) + '\n{"file_name": "ima')
    assert [image.stem for image, _ in find_pairs(tmp_path)[0]] == ["00", "01"]
