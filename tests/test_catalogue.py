"""Small trees in the published layouts: found, paired, counted."""

from pathlib import Path

import numpy as np
import pytest
from dicom_series import write_series
from PIL import Image

from nerp.data.catalogue import locate, survey
from nerp.data.images import read_binary
from nerp.data.public_sets import PUBLIC_SETS

SLICES = np.zeros((2, 3, 4), np.int16)


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def picture(path: Path, columns: slice) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.zeros((16, 16), np.uint8)
    values[:, columns] = 255
    Image.fromarray(values).save(path)


def find_pairs(name: str, root: Path) -> list:
    known = PUBLIC_SETS[name]
    folder = locate(known, root)
    return [] if folder is None else known.find(folder)


def united(masks) -> np.ndarray:
    return np.logical_or.reduce([read_binary(path) for path in masks])


def names(pairs) -> list:
    return [(image.name, [mask.parent.name + "/" + mask.name for mask in masks]) for image, masks in pairs]


@pytest.mark.parametrize(
    ("name", "home", "patients"),
    [
        ("NSCLC-Radiogenomics", "NSCLC Radiogenomics", ["AMC-001", "R01-002"]),
        ("LIDC-IDRI", "manifest-16/LIDC-IDRI", ["LIDC-IDRI-0001", "LIDC-IDRI-0002"]),
    ],
)
def test_cancer_imaging_archive(tmp_path, name, home, patients):
    for number, patient in enumerate(patients):
        study = tmp_path / home / patient / "01-01-2000-NA-NA-30178"
        write_series(study / "3000566.000000-NA-03192", SLICES, series=f"1.2.{number}")
        write_series(study / "1000.000000-segmentation", SLICES[:1], Modality="SEG")
        write_series(study / "2.000000-film", SLICES[:1], Modality="DX")
        touch(study / "3000566.000000-NA-03192" / "069.xml")
    (tmp_path / home / "LICENSE").touch()
    pairs = find_pairs(name, tmp_path)
    assert [image.relative_to(tmp_path / home).parts[0] for image, _ in pairs] == patients
    assert all(image.name == "3000566.000000-NA-03192" and not masks for image, masks in pairs)


def test_mosmed(tmp_path):
    home = tmp_path / "COVID19_1110"
    touch(home / "studies/CT-0/study_0001.nii.gz", home / "studies/CT-1/study_0255.nii.gz", home / "README_EN.md")
    touch(home / "studies/CT-4/study_1110.nii", home / "masks/study_0255_mask.nii.gz")
    expected = [
        ("study_0001.nii.gz", []),
        ("study_0255.nii.gz", ["masks/study_0255_mask.nii.gz"]),
        ("study_1110.nii", []),
    ]
    assert names(find_pairs("MosMed", tmp_path)) == expected


@pytest.mark.parametrize("masks", ["mask", "mask/mask", "masks"])
def test_shenzhen(tmp_path, masks):
    home = tmp_path / "ChinaSet_AllFiles"
    touch(home / "CXR_png/CHNCXR_0001_0.png", home / "CXR_png/CHNCXR_0400_1.png", home / "CXR_png/Thumbs.db")
    touch(home / "ClinicalReadings/CHNCXR_0001_0.txt", home / masks / "CHNCXR_0400_1_mask.png")
    found = names(find_pairs("Shenzhen", tmp_path))
    assert found == [("CHNCXR_0001_0.png", []), ("CHNCXR_0400_1.png", [f"{Path(masks).name}/CHNCXR_0400_1_mask.png"])]


def test_montgomery_has_two_halves(tmp_path):
    home = tmp_path / "NLM-MontgomeryCXRSet" / "MontgomerySet"
    for name in ("MCUCXR_0001_0.png", "MCUCXR_0002_0.png"):
        picture(home / "CXR_png" / name, slice(0, 16))
        picture(home / "ManualMask/leftMask" / name, slice(9, 14))
    picture(home / "ManualMask/rightMask/MCUCXR_0001_0.png", slice(2, 7))
    (_, both), (_, half) = find_pairs("Montgomery", tmp_path)
    assert [mask.parent.name for mask in both] == ["leftMask", "rightMask"] and half == ()
    assert united(both).sum() == 16 * 10


