"""CT-RATE as published: names, tables, and volumes whose spacing and rescaling stand in a table."""

import csv
import gzip
import json
import logging
import math
import struct

import nibabel as nib
import numpy as np
import pytest
import torch

from nerp.data.ct_rate import CTRateName, read_ct_rate_table
from nerp.data.ct_rate_volume import read_ct_rate_volume
from nerp.errors import DataError, VolumeError
from nerp.factory import load_plan
from nerp.factory.planning import make_plan
from nerp.factory.shard import Made, ShardMaker
from nerp.synthesis import replay
from nerp.volume import read_volume

SPACING_MM = (4.7, 4.7, 6.5)
NAMES = ("train_1_a_1", "train_1_a_2", "train_1_b_1", "train_10_a_1", "train_2_a_1", "valid_1_a_1")
ROW = {
    "Manufacturer": "Philips",
    "XYSpacing": "[4.7, 4.7]",
    "ZSpacing": "6.5",
    "RescaleSlope": "1",
    "RescaleIntercept": "-1024",
    "ImagePositionPatient": "[-30, 9, 56.25]",
    "ImageOrientationPatient": "[1, 0, 0, 0, 1, 0]",
}
LABELS = {"Medical material": "0", "Pleural effusion": "1", "Lung nodule": ""}
REPORT = {
    "ClinicalInformation_EN": "Not given.",
    "Technique_EN": "CT, without contrast",
    "Findings_EN": 'Trachea open; "no" mass,\nno effusion.',
    "Impressions_EN": "Normal.",
}


def hounsfield() -> np.ndarray:
    """(40, 36, 34) of air, a trunk and lungs."""
    hu = np.full((40, 36, 34), -1000, np.int16)
    hu[5:35, 5:31] = 40
    hu[8:18, 9:27, 4:30] = hu[22:32, 9:27, 4:30] = -850
    hu[19:21, 24:28] = 700
    return hu + np.random.default_rng(0).integers(-15, 15, hu.shape).astype(np.int16)


