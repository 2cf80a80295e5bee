"""Findings of images: tables of every known form, names of several vocabularies, and findings of CTs."""

import csv
import json
from importlib.resources import files

import numpy as np
import pytest

from nerp.data.findings import find_tables, finding_name, findings_of, label_matrix, read_table, vocabulary
from nerp.data.labelled import Telling, find_labelled
from nerp.errors import DataError
from nerp.files import sha256
from nerp.phantom.labels import FINDINGS


def table(tmp_path, text, name="t.csv"):
    path = tmp_path / name
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("Pleural Effusion", "effusion"),
        ("Pleural effusion", "effusion"),
        ("Effusion", "effusion"),
        ("large_heart", "cardiomegaly"),
        ("Pleural_Thickening", "pleural_thickening"),
        ("Lung nodule", "nodule"),
        ("Lung Lesion", "lung_lesion"),
        ("Pericardial effusion", "pericardial_effusion"),
        ("My own finding", "my_own_finding"),
    ],
)
def test_one_finding_has_one_name_whatever_the_vocabulary(title, name):
    assert finding_name(title) == name


def test_every_vocabulary_states_its_source_and_is_whole():
    folder = files("nerp.data") / "tables"
    rows = list(csv.DictReader((folder / "findings.csv").read_text().splitlines()))
    sources = {
        row["vocabulary"]: row["source"]
        for row in csv.DictReader((folder / "vocabularies.csv").read_text().splitlines())
    }
    counts = {name: len({row["finding"] for row in rows if row["vocabulary"] == name}) for name in sources}
    assert counts == {"NIH ChestX-ray14": 14, "CheXpert": 13, "CT-RATE": 18, "phantom": 5}
    assert {row["vocabulary"] for row in rows} == set(sources) and all(sources.values())
    assert {row["name"] for row in rows if row["vocabulary"] == "phantom"} == set(FINDINGS)


def test_a_column_a_finding_with_what_is_not_known(tmp_path):
    path = table(tmp_path, "Path,Age,Pleural Effusion,Edema\na.png,50,1.0,\nb.png,60,-1,0.0\nc.png,70,0,nan\n")
    read = read_table(path)
    assert read.names == ("effusion", "edema")
    assert read.rows["a.png"] == {"effusion": 1, "edema": None}
    assert read.rows["b.png"] == {"effusion": None, "edema": 0}
    assert read_table(path, empty=0).rows["c.png"] == {"effusion": 0, "edema": 0}
    assert read_table(path, empty=0).rows["b.png"]["effusion"] is None


def test_a_row_without_its_empty_last_cells_counts(tmp_path):
    (tmp_path / "labels.csv").write_text("file,effusion,nodule\na.png,1\nb.png,0,1\n")
    rows = read_table(tmp_path / "labels.csv").rows
    assert rows["a.png"] == {"effusion": 1, "nodule": None} and rows["b.png"] == {"effusion": 0, "nodule": 1}


