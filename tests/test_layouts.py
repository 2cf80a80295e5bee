"""The layouts of a data set: each holds the same pairs to the pixel, whoever reads and however often it was killed."""

import csv
import json
import os
import re
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.sr.codedict import codes
from small_factory import IMAGES, NAMES, bytes_of, layout_plan, make_set, make_shards, write_source

from nerp.data.images import read_grey
from nerp.data.pairs import read_records
from nerp.data.records import FOLDED, PairRecord
from nerp.dicom.segmentation import Segment, structure_codes, write_seg
from nerp.errors import ConfigError, DataError
from nerp.factory import make_dataset
from nerp.factory.gathering import gather
from nerp.factory.layouts import coco
from nerp.factory.layouts.coco_masks import bounding_box, polygons, run_lengths
from nerp.factory.layouts.columns import Columns
from nerp.factory.planning import make_plan
from nerp.files import sha256

PARTS = ("train", "valid")
CHECKER = shutil.which("dciodvfy")
UNDATED = re.compile(r"Warning - Missing attribute or value that would be needed to build DICOMDIR - Study (Date|Time)")
MAX_VALUE = {"ap": 255, "deep": 65535}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return write_source(tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="module")
def whole(source, tmp_path_factory):
    """A set in every layout."""
    out = tmp_path_factory.mktemp("whole") / "set"
    make_set(layout_plan(source), out)
    return out


def pairs(whole):
    """(part, image, record) of every pair, from the image folders."""
    for part in PARTS:
        for image in IMAGES:
            for record in read_records(whole / "imagefolder" / part / image / "metadata.jsonl"):
                yield part, image, record


def stored(path):
    return np.asarray(Image.open(path))


def masks_of(whole, part, image, record):
    home = whole / "imagefolder" / part / image
    return {mask.name: stored(home / mask.file_name) > 0 for mask in record.masks}


