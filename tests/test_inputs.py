"""What people state of their files on the command line reaches the readers, and the record."""

import json

import numpy as np
import pytest
import torch
from small_chests import SPACING_MM, chest, write_chests, write_series

from nerp.data.pairs import read_records
from nerp.volume import Volume, read_volume, write_volume

MASK = ["--mask", "10,11", "--shape", "24x20"]


@pytest.fixture
def files(tmp_path):
    """One CT with its labels, as files."""
    return tuple(folder / "anna.nii.gz" for folder in write_chests(tmp_path / "in", names=("anna",)))


def record_of(folder):
    return json.loads((folder / "record.json").read_text())


def without_place(path):
    """The same voxels in a file that tells no place."""
    from nibabel import Nifti1Image

    values = read_volume(path).values[0].numpy().astype(np.int16)
    image = Nifti1Image(values, None)
    image.header.set_sform(None, 0)
    image.header.set_qform(None, 0)
    image.to_filename(path)


def test_a_stated_place_is_taken_recorded_and_replayed(nerp, files, tmp_path, caplog):
    ct, labels = files
    places = [ct, "--labels", labels, *MASK]
    assert nerp("render", *places, "-o", tmp_path / "one")[0] == 0
    without_place(ct)
    assert nerp("render", *places, "-o", tmp_path / "none")[0] == 1
    assert "place is unknown" in caplog.text
    stated = ["--orientation", "RAS", "--spacing", ",".join([str(SPACING_MM)] * 3), "--labels-on-ct-grid"]
    code, _, err = nerp("render", *places, *stated, "-o", tmp_path / "two")
    assert code == 0, err
    record = record_of(tmp_path / "two")
    assert record["ct_reading"] == {"orientation": "RAS", "spacing_mm": [SPACING_MM] * 3}
    assert record["labels_on_ct_grid"] is True
    assert (tmp_path / "one" / "mask.png").read_bytes() == (tmp_path / "two" / "mask.png").read_bytes()
    code, out, _ = nerp(
        "replay", tmp_path / "two" / "record.json", "--ct", ct, "--labels", labels, "-o", tmp_path / "three"
    )
    assert code == 0 and "identical" in out


def test_the_same_place_is_stated_by_keys(nerp, files, tmp_path):
    ct, labels = files
    keys = ["inputs.orientation=RAS", f"inputs.spacing_mm=[{SPACING_MM},{SPACING_MM},{SPACING_MM}]"]
    more = ["inputs.labels_on_ct_grid=true", "inputs.max_voxels=100000", "inputs.strict=false", "inputs.skip_bad=true"]
    code, out, _ = nerp("render", ct, "--labels", labels, *MASK, *keys, *more, "-o", tmp_path / "x", "--json")
    assert code == 0 and json.loads(out)["ct_reading"]["orientation"] == "RAS"


def test_labels_of_the_cts_shape_in_another_place_are_refused_unless_said(nerp, files, tmp_path):
    ct, labels = files
    values = chest()[1].values
    write_volume(labels, Volume(values, torch.eye(4, dtype=torch.float64), "label"))
    code, _, err = nerp("render", ct, "--labels", labels, *MASK, "-o", tmp_path / "x")
    assert code == 1 and "--labels-on-ct-grid" in err and not (tmp_path / "x").exists()
    code, _, err = nerp("render", ct, "--labels", labels, *MASK, "--labels-on-ct-grid", "-o", tmp_path / "x")
    assert code == 0, err


def test_lungs_that_are_no_air_are_warned_of_and_refused_if_strict(nerp, files, tmp_path):
    ct, labels = files
    shifted = chest()[1]
    write_volume(labels, Volume(shifted.values.roll(5, dims=1), shifted.affine, "label"))
    places = ["render", ct, "--labels", labels, *MASK, "--rule", "visible", "--force", "-o", tmp_path / "x"]
    code, _, err = nerp(*places, "--strict")
    assert code == 1 and "of its voxels are air" in err and not (tmp_path / "x").exists()
    assert nerp(*places)[0] == 0
    assert (
        nerp("render", ct, "--labels", labels, *MASK, "mask.force=true", "mask.rule=visible", "-o", tmp_path / "y")[0]
        == 0
    )