def test_a_column_of_names_as_nih_has_it(tmp_path, caplog):
    text = (
        "Image Index,Finding Labels,Patient ID\na.png,Effusion|Nodule,1\nb.png,No Finding,2\nc.png,,3\nd.png,Oddity,4\n"
    )
    read = read_table(table(tmp_path, text))
    assert read.names == ("effusion", "nodule")
    assert read.rows["a.png"] == {"effusion": 1, "nodule": 1}
    assert read.rows["b.png"] == read.rows["d.png"] == {"effusion": 0, "nodule": 0}
    assert read.rows["c.png"] == {"effusion": None, "nodule": None}
    assert "1 names are no known findings and are passed over: ['oddity']" in caplog.text
    assert "oddity" in read_table(table(tmp_path, text), ["oddity"]).names


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,effusion\na.png,2\n", "says '2' of effusion; expected 0, 1, nothing or -1"),
        ("file,effusion\na.png,1\na.png,0\n", "lists a.png twice, with other findings"),
        ("file,effusion,Pleural Effusion\na.png,1,1\n", "has two columns of effusion, effusion and Pleural Effusion"),
        ("file,patient_id\na.png,1\n", "has columns file, patient_id; expected file,effusion"),
        ("effusion,edema\n1,0\n", "has columns effusion, edema; expected file,effusion"),
        ("file,findings\na.png,the lungs are clear\n", "names no finding that is known"),
    ],
)
def test_tables_that_cannot_be_used_say_why(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        read_table(table(tmp_path, text))
    with pytest.raises(DataError, match=r"no index at .*absent.csv: expected a CSV with columns file,effusion"):
        read_table(tmp_path / "absent.csv")


def test_tables_are_found_in_the_folder_and_above_its_images(tmp_path):
    (tmp_path / "images").mkdir()
    ours = table(tmp_path, "file,effusion\na.png,1\n", "whatever.csv")
    table(tmp_path, "value,name\n1,lung\n", "labels.csv")
    table(tmp_path, "file,patient_id\na.png,1\n", "patients.csv")
    own = table(tmp_path, "file,my_own\na.png,1\n", "own.csv")
    assert find_tables(tmp_path) == find_tables(tmp_path / "images") == [ours]
    assert find_tables(tmp_path, ["my_own"]) == [own, ours]


def test_images_are_told_by_path_end_and_stem_and_tables_may_not_contradict(tmp_path):
    paths = [tmp_path / one for one in ("p1/view.png", "p2/view.png", "c.png", "d.png")]
    text = "Path,Effusion\nCheXpert/p1/view.png,1\np2/view.png,0\nc,1\n"
    first = read_table(table(tmp_path, text.replace("CheXpert/", "")))
    assert findings_of(paths, [first]) == [{"effusion": 1}, {"effusion": 0}, {"effusion": 1}, None]
    second = read_table(table(tmp_path, "file,Effusion,Edema\nc.png,1,0\nd.png,1,1\n", "u.csv"))
    assert findings_of(paths, [first, second])[2:] == [{"effusion": 1, "edema": 0}, {"effusion": 1, "edema": 1}]
    other = read_table(table(tmp_path, "file,Effusion\nc.png,0\n", "v.csv"))
    with pytest.raises(DataError, match="tell otherwise of effusion in c.png"):
        findings_of(paths, [first, other])


def test_tables_of_a_release_and_of_cts_serve_for_images_elsewhere(tmp_path):
    text = "Path,Effusion\nCheXpert-v1.0/train/patient1/view.png,1\nCheXpert-v1.0/train/patient2/view.png,0\n"
    images = [tmp_path / "here" / "train" / f"patient{n}" / "view.png" for n in (1, 2, 3)]
    assert findings_of(images, [read_table(table(tmp_path, text))]) == [{"effusion": 1}, {"effusion": 0}, None]
    of_cts = read_table(table(tmp_path, "VolumeName,Pleural effusion\ntrain_1_a_1.nii.gz,1\n"))
    assert findings_of([tmp_path / "train_1_a_1.png"], [of_cts]) == [{"effusion": 1}]
    twice = read_table(table(tmp_path, "Path,Effusion\nA/view.png,1\nB/view.png,0\n"))
    assert findings_of([tmp_path / "view.png"], [twice]) == [None]


def test_an_image_has_the_findings_of_the_ct_that_it_was_rendered_from(tmp_path):
    phantoms, pairs = tmp_path / "phantoms", tmp_path / "pairs" / "images"
    for folder in (phantoms / "ct", pairs):
        folder.mkdir(parents=True)
    records = []
    for name in "ab":
        (phantoms / "ct" / f"{name}.nii.gz").write_bytes(name.encode())
        digest = sha256(phantoms / "ct" / f"{name}.nii.gz")
        records.append({"file_name": f"images/{digest[:4]}.png", "ct_sha256": digest})
    (pairs.parent / "metadata.jsonl").write_text("".join(json.dumps(one) + "\n" for one in records))
    text = "file,sex,effusion,large_heart,effusion_side\na.nii.gz,F,1,0,right\nb.nii.gz,M,0,1,\n"
    read = read_table(table(phantoms, text, "findings.csv"))
    images = [pairs.parent / one["file_name"] for one in records]
    assert findings_of(images, [read]) == [{"effusion": 1, "cardiomegaly": 0}, {"effusion": 0, "cardiomegaly": 1}]
    moved = read_table(table(tmp_path, text, "moved.csv"))
    assert findings_of(images, [moved]) == [None, None]
    assert findings_of(images, [moved], ct=phantoms / "ct") == findings_of(images, [read])


def test_what_is_not_known_is_no_number():
    found = label_matrix([{"a": 1, "b": None}, {"b": 0}], ("a", "b"))
    assert np.array_equal(found, np.array([[1, np.nan], [np.nan, 0]], dtype=np.float32), equal_nan=True)
    assert label_matrix([], ("a",)).shape == (0, 1)


def test_images_that_no_table_lists_are_left_out_and_a_folder_of_them_refused(tmp_path):
    from finding_images import write_findings

    folder = write_findings(tmp_path / "a", 4)
    lines = (folder / "labels.csv").read_text().splitlines()
    (folder / "labels.csv").write_text("\n".join(lines[:-1]) + "\n")
    found = find_labelled(folder, Telling())
    assert (len(found.files), found.unlisted, found.names) == (3, 1, {"effusion", "nodule", "mass"})
    (folder / "labels.csv").unlink()
    with pytest.raises(DataError, match="no table tells the findings of the 4 images"):
        find_labelled(folder, Telling())


def test_real_findings_of_nih(real_data):
    folder = real_data / "cxr-nih"
    found = find_labelled(folder, Telling())
    assert len(found.files) == 1000 and found.unlisted == 0
    assert found.names <= set(vocabulary().values())
    assert sum(row["hernia"] for row in found.rows) == 3