def rows_of(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_layouts_are_the_same_bytes_whoever_makes_them_and_however_often_gathered(source, whole, tmp_path, monkeypatch):
    expected = bytes_of(whole)
    assert len(list(pairs(whole))) == 12
    plan = make_shards(layout_plan(source), tmp_path / "cut", backwards=True)
    for cut in ("replace", "rmtree"):  # killed before the lines of COCO are put away, and before they are gone
        with monkeypatch.context() as patched:
            broken = {"rmtree": (coco.shutil, "rmtree"), "replace": (coco.os, "replace")}[cut]
            patched.setattr(*broken, cut_at(getattr(*broken), coco.GONE))
            with pytest.raises(KeyboardInterrupt):
                gather(plan, tmp_path / "cut")
    gather(plan, tmp_path / "cut")
    assert bytes_of(tmp_path / "cut") == expected
    assert not [path for path in (tmp_path / "cut").rglob(".*") if path.is_dir()]


@pytest.mark.slow
def test_two_workers_write_the_same_bytes_in_every_layout(source, whole, tmp_path):
    make_dataset(layout_plan(source, workers=2), tmp_path / "workers")
    assert bytes_of(tmp_path / "workers") == bytes_of(whole)


def cut_at(function, name):
    def cut(path, *rest, **more):
        if str((path, *rest)).count(name) and not more:
            raise KeyboardInterrupt
        return function(path, *rest, **more)

    return cut


def test_lines_of_image_folders_have_columns_of_one_type_each(whole):
    kinds = {}
    for part in PARTS:
        for image in IMAGES:
            home = whole / "imagefolder" / part / image
            lines = [json.loads(line) for line in (home / "metadata.jsonl").read_text().splitlines()]
            for line, record in zip(lines, read_records(home / "metadata.jsonl"), strict=True):
                assert list(line)[0] == "file_name"
                kinds.setdefault(tuple((key, type(value)) for key, value in line.items()), 0)
                assert PairRecord.from_dict(json.loads(line[FOLDED]), where="text") == record
                named = {mask.name: mask.file_name for mask in record.masks}
                assert {key: line[f"{key}_mask_file_name"] for key in named} == named
    assert len(kinds) == 1 and type(None) not in {kind for key in kinds for _, kind in key}


def test_columns_that_a_folder_lacks_are_left_to_the_record():
    def row(image, mask, **findings):
        record = dict.fromkeys(("id", "patient_id", "ct_sha256", "mode", "view"), "x") | {"view_index": 0, "seed": 0}
        masks = {"mask_file_name": mask, "mask_name": "", "more_masks": [], "file_name": "a.png"}
        return {"part": "train", "image": image, "record": {**record, **masks, "findings": findings}}

    rows = [row("a", "masks/a.png", effusion=1), row("a", None, effusion=None), row("b", "masks/b.png", nodule=0)]
    columns = Columns(rows)
    assert [columns.of(one)["mask_file_name"] for one in rows] == ["masks/a.png", None, "masks/b.png"]
    assert [columns.of(one)["findings"] for one in rows] == [
        {"effusion": 1, "nodule": -1},
        {"effusion": -1, "nodule": -1},
        {"effusion": -1, "nodule": 0},
    ]
    assert "mask_file_name" not in Columns([*rows, row("c", None)]).of(rows[0])


def test_a_damaged_record_beside_columns_is_told(whole, tmp_path):
    line = (whole / "imagefolder" / "train" / "ap" / "metadata.jsonl").read_text().splitlines()[0]
    values = json.loads(line)
    (tmp_path / "metadata.jsonl").write_text(json.dumps({**values, FOLDED: "{"}) + "\n")
    with pytest.raises(DataError, match=r"line 1 of .* has a record that is no JSON"):
        read_records(tmp_path / "metadata.jsonl")


def test_croissant_tells_the_columns_and_the_hashes(whole):
    home = whole / "imagefolder"
    told = json.loads((home / "croissant.json").read_text())
    tables = [one for one in told["distribution"] if one["@type"] == "cr:FileObject"]
    assert {one["contentUrl"]: one["sha256"] for one in tables} == {
        str(path.relative_to(home)): sha256(path) for path in home.rglob("metadata.jsonl")
    }
    for record_set in told["recordSet"]:
        line = json.loads((home / record_set["name"] / "metadata.jsonl").read_text().splitlines()[0])
        fields = {one["name"].removeprefix(f"{record_set['name']}/") for one in record_set["field"]}
        assert fields == {
            *line.keys() - {"findings"},
            "image",
            *(f"findings/{key}" for key in line.get("findings", ())),
        }


SQUARE = np.zeros((4, 5), bool)
SQUARE[1:3, 1:4] = True
RING = np.zeros((100, 70), bool)
RING[10:90, 5:60] = True
RING[40:50, 20:30] = False


@pytest.mark.parametrize(
    ("mask", "counts"),
    [
        (np.zeros((4, 5), bool), "d0"),
        (SQUARE, "5220003"),
        (np.ones((4, 5), bool), "0d0"),
        (RING, "n?`2d" + "0" * 29 + "^NF:" + ":FF:" * 9 + ":X1" + "0" * 58 + "nn0"),
    ],
)
def test_run_lengths_are_cocos_own(mask, counts):
    """The counts are what pycocotools 2.0.11 gives for these masks."""
    assert run_lengths(mask) == {"size": list(mask.shape), "counts": counts}


def decoded(told):
    """A mask of COCO's compressed counts, by the format's description."""
    height, width = told["size"]
    counts, text = [], iter(told["counts"])
    for character in text:
        value, shift, more = 0, 0, ord(character) - 48
        while True:
            value |= (more & 31) << shift
            shift += 5
            if not more & 32:
                break
            more = ord(next(text)) - 48
        value -= (1 << shift) if more & 16 else 0
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
    flat = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    return flat.reshape(width, height).T


def filled(rings, shape):
    """Pixels whose centre each ring's edges are crossed oddly often on the way to the right; the union of all."""
    y, x = (np.indices(shape) + 0.5)[:, :, :, None]
    union = np.zeros(shape, bool)
    for ring in rings:
        points = np.array(ring, float).reshape(-1, 2)
        after = np.roll(points, -1, axis=0)
        low, high = np.minimum(points[:, 1], after[:, 1]), np.maximum(points[:, 1], after[:, 1])
        with np.errstate(divide="ignore", invalid="ignore"):
            at = points[:, 0] + (y - points[:, 1]) * (after[:, 0] - points[:, 0]) / (after[:, 1] - points[:, 1])
        union |= (((low <= y) & (y < high) & (at > x)).sum(-1) % 2).astype(bool)
    return union


def random_masks():
    rng = np.random.default_rng(3)
    for number in range(60):
        shape = tuple(rng.integers(2, 24, 2))
        mask = rng.random(shape) < rng.random()
        if number % 2:  # of pieces, some with holes
            mask = np.kron(mask[: shape[0] // 2, : shape[1] // 2], np.ones((3, 4), bool))
        if mask.any():
            yield mask


def test_run_lengths_and_polygons_are_the_mask_to_the_pixel():
    for mask in [SQUARE, RING, *random_masks()]:
        assert np.array_equal(decoded(run_lengths(mask)), mask)
        assert np.array_equal(filled(polygons(mask), mask.shape), mask)
        left, top, width, height = bounding_box(mask)
        assert mask[top : top + height, left : left + width].sum() == mask.sum()
        assert mask[top].any() and mask[:, left].any()
        assert mask[top + height - 1].any() and mask[:, left + width - 1].any()
    assert polygons(SQUARE) == [[1, 1, 4, 1, 4, 3, 1, 3]]
    assert len(polygons(RING)) == 1


def test_coco_holds_every_mask_to_the_pixel(whole):
    seen = {"instances": 0, "polygons": 0}
    for kind, decode in (("instances", lambda one, shape: decoded(one)), ("polygons", filled)):
        for part in PARTS:
            told = json.loads((whole / "coco" / "annotations" / f"{kind}_{part}.json").read_text())
            names = {one["id"]: one["name"] for one in told["categories"]}
            assert sorted(names.values()) == ["heart", "lung_left", "lungs", "odd"]
            images = {one["file_name"]: one for one in told["images"]}
            for _, image, record in (pair for pair in pairs(whole) if pair[0] == part):
                place = f"{part}/{image}/{record.file_name}"
                assert (whole / "coco" / place).read_bytes() == (whole / "imagefolder" / place).read_bytes()
                one = images.pop(place)
                assert (one["height"], one["width"]) == (40, 32)
                expected = {name: mask for name, mask in masks_of(whole, part, image, record).items() if mask.any()}
                own = {names[a["category_id"]]: a for a in told["annotations"] if a["image_id"] == one["id"]}
                assert own.keys() == expected.keys()
                for name, annotation in own.items():
                    mask = decode(annotation["segmentation"], (40, 32))
                    assert np.array_equal(mask, expected[name]), (kind, name)
                    assert annotation["area"] == mask.sum() and annotation["bbox"] == bounding_box(mask)
                    seen[kind] += 1
            assert not images
            assert [a["id"] for a in told["annotations"]] == list(range(1, len(told["annotations"]) + 1))
    assert seen["instances"] == seen["polygons"] > 40


def test_drr_rate_has_the_published_tree_and_the_tables_of_what_is_there(source, whole):
    home = whole / "drr-rate"
    told = {record.ct_sha256: (part, record) for part, image, record in pairs(whole) if image == "ap"}
    for name in NAMES:
        part, record = told[sha256(source / "ct" / f"{name}.nii.gz")]
        patient, scan = name.rsplit("_", 2)[0], name.rsplit("_", 1)[0]
        place = f"{part}/AP/{patient}/{scan}/{name}.png"
        flat = whole / "imagefolder" / part / "ap"
        assert (home / place).read_bytes() == (flat / record.file_name).read_bytes()
        for mask in record.masks:
            assert (home / "masks" / mask.name / place).read_bytes() == (flat / mask.file_name).read_bytes()
        assert (home / part / "PA" / patient / scan / f"{name}_001.png").is_file()
    labels = [
        row for part in PARTS for row in rows_of(home / "multi_abnormality_labels" / f"{part}_predicted_labels.csv")
    ]
    assert list(labels[0]) == ["ImageName", "Cardiomegaly", "Lung nodule"]
    assert {
        row["ImageName"]: (row["Cardiomegaly"], row["Lung nodule"]) for row in labels if row["ImageName"][:2] == "AP"
    } == {
        f"AP/{NAMES[0]}.png": ("1", "0"),
        f"AP/{NAMES[1]}.png": ("0", "0"),
        f"AP/{NAMES[3]}.png": ("0", "1"),
    }
    reports = [row for part in PARTS for row in rows_of(home / "radiology_text_reports" / f"{part}_reports.csv")]
    assert {row["Findings_EN"] for row in reports} == {"Heart large, lungs clear.\nNo effusion."} and len(reports) == 3
    metadata = [row for part in PARTS for row in rows_of(home / "metadata" / f"{part}_metadata.csv")]
    assert {row["XYSpacing"] for row in metadata} == {"[0.7, 0.7]"} and len(metadata) == 6
    assert "carried over as they stand" in (whole / "README.md").read_text()


def test_one_view_is_called_as_published_and_hashed_names_tell_nothing(source, tmp_path):
    single = {"images": {"ap": {"camera": {"view": "ap"}}}}
    findings = {"tables": {}, "findings": str(source / "labels.csv")}
    make_set(layout_plan(source, "drr-rate", source={"names": "hashed", **findings}, **single), tmp_path / "set")
    names = [str(path) for path in (tmp_path / "set").rglob("*")]
    assert not any(name in one for name in (*NAMES, "train_1", "train_2", "train_3_a") for one in names)
    rows = [row for path in (tmp_path / "set").glob("multi*/*.csv") for row in rows_of(path)]
    assert {row["cardiomegaly"] for row in rows} == {"1", "0", ""} and len(rows) == 4
    places = {path.name: path for path in (tmp_path / "set").glob("*/AP/*/*/*.png")}
    assert {row["ImageName"] for row in rows} == places.keys()
    assert "No file name" in (tmp_path / "set" / "README.md").read_text()


def test_ct_rate_as_published_gives_drr_rates_tree_and_all_three_tables(source, tmp_path):
    tree, told = tmp_path / "ct", ["VolumeName,XYSpacing,ZSpacing,RescaleSlope,RescaleIntercept,PatientSex"]
    for name in NAMES[:2]:
        home = tree / "train" / name.rsplit("_", 2)[0] / name.rsplit("_", 1)[0]
        home.mkdir(parents=True)
        shutil.copy(source / "ct" / f"{name}.nii.gz", home)
        told.append(f'{name}.nii.gz,"[14.0, 14.0]",14.0,1,0,F')
    (tmp_path / "metadata.csv").write_text("\n".join(told) + "\n")
    mine = {"ct": str(tree), "metadata": str(tmp_path / "metadata.csv"), "names": "kept"}
    mine |= {"findings": str(source / "labels.csv"), "reports": str(source / "reports.csv")}
    single = {"images": {"ap": {"camera": {"view": "ap"}}}, "common": {"shape": [8, 8]}, "split": {}}
    make_set(layout_plan(source, "drr-rate", sources={"rate": mine}, **single), tmp_path / "set")
    for name in NAMES[:2]:
        assert (tmp_path / "set" / "train" / "AP" / "train_1" / name.rsplit("_", 1)[0] / f"{name}.png").is_file()
    tables = {path.parent.name: rows_of(path) for path in (tmp_path / "set").glob("*/train_*.csv")}
    assert {kind: len(rows) for kind, rows in tables.items()} == {
        "multi_abnormality_labels": 2,
        "metadata": 2,
        "radiology_text_reports": 1,
    }
    assert {row["ImageName"] for row in tables["metadata"]} == {f"{name}.png" for name in NAMES[:2]}
    hashed = layout_plan(source, "drr-rate", sources={"rate": {**mine, "names": "hashed"}}, **single)
    assert not hashed.source_settings["rate"].carried


def test_names_that_would_meet_and_tables_that_do_not_fit_are_refused(source, tmp_path):
    for folder in ("one", "two"):
        shutil.copytree(source / "ct", tmp_path / folder)
    other = {"ct": str(tmp_path / "one"), "names": "kept"}
    twice = {"sources": {"a": other, "b": {**other, "ct": str(tmp_path / "two")}}}
    with pytest.raises(DataError, match="would have the same name in layout drr-rate; give their source names: hashed"):
        make_plan(layout_plan(source, "drr-rate", **twice))
    assert len(make_plan(layout_plan(source, "imagefolder", **twice)).volumes) == 8
    (tmp_path / "other.csv").write_text("VolumeName,Sex\nnobody.nii.gz,F\n")
    with pytest.raises(DataError, match=r"other\.csv tells of none of the CTs of"):
        make_plan(layout_plan(source, "drr-rate", source={"tables": {"labels": str(tmp_path / "other.csv")}}))
    (tmp_path / "bare.csv").write_text("Sex\nF\n")
    with pytest.raises(DataError, match=r"bare\.csv has columns Sex; expected one of files, such as VolumeName"):
        make_plan(layout_plan(source, "drr-rate", source={"tables": {"labels": str(tmp_path / "bare.csv")}}))
    with pytest.raises(
        ConfigError, match=r"sources\.mine\.tables has 'label'; expected some of labels, metadata, reports"
    ):
        layout_plan(source, "drr-rate", source={"tables": {"label": "x.csv"}})


def test_dicom_holds_the_image_in_12_bits_and_its_masks_with_codes(whole):
    patients, studies, seen = {}, {}, 0
    for part, image, record in pairs(whole):
        home = whole / "dicom" / part / image
        shown, masks = (dcmread(home / kind / f"{record.id}.dcm") for kind in ("images", "masks"))
        grey = stored(whole / "imagefolder" / part / image / record.file_name) / MAX_VALUE[image]
        assert np.abs(shown.pixel_array / 4095 - grey).max() <= 0.5 / MAX_VALUE[image] + 0.5 / 4095 + 1e-9
        expected = masks_of(whole, part, image, record)
        frames = dict(zip((str(one.SegmentLabel) for one in masks.SegmentSequence), masks.pixel_array, strict=True))
        assert frames.keys() == expected.keys()
        for name, mask in expected.items():
            assert np.array_equal(frames[name] > 0, mask)
            seen += 1
        assert masks.SegmentsOverlap == "YES"
        for key in ("PatientID", "StudyInstanceUID", "PatientName", "StudyDate"):
            assert masks[key].value == shown[key].value
        assert not shown.StudyDate and not shown.PatientName and masks.ContentDate == "19000101"
        assert masks.ReferencedSeriesSequence[0].ReferencedInstanceSequence[0].ReferencedSOPInstanceUID == (
            shown.SOPInstanceUID
        )
        patients.setdefault(shown.PatientID, set()).add(record.ct_sha256)
        studies.setdefault(shown.StudyInstanceUID, set()).add(record.ct_sha256)
    assert seen == 48
    assert sorted(map(len, patients.values())) == [1, 1, 2] and set(map(len, studies.values())) == {1}
    told = rows_of(whole / "dicom" / "index.csv")
    assert all((whole / "dicom" / row[key]).is_file() for row in told for key in ("file", "masks")) and len(told) == 12


def test_structures_have_the_codes_that_the_standard_knows():
    def told(*names):
        found = structure_codes(names)
        kind = found["SegmentedPropertyTypeCodeSequence"][0]
        side = kind.get("SegmentedPropertyTypeModifierCodeSequence", [{}])[0].get("CodeValue")
        return kind["CodeValue"], side

    lung, left, right, both = (
        one.value for one in (codes.SCT.Lung, codes.SCT.Left, codes.SCT.Right, codes.cid244.Bilateral)
    )
    assert told("lung_left") == (lung, left) and told("Right Lung") == (lung, right)
    assert told("lung_left", "lung_right") == (lung, both)
    assert told("lung_upper_lobe_left", "lung_lower_lobe_left") == (lung, left)
    assert told("rib_left_4") == (codes.SCT.Rib.value, left) and told("heart") == (codes.SCT.Heart.value, None)
    assert told("lung_left", "heart") == told("thing") == told() == (codes.cid7150.AnatomicalStructure.value, None)


def test_every_code_of_the_table_means_what_pydicoms_dictionary_says():
    from pydicom.sr._concepts_dict import concepts

    from nerp.dicom.segmentation import _table

    known = {(code, meaning) for named in concepts["SCT"].values() for code, (meaning, _) in named.items()}
    for row in _table():
        for key in ("category", "type", "side"):
            assert not row[key] or (row[key], row[f"{key}_meaning"]) in known, row


def test_masks_of_another_shape_make_no_segmentation(whole, tmp_path):
    image = next((whole / "dicom").rglob("images/*.dcm"))
    for segments in ([], [Segment("lung_left", (), np.ones((3, 4), bool))]):
        with pytest.raises(DataError, match="expected one or more of its shape"):
            write_seg(tmp_path / "x.dcm", segments, image=image, maker="nerp")
    assert not (tmp_path / "x.dcm").exists()


@pytest.mark.skipif(CHECKER is None, reason="dciodvfy of dicom3tools is not installed")
def test_the_standards_checker_has_nothing_against_images_and_masks(whole):
    files = [next((whole / "dicom").rglob(f"{image}/{kind}/*.dcm")) for image in IMAGES for kind in ("images", "masks")]
    for path in files:
        found = subprocess.run([CHECKER, path], capture_output=True, text=True, timeout=60).stderr.splitlines()
        assert [line for line in found if ("Error" in line or "Warning" in line) and not UNDATED.match(line)] == [], (
            path
        )


def test_the_card_shows_pairs_with_their_outlines(source, whole, tmp_path):
    assert "](card.png)" in (whole / "README.md").read_text()
    sheet = stored(whole / "card.png")
    assert sheet.shape == (2 * 196 + 4, 4 * 196 + 4, 3)
    colours = {tuple(colour) for colour in sheet.reshape(-1, 3).tolist()}
    assert {(255, 170, 0), (0, 200, 255), (120, 255, 90), (255, 90, 160)} <= colours
    many = make_plan(layout_plan(source, shard=1))
    assert len(many.shards) == 4


# What others read of it; with the extra test-formats.


@pytest.mark.filterwarnings("ignore")
def test_hugging_face_loads_image_folders_whole_and_by_name(whole, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    datasets = pytest.importorskip("datasets", reason="Hugging Face's datasets is not installed (extra test-formats)")
    common = {"cache_dir": str(tmp_path / "cache")}
    loaded = datasets.load_dataset("imagefolder", data_dir=str(whole / "imagefolder"), **common)
    told = {(part, image, record.id): record for part, image, record in pairs(whole)}
    splits = {"train": "train", "valid": "validation"}
    assert {name: len(loaded[name]) for name in loaded} == {
        splits[part]: sum(key[0] == part for key in told) for part in PARTS
    }
    for part, split in splits.items():
        for row in loaded[split]:
            record = told[part, row["rendering"], row["id"]]
            assert PairRecord.from_dict(row, where="a row") == record
            home = whole / "imagefolder" / part / row["rendering"]
            assert np.array_equal(np.asarray(row["image"]), stored(home / record.file_name))
            assert np.array_equal(
                np.asarray(row["heart_mask"]) > 0, masks_of(whole, part, row["rendering"], record)["heart"]
            )
    named = datasets.load_dataset(str(whole), "deep", **common)
    assert {name: len(named[name]) for name in named} == {
        part: sum(key[:2] == (part, "deep") for key in told) for part in PARTS
    }


@pytest.mark.filterwarnings("ignore")
def test_pycocotools_decodes_every_mask(whole):
    reader = pytest.importorskip("pycocotools.coco", reason="pycocotools is not installed (extra test-formats)")
    count = 0
    for kind in coco.KINDS:
        for part in PARTS:
            read = reader.COCO(str(whole / "coco" / "annotations" / f"{kind}_{part}.json"))
            names = {one["id"]: one["name"] for one in read.dataset["categories"]}
            for one in read.dataset["annotations"]:
                place = read.imgs[one["image_id"]]["file_name"].replace(
                    "images/", f"masks/{names[one['category_id']]}/"
                )
                assert np.array_equal(read.annToMask(one) > 0, stored(whole / "imagefolder" / place) > 0), (kind, place)
                count += 1
    assert count > 80


@pytest.mark.filterwarnings("ignore")
def test_highdicom_reads_every_segment(whole):
    highdicom = pytest.importorskip("highdicom", reason="highdicom is not installed (extra test-formats)")
    for part, image, record in pairs(whole):
        home = whole / "dicom" / part / image
        read = highdicom.seg.segread(home / "masks" / f"{record.id}.dcm")
        of = dcmread(home / "images" / f"{record.id}.dcm").SOPInstanceUID
        frames = read.get_pixels_by_source_instance([of], combine_segments=False)[0]
        for number, (name, mask) in enumerate(masks_of(whole, part, image, record).items()):
            assert read.get_segment_description(number + 1).segment_label == name
            assert np.array_equal(frames[..., number] > 0, mask)


@pytest.mark.filterwarnings("ignore")
def test_mlcroissant_finds_nothing_wrong_and_reads_the_records(whole, monkeypatch):
    mlcroissant = pytest.importorskip("mlcroissant", reason="mlcroissant is not installed (extra test-formats)")
    read = mlcroissant.Dataset(jsonld=str(whole / "imagefolder" / "croissant.json"))
    assert not read.metadata.issues.errors
    for part in PARTS:
        own = {record.id: record for a, b, record in pairs(whole) if (a, b) == (part, "ap")}
        for row in read.records(f"{part}/ap"):
            record = own.pop(row[f"{part}/ap/id"].decode())
            picture = np.asarray(row[f"{part}/ap/image"].convert("L")) / 255
            assert picture == pytest.approx(read_grey(whole / "imagefolder" / part / "ap" / record.file_name))
        assert not own


@pytest.mark.filterwarnings("ignore")
def test_webdataset_streams_every_pair(whole):
    webdataset = pytest.importorskip("webdataset", reason="webdataset is not installed (extra test-formats)")
    told = {(part, image, record.id): record for part, image, record in pairs(whole)}
    for path in sorted((whole / "webdataset").rglob("*.tar")):
        part, image = path.parent.name, path.name.rsplit("-", 1)[0]
        for sample in webdataset.WebDataset(str(path), shardshuffle=False):
            record = told.pop((part, image, os.path.basename(sample["__key__"])))
            assert sample["png"] == (whole / "imagefolder" / part / image / record.file_name).read_bytes()
            assert PairRecord.from_dict(json.loads(sample["json"]), where="a sample") == record
    assert not told
