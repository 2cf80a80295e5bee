"""Label names and the choice of labels."""

import pytest

from nerp.errors import DataError, UsageError
from nerp.label_names import read_label_names, select_labels

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
