"""Label names and the choice of labels."""

import pytest

from nerp.errors import DataError, UsageError
from nerp.label_names import is_lung, lung_labels, obscuring_labels, read_label_names, select_labels

NAMES = {10: "lung_left", 12: "lung_right", 16: "trachea"}


@pytest.mark.parametrize(("value", "name"), [("id", "structure"), ("value", "name"), ("label", "name")])
def test_reads_every_known_header(tmp_path, value, name):
    path = tmp_path / "names.csv"
    path.write_text(f"group,{name},{value}\nlungs,lung_left,10\nlungs,lung_right,12\n")
    assert read_label_names(path) == {10: "lung_left", 12: "lung_right"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "has a, b; expected a column"),
        ("id,name\nx,lung\n", "label value 'x'; expected whole numbers"),
        ("id,name\n1,lung\n1,heart\n", "each once"),
        ("", "no row"),
    ],
)
def test_bad_files_say_what_is_wrong(tmp_path, text, message):
    path = tmp_path / "names.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_label_names(path)


def test_missing_file(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        read_label_names(tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("text", "chosen"), [("12,10", (10, 12)), ("lung_*", (10, 12)), ("trachea, 3", (3, 16)), ("10,10", (10,))]
)
def test_selects_by_value_and_name(text, chosen):
    assert select_labels(text, NAMES) == chosen


@pytest.mark.parametrize("text", ["lungs", "10,,12", "-3", ""])
def test_refuses_what_is_no_label(text):
    with pytest.raises(UsageError, match="is no label"):
        select_labels(text, NAMES)


TABLES = {
    "snap.txt": '# ITK-SnAP\n    0 0 0 0 0 0 0 "Clear Label"\n   10 255 0 0 1 1 1 "left lung, upper"\n',
    "slicer.ctbl": "# Color table file\n0 Background 0 0 0 0\n10 lung left 255 0 0 255\n",
    "lut.txt": "10 lung_left 255 0 0\n\n12 lung_right 0 0 0\n",
    "plain.txt": "10 lung_left\r\n12: lung_right\r\n",
    "nnunet.json": '{"channel_names": {"0": "CT"}, "labels": {"background": 0, "lung_left": 10}}',
    "nnunet1.json": '{"labels": {"0": "background", "10": "lung_left"}, "numTraining": 3}',
    "map.json": '{"10": "lung_left"}',
    "nested.json": '{"total": {"10": "lung_left"}}',
    "rows.json": '[{"id": 10, "name": "lung_left"}]',
    "dcmqi.json": '{"segmentAttributes": [[{"labelID": 10, "SegmentLabel": "lung_left"}]]}',
    "bids.tsv": "index\tname\tabbreviation\tcolor\n10\tlung_left\tLL\t#ff0000\n",
    "semicolon.csv": "id;structure\n10;lung_left\n",
    "bare.csv": "10,lung_left\n12,lung_right\n",
    "turned.csv": "lung_left,10\n",
    "upper.csv": "Label,Name\n10,lung_left\n",
    "named.csv": "label,label_name\n10,lung_left\n",
    "label_is_name.csv": "id,label\n10,lung_left\n",
    "slicer.csv": "LabelValue,Name,Color_R,Color_G\n10,lung_left,1,2\n",
    "float.csv": "\ufeffid,structure\r\n\r\n10.0, lung_left\r\n",
}


@pytest.mark.parametrize("name", TABLES)
def test_tables_of_other_programs_are_read(tmp_path, name):
    (tmp_path / name).write_text(TABLES[name], encoding="utf-8", newline="")
    names = read_label_names(tmp_path / name)
    assert names[10] in ("lung_left", "lung left", "left lung, upper") and set(names) <= {0, 10, 12}


@pytest.mark.parametrize(("encoding", "found"), [("latin-1", "größe"), ("utf-8", "größe"), ("utf-16", "größe")])
def test_tables_in_other_encodings_are_read(tmp_path, encoding, found):
    (tmp_path / "names.csv").write_bytes("id,structure\n11,größe\n".encode(encoding))
    assert read_label_names(tmp_path / "names.csv") == {11: found}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("regions.json", b'{"labels": {"background": 0, "whole": [1, 2]}}', "gives 'whole' several values"),
        ("measures.json", b'{"lung": {"volume": 3.0}, "heart": {"volume": 1.0}}', "more than a value"),
        ("twice.json", b'{"1": "a", "1": "b"}', "'1' stands twice"),
        ("cut.json", b'{"1": "a"', "cannot be read as a table"),
        ("empty.json", b"{}", "holds no label names"),
        ("half.json", b'{"lung": 1.5}', "label value '1.5'"),
        ("image.csv", b"\0\1\2", "it is no text"),
        ("prose.txt", b"these are no names at all\n", "expected a column"),
    ],
)
def test_what_is_no_table_is_refused_in_one_line(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_label_names(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_capitals_blanks_and_hyphens_make_no_difference():
    names = {0: "Background", 1: "Lung Upper Lobe Left", 2: "left-lung", 3: "Trachea"}
    assert select_labels("lung_*,LEFT LUNG", names) == (1, 2)
    assert select_labels("*", names) == (1, 2, 3)


def test_a_wrong_name_is_answered_with_those_like_it():
    many = {value: f"vertebrae_{value}" for value in range(1, 60)} | {70: "lung_left"}
    with pytest.raises(UsageError, match=r"mask 'lung_lefft' is no label.*names like it are lung_left\)"):
        select_labels("lung_lefft", many)
    with pytest.raises(UsageError, match=r"and 52 more\)") as caught:
        select_labels("qqq", many)
    assert len(str(caught.value)) < 300
    with pytest.raises(UsageError, match="is no label"):
        select_labels("1" * 5000, many)


LUNGS = [
    "lung_upper_lobe_left",
    "lung_left",
    "Right Lung",
    "lungs",
    "Lung",
    "left upper lobe",
    "RUL",
    "LeftLung",
    "lung mask",
]
OTHERS = [
    "lung_vessels",
    "lung_nodule",
    "lung tumor",
    "trachea",
    "left temporal lobe",
    "lung_trachea_bronchia",
    "liver",
    "",
]


def test_lungs_are_told_from_what_is_in_them():
    assert all(map(is_lung, LUNGS)) and not any(map(is_lung, OTHERS))
    assert lung_labels(dict(enumerate([*OTHERS, *LUNGS]))) == list(range(len(OTHERS), len(OTHERS) + len(LUNGS)))


def test_obscuring_structures_are_known_by_names_with_blanks():
    assert obscuring_labels({1: "inferior vena cava", 2: "Pulmonary Artery", 3: "rib"}) == [1, 2]