def test_jsrt_with_scr_masks_in_two_folds(tmp_path):
    home = tmp_path / "JSRT"
    touch(*(home / "All247images" / f"{stem}.IMG" for stem in ("JPCLN001", "JPCLN002", "JPCNN001")))
    for fold, stem in ((1, "JPCLN001"), (2, "JPCLN002")):
        for side, columns in (("left lung", slice(9, 14)), ("right lung", slice(2, 7)), ("heart", slice(7, 9))):
            picture(home / f"scratch/fold{fold}/masks/{side}/{stem}.gif", columns)
    pairs = find_pairs("JSRT", tmp_path)
    expected = [("JPCLN001.IMG", 2), ("JPCLN002.IMG", 2), ("JPCNN001.IMG", 0)]
    assert [(image.name, len(masks)) for image, masks in pairs] == expected
    assert united(pairs[1][1]).sum() == 16 * 10


def test_ct_rate_prefers_the_fixed_volumes(tmp_path):
    home = tmp_path / "CT-RATE" / "dataset"
    touch(home / "train/train_1/train_1_a/train_1_a_1.nii.gz", home / "train/train_1/train_1_a/train_1_a_2.nii.gz")
    touch(home / "valid/valid_1/valid_1_a/valid_1_a_1.nii.gz", home / "metadata/train_metadata.csv")
    found = find_pairs("CT-RATE", tmp_path)
    assert names(found) == [("train_1_a_1.nii.gz", []), ("train_1_a_2.nii.gz", []), ("valid_1_a_1.nii.gz", [])]
    touch(home / "train_fixed/train_1/train_1_a/train_1_a_1.nii.gz")
    found = find_pairs("CT-RATE", tmp_path)
    assert [image.relative_to(home).parts[0] for image, _ in found] == ["train_fixed", "valid"]


def test_the_listing_says_what_is_there_and_what_is_not(tmp_path):
    home = tmp_path / "MontgomerySet"
    for number in range(138):
        name = f"MCUCXR_{number:04d}_0.png"
        touch(home / "CXR_png" / name, home / "ManualMask/leftMask" / name, home / "ManualMask/rightMask" / name)
    touch(tmp_path / "COVID19_1110/studies/CT-0/study_0001.nii.gz")
    states = {status.name: status for status in survey(tmp_path)}
    assert list(states) == list(PUBLIC_SETS)
    assert states["Montgomery"].state == "complete" and states["Montgomery"].found == 138
    assert "cite Jaeger 2014" in states["Montgomery"].hint and states["Montgomery"].folder == home
    assert states["MosMed"].state == "incomplete" and states["MosMed"].hint.startswith("1109 images of 1110 not found")
    assert states["LIDC-IDRI"].state == "missing" and states["LIDC-IDRI"].folder is None
    assert states["LIDC-IDRI"].hint.startswith("get it from https://www.cancerimagingarchive.net/collection/lidc-idri/")
    (home / "ManualMask/leftMask/MCUCXR_0000_0.png").unlink()
    again = {status.name: status for status in survey(tmp_path)}["Montgomery"]
    assert (again.state, again.masked) == ("incomplete", 137) and again.hint.startswith("1 masks of 138")
    assert {status.state for status in survey(tmp_path / "nowhere")} == {"missing"}


def test_the_paper_and_the_publishers_counts():
    counts = {name: (known.expected, known.masked) for name, known in PUBLIC_SETS.items()}
    assert counts["NSCLC-Radiogenomics"][0] + counts["MosMed"][0] == 1512
    assert counts["Shenzhen"][1] + counts["Montgomery"][1] + counts["JSRT"][1] == 951
    assert counts["CT-RATE"][0] == 47149 + 3039 and counts["LIDC-IDRI"][0] == 1018
    for known in PUBLIC_SETS.values():
        assert known.page.startswith("http") and known.licence and known.citation and known.kind in ("ct", "radiograph")