def test_a_file_of_too_many_voxels_is_refused(nerp, files, tmp_path):
    code, _, err = nerp("render", files[0], "--max-voxels", "100", "-o", tmp_path / "x")
    assert code == 1 and "the limit is 100" in err


def test_a_series_is_chosen_recorded_by_its_slices_and_replayed(nerp, tmp_path):
    ct, labels = chest()
    write_series(tmp_path / "dicom", ct)
    write_volume(tmp_path / "labels.nii.gz", labels)
    other = Volume(ct.values.clamp(max=-900), ct.affine, "hu")
    write_series(tmp_path / "other", Volume(ct.values, other.affine, "hu"))
    import pydicom

    for number, path in enumerate(sorted((tmp_path / "other").iterdir())):
        slice_ = pydicom.dcmread(path)
        slice_.SeriesInstanceUID, slice_.SeriesNumber = "1.2.826.0.1.78", 7
        slice_.SOPInstanceUID = f"1.2.826.0.1.78.{number + 1}"
        slice_.file_meta.MediaStorageSOPInstanceUID = slice_.SOPInstanceUID
        slice_.save_as(tmp_path / "dicom" / f"other{number}.dcm")
    places = [tmp_path / "dicom", "--labels", tmp_path / "labels.nii.gz", *MASK]
    code, _, err = nerp("render", *places, "-o", tmp_path / "x")
    assert code == 1 and "--series" in err
    code, _, err = nerp("render", *places, "--series", "7", "-o", tmp_path / "x")
    assert code == 0, err
    assert "1.2.826" not in (tmp_path / "x" / "record.json").read_text()  # a UID may lead to a patient
    assert "1.2.826" not in (tmp_path / "x" / "settings.yaml").read_text()
    places = ["--ct", tmp_path / "dicom", "--labels", tmp_path / "labels.nii.gz", "-o", tmp_path / "again"]
    code, out, err = nerp("replay", tmp_path / "x" / "record.json", *places)
    assert code == 0 and "identical" in out, err
    code, out, _ = nerp("render", tmp_path / "dicom", "inputs.series=7", "-o", "x", "--dry-run")
    assert code == 0 and "series: " in out


def test_labels_are_matched_by_a_pattern(nerp, tmp_path):
    ct, labels = write_chests(tmp_path / "in", names=("anna",))
    (labels / "anna.nii.gz").rename(labels / "anna_by_hand.nii.gz")
    places = ["--ct", ct, "--labels", labels, *MASK, "--views", "1"]
    code, _, err = nerp("synthesize", *places, "-o", tmp_path / "x")
    assert code == 1 and "pattern" in err
    code, _, err = nerp("synthesize", *places, "--labels-pattern", "{name}_by_hand.nii.gz", "-o", tmp_path / "x")
    assert code == 0, err
    code, _, _ = nerp("synthesize", *places, "inputs.labels_pattern='{name}_by_hand.nii.gz'", "-o", tmp_path / "y")
    assert code == 0 and len(read_records(tmp_path / "y" / "metadata.jsonl")) == 1


def test_a_folder_of_one_file_a_structure_needs_no_table(nerp, files, tmp_path):
    ct, labels = chest()
    folder = tmp_path / "segmentations"
    folder.mkdir()
    for name, value in (("lung_right", 10), ("lung_left", 11), ("heart", 51)):
        write_volume(folder / f"{name}.nii.gz", Volume((labels.values == value).float(), labels.affine, "label"))
    masks = ["--mask", "lungs=lung_*", "--mask", "heart=heart"]
    code, out, err = nerp(
        "render", files[0], "--labels", folder, *masks, "--shape", "24x20", "-o", tmp_path / "x", "--json"
    )
    assert code == 0, err
    record = json.loads(out)
    assert set(record["label_names"].values()) >= {"lung_right", "lung_left", "heart"}
    assert record["rule"]["name"] == "visible" and record["more_masks"][0]["rule"] == {"name": "any"}
    code, out, err = nerp(
        "replay", tmp_path / "x" / "record.json", "--ct", files[0], "--labels", folder, "-o", tmp_path / "y"
    )
    assert code == 0 and "identical" in out, err