def write(path, numbers, affine=None, scaling=None):
    """A NIfTI file as CT-RATE's are: 1 mm along each axis where nothing is told."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(numbers, np.diag([-1.0, -1, 1, 1]) if affine is None else affine)
    data = bytearray(image.to_bytes())
    data[112:120] = struct.pack("<ff", *(scaling or (math.nan, math.nan)))
    path.write_bytes(gzip.compress(data, 1))


def table(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as stream:
        writer = csv.DictWriter(stream, ["VolumeName", *next(iter(rows.values()))])
        writer.writeheader()
        writer.writerows({"VolumeName": f"{name}.nii.gz", **row} for name, row in rows.items())
    return path


def place(folder, name):
    split, number, scan, _ = name.split("_")
    return folder / split / f"{split}_{number}" / f"{split}_{number}_{scan}" / f"{name}.nii.gz"


@pytest.fixture
def tree(tmp_path):
    """The published tree in small: volumes, and tables of both splits."""
    for name in NAMES:
        write(place(tmp_path / "dataset", name), hounsfield() + 1024)
    splits = {"train": NAMES[:-1], "validation": NAMES[-1:]}
    for split, names in splits.items():
        table(tmp_path / "metadata" / f"{split}_metadata.csv", dict.fromkeys(names, ROW))
        table(tmp_path / "labels" / f"{split}.csv", dict.fromkeys(names, LABELS))
        table(tmp_path / "reports" / f"{split}.csv", dict.fromkeys(names, REPORT))
    return tmp_path


def read(tree, **more):
    return read_ct_rate_table(tree / "dataset", sorted((tree / "metadata").iterdir()), **more)


def volume_of(one):
    """As it is read by its table, which is how `read_volume` reads it by what is told of that."""
    volume, reading = read_ct_rate_volume(one)
    again = read_volume(one.path, affine=reading.affine, rescale=reading.rescale)
    assert torch.equal(again.values, volume.values) and torch.equal(again.affine, volume.affine)
    return volume


def changed(tree, **cells):
    """The first volume, of which the metadata says something else."""
    rows = dict.fromkeys(NAMES, ROW) | {NAMES[0]: {**ROW, **cells}}
    return read_ct_rate_table(tree / "dataset", table(tree / "changed.csv", rows))[0]


def test_names_tell_split_patient_scan_and_reconstruction():
    assert CTRateName.of("train_1_a_1.nii.gz") == CTRateName("train", "train_1", "a", 1)
    assert CTRateName.of("valid_1304_aa_12") == CTRateName("valid", "valid_1304", "aa", 12)
    for name in ("train_1_a.nii.gz", "test_1_a_1", "train_x_a_1", "train_1_a_1.nrrd"):
        with pytest.raises(DataError, match="is no name of CT-RATE; expected split, patient, scan, reconstruction"):
            CTRateName.of(name)


def test_a_tree_is_read_with_what_its_tables_tell(tree):
    tables = {name: sorted((tree / name).iterdir()) for name in ("labels", "reports")}
    found = read(tree, **tables)
    order = ["train_1_a_1", "train_1_a_2", "train_1_b_1", "train_2_a_1", "train_10_a_1", "valid_1_a_1"]
    assert [one.path.name for one in found] == [f"{name}.nii.gz" for name in order]
    assert [one.patient for one in found] == ["train_1"] * 3 + ["train_2", "train_10", "valid_1"]
    assert [(one.scan, one.reconstruction) for one in found[:3]] == [("a", 1), ("a", 2), ("b", 1)]
    assert [one.split for one in found] == ["train"] * 5 + ["valid"]
    first = found[0]
    assert (first.spacing_mm, first.slope, first.intercept) == (SPACING_MM, 1.0, -1024.0)
    assert first.labels == {"Medical material": 0, "Pleural effusion": 1, "Lung nodule": None}
    assert first.report == REPORT
    assert first.metadata["Manufacturer"] == "Philips"


def test_a_published_volume_is_read_in_hounsfield_units_at_its_place(tree, caplog):
    volume = volume_of(read(tree)[0])
    assert np.array_equal(volume.values[0].numpy(), hounsfield())
    assert volume.spacing_mm == pytest.approx(SPACING_MM)
    expected = np.diag([-4.7, -4.7, 6.5, 1.0])
    expected[:3, 3] = (30, -9, 56.25)
    np.testing.assert_allclose(volume.affine.numpy(), expected)
    assert not caplog.records


def test_without_a_place_in_the_table_the_headers_axes_are_kept(tree):
    one = changed(tree, ImagePositionPatient="", ImageOrientationPatient="")
    write(one.path, hounsfield() + 1024, np.diag([1.0, -1, 1, 1]))
    volume = volume_of(one)
    assert volume.affine[0, 0] > 0 and volume.affine[1, 1] < 0
    assert volume.spacing_mm == pytest.approx(SPACING_MM)


@pytest.mark.parametrize("scaling", [None, (1.0, -1024.0)])
def test_what_the_file_has_already_is_not_applied_twice(tree, caplog, scaling):
    """The corrected release: HU and the true place; or a header that rescales as the table does."""
    one, affine = read(tree)[0], np.diag([-4.7, -4.7, 6.5, 1.0])
    affine[:3, 3] = (7.0, 8.0, 9.0)
    write(one.path, hounsfield() + (1024 if scaling else 0), affine, scaling)
    volume = volume_of(one)
    np.testing.assert_allclose(volume.values[0].numpy(), hounsfield(), atol=1e-3)
    np.testing.assert_allclose(volume.affine.numpy(), affine, atol=1e-6)
    said = [record.message for record in caplog.records]
    assert len(said) == (scaling is None)
    assert scaling or "its numbers are HU already; the metadata's 1 and -1024 are not applied again" in said[0]


def test_contradictions_are_warned_of_and_the_table_counts(tree, caplog):
    one, affine = read(tree)[0], np.diag([-5.9, -5.9, 7.0, 1.0])
    write(one.path, hounsfield() + 1024, affine, (1.0, -1000.0))
    with caplog.at_level(logging.WARNING):
        volume = volume_of(one)
    np.testing.assert_allclose(volume.values[0].numpy(), hounsfield(), atol=1e-2)
    assert volume.spacing_mm == pytest.approx(SPACING_MM)
    said = [record.message for record in caplog.records]
    assert len(said) == 2
    assert "its header rescales by 1 and -1000, its metadata by 1 and -1024; the metadata counts" in said[0]
    assert "voxels of 5.9 x 5.9 x 7 mm, its metadata 4.7 x 4.7 x 6.5 mm; the metadata counts" in said[1]


def test_axes_that_contradict_the_table_are_warned_of(tree, caplog):
    one = read(tree)[0]
    write(one.path, hounsfield() + 1024, np.diag([4.7, -4.7, 6.5, 1.0]))
    assert volume_of(one).affine[0, 0] < 0
    assert "its axes run towards RPS, by its metadata LPS; the metadata counts" in caplog.records[0].message


def test_a_slope_is_applied_and_what_is_no_hounsfield_even_so_is_refused(tree):
    one = changed(tree, RescaleSlope="0.5", RescaleIntercept="-1024")
    write(one.path, (hounsfield() + 1024) * 2)
    assert np.array_equal(volume_of(one).values[0].numpy(), hounsfield())
    write(one.path, np.full((40, 36, 34), 7, np.int16))
    with pytest.raises(VolumeError):
        volume_of(one)


def test_a_volume_that_the_metadata_lack_is_refused_in_one_line(tree):
    with pytest.raises(
        DataError, match=r"^1 of 6 volumes are not in the metadata \(valid_1_a_1.nii.gz\).*give the"
    ) as e:
        read_ct_rate_table(tree / "dataset", tree / "metadata" / "train_metadata.csv")
    assert "\n" not in str(e.value)


def test_rows_without_a_volume_are_passed_over(tree):
    place(tree / "dataset", "train_2_a_1").unlink()
    assert len(read(tree)) == 5


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ({"XYSpacing": "[0.7]"}, r"says '\[0.7\]' of XYSpacing of train_1_a_1; expected 2 numbers"),
        ({"ZSpacing": "thick"}, "says 'thick' of ZSpacing of train_1_a_1; expected a number"),
        ({"RescaleSlope": ""}, "says '' of RescaleSlope of train_1_a_1; expected a number"),
        ({"ImagePositionPatient": "[1, 2]"}, "of ImagePositionPatient of train_1_a_1; expected 3 numbers"),
    ],
)
def test_damaged_cells_are_told(tree, cells, message):
    with pytest.raises(DataError, match=message):
        changed(tree, **cells)


def test_damaged_tables_are_told(tree):
    with pytest.raises(DataError, match="holds no volume of CT-RATE"):
        read_ct_rate_table(tree / "metadata", [])
    (tree / "odd.csv").write_text("name,x\n1,2\n")
    with pytest.raises(DataError, match="has columns name, x; expected VolumeName among them"):
        read(tree, labels=tree / "odd.csv")
    with pytest.raises(DataError, match="the row of train_1_a_1 says 'maybe' of Lung nodule; expected 0, 1"):
        read(tree, labels=table(tree / "maybe.csv", {"train_1_a_1": {"Lung nodule": "maybe"}}))
    twice = [table(tree / f"{value}.csv", {"train_1_a_1": {"Lung nodule": value}}) for value in "01"]
    with pytest.raises(DataError, match="lists train_1_a_1 twice, with other values; keep one row"):
        read(tree, labels=twice)
    write(tree / "dataset" / "train_fixed" / "train_1_a_1.nii.gz", hounsfield())
    with pytest.raises(DataError, match="have one name; keep one"):
        read(tree)


def test_the_factory_makes_drr_rates_images_of_it_and_they_replay(tree, tmp_path):
    """Patients stay whole, whatever their scans and reconstructions; a record tells how a volume is read."""
    tables = {name: ",".join(map(str, sorted((tree / name).iterdir()))) for name in ("metadata", "labels", "reports")}
    source = {"ct": str(tree / "dataset"), "metadata": tables["metadata"], "findings": tables["labels"]}
    plan = load_plan(
        None,
        options={
            "sources": {"ct-rate": {**source, "reports": tables["reports"], "names": "kept"}},
            "images": {"ap": {"mode": "itk", "camera": {"view": "ap"}}},
            "common": {"shape": [16, 16]},
            "split": {"parts": {"train": 0.5, "test": 0.5}},
            "device": "cpu",
        },
    )
    planned = make_plan(plan)
    assert len({one.part for one in planned.volumes if one.listed.patient == "train_1"}) == 1
    made = Made()
    for volume in planned.volumes:
        ShardMaker(planned, tmp_path).make_volume(volume, tmp_path / "set", 0, made)
    assert not made.errors and len(made.records) == len(NAMES)
    record = made.records[0]["record"]
    assert (record["patient_id"], record["findings"]["effusion"]) == ("train_1", 1)
    assert record["ct_reading"]["rescale"] == [1.0, -1024.0] and len(record["ct_reading"]["affine"]) == 12
    home = tmp_path / "set" / made.records[0]["part"] / "ap"
    (home / "metadata.jsonl").write_text(json.dumps(record) + "\n")
    assert replay(home / "metadata.jsonl", 0, ct=tree / "dataset", out=tmp_path / "again")["identical"]
