"""No patient is both learned and tested."""

import json
import shutil
from hashlib import sha256

import numpy as np
import pytest
from ellipses import write_pairs
from PIL import Image

from nerp.data.patients import patients_of
from nerp.errors import DataError
from nerp.experiments import utility
from nerp.experiments.splits import check_split, check_splits
from nerp.experiments.utility import SegmentationConfig, evaluate_segmentation


def files(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        grey = np.frombuffer(sha256(str(folder / name).encode()).digest(), np.uint8).reshape(4, 8)
        Image.fromarray(grey).save(folder / name)
    return [folder / name for name in names]


def write_index(path, *rows, titles="file,patient_id"):
    path.write_text("\n".join([titles, *rows]) + "\n")
    return path


def write_records(folder, **of):
    rows = [{"file_name": f"images/{name}.png", "ct_sha256": ct} for name, ct in of.items()]
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.parametrize(
    ("name", "patient"),
    [
        ("00000013_005.png", "patient 13"),
        ("patient00042/study1/view1_frontal.jpg", "patient patient00042"),
        ("p10/p10000032/s50414267/02aa804e.jpg", "patient p10000032"),
        ("CHNCXR_0001_0.png", None),
        ("00.png", None),
        ("20240101_001_lung.png", None),
    ],
)
def test_names_of_known_sets_tell_their_patients(tmp_path, name, patient):
    (path,) = files(tmp_path, name)
    assert patients_of([path]) == ({str(path): patient} if patient else None)


def test_records_tell_the_ct(tmp_path):
    images = files(tmp_path / "images", "a.png", "b.png")
    write_records(tmp_path, a="f00d")
    assert patients_of(images) == {str(images[0]): "CT f00d"}


def test_an_index_counts_before_names_and_knows_leading_zeros(tmp_path):
    images = files(tmp_path, "00000013_005.png", "00000014_000.png", "x/y.png")
    index = write_index(tmp_path / "i.csv", "00000013_005.png,00077", "x/y.png, A-1 ", titles="Image Index,Patient ID")
    told = patients_of(images, index=index)
    assert list(told.values()) == ["patient 77", "patient 14", "patient A-1"]


def test_an_index_that_is_none_is_refused(tmp_path):
    with pytest.raises(DataError, match="no index at .*check the path"):
        patients_of([], index=tmp_path / "absent.csv")
    for titles in ("a,b", ""):
        with pytest.raises(DataError, match="has columns .*file,patient_id"):
            patients_of([], index=write_index(tmp_path / "i.csv", titles=titles))
    (tmp_path / "i.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="is no CSV"):
        patients_of([], index=tmp_path / "i.csv")
    (image,) = files(tmp_path, "a.png")
    with pytest.raises(DataError, match="lists none of the images"):
        check_split([image], files(tmp_path, "b.png"), index=write_index(tmp_path / "i.csv", "c.png,1"))


def test_a_patient_of_both_sides_is_named(tmp_path):
    learned = files(tmp_path / "a", "00000013_005.png", "00000014_000.png")
    tested = files(tmp_path / "b", "00000015_000.png", "00000013_006.png")
    with pytest.raises(
        DataError, match=r"1 of the test's patients .*patient 13 \(00000013_005.png there, 00000013_006"
    ):
        check_split(learned, tested)
    split = check_split(learned, tested[:1])
    assert (split.groups, split.warnings, split.count) == ({"00000015_000": "patient 15"}, [], 1)


def test_a_ct_of_both_sides_is_named(tmp_path):
    learned = files(tmp_path / "a" / "images", "x_000.png")
    tested = files(tmp_path / "b" / "images", "x_001.png")
    write_records(tmp_path / "a", x_000="c0ffee")
    write_records(tmp_path / "b", x_001="c0ffee")
    with pytest.raises(DataError, match="CT c0ffee"):
        check_split(learned, tested)


def test_one_file_behind_two_folders_is_found(tmp_path):
    (image,) = files(tmp_path / "a", "x.png")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(DataError, match=r"1 of the test's files .*x\.png"):
        check_split([image], [tmp_path / "b" / "x.png"])


def test_one_image_of_two_names_is_found(tmp_path):
    (image,) = files(tmp_path / "a", "x.png")
    (other,) = files(tmp_path / "b", "y.png")
    check_split([image], [other])
    shutil.copy(image, other)
    with pytest.raises(DataError, match=r"1 images in the training folder .* x\.png has the pixels of y\.png"):
        check_split([image], [other])


def test_what_cannot_be_known_is_said(tmp_path):
    learned, tested = files(tmp_path / "a", "x.png"), files(tmp_path / "b", "y.png", "00000013_005.png")
    split = check_split(learned, tested)
    (text,) = split.warnings
    assert "1 of 1 images of the training folder and of 1 of 2 images of the test are not known" in text
    assert split.groups == {"y": "image y", "00000013_005": "patient 13"}
    assert check_split(learned, tested[:1]).groups is None


def test_of_several_folders_what_cannot_be_known_is_said_once(tmp_path):
    real, synthetic, tested = (files(tmp_path / name, f"{name}.png") for name in "abc")
    split = check_splits({"real folder": real, "synthetic folder": synthetic}, tested)
    (text,) = split.warnings
    assert "1 of 1 images of the real folder and of 1 of 1 images of the synthetic folder and of 1 of 1" in text
    index = write_index(tmp_path / "i.csv", "b.png,1", "c.png,1")
    with pytest.raises(DataError, match=r"1 of the test's patients are in the synthetic folder, too: patient 1"):
        check_splits({"real folder": real, "synthetic folder": synthetic}, tested, index=index)


def config(folder, **more):
    return SegmentationConfig(train=str(folder / "a"), test=str(folder / "b"), device="cpu", **more)


def test_crossing_patients_are_met_before_the_training(tmp_path, monkeypatch):
    write_pairs(tmp_path / "a", 2)
    write_pairs(tmp_path / "b", 2, seed=1)
    monkeypatch.setattr(utility, "train_segmenter", lambda *_, **__: pytest.fail("trained"))
    index = write_index(tmp_path / "i.csv", "a/images/00.png,7", "b/images/01.png,7")
    with pytest.raises(DataError, match=r"patient 7 \(00.png there, 01.png in the test\)"):
        evaluate_segmentation(config(tmp_path, patients=str(index)))


def test_intervals_are_by_patient_where_patients_are_known(tmp_path, nerp):
    from nerp.networks.segmenter import Segmenter, save_segmenter

    test = write_pairs(tmp_path / "b", 4, seed=1)
    save_segmenter(tmp_path / "w.safetensors", Segmenter("tu-resnet10t", 32))
    index = write_index(tmp_path / "i.csv", *(f"0{n}.png,{n // 2}" for n in range(4)))
    command = ["evaluate", "segmentation", "--weights", tmp_path / "w.safetensors", "--test", test, "--device", "cpu"]
    code, out, err = nerp(*command, "--patients", index, "--spacing-mm", "0.5,0.25", "--json")
    assert code == 0, err
    result = json.loads(out)
    assert (result["patients"], result["distance_unit"], result["kind"]) == (2, "mm", "segmentation")
    assert [text for text in result["warnings"] if "weights do not tell" in text]
    values = list(result["dice"]["per_image"].values())
    low, high = sorted((sum(values[:2]) / 2, sum(values[2:]) / 2))
    assert result["dice"]["ci95"] == pytest.approx([low, high])
    code, out, _ = nerp(*command, "--spacing-mm", "0.5", "--dry-run")
    assert code == 0
    assert "spacing_mm:\n- 0.5\n- 0.5" in out
