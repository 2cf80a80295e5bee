"""Tables of label names."""

import pytest

from nerp.data.label_names import read_label_names
from nerp.errors import DataError


@pytest.mark.parametrize(
    "text",
    [
        "value,name\n10,lung_left\n0,air\n",
        "group,original_idx,structure,id\norgans,1,lung_left,10\nair,2,air,0\n",
        "\ufeffLabel,Name,r,g\n 10 , lung_left ,1,2\n0,air,1,2\n",
    ],
)
def test_names_are_read_from_the_usual_tables(tmp_path, text):
    (tmp_path / "labels.csv").write_text(text, encoding="utf-8")
    assert read_label_names(tmp_path / "labels.csv") == {10: "lung_left", 0: "air"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("value,name\n1,a\n1,b\n", "line 3 of .* has the label value '1'"),
        ("value,name\nx,a\n", "line 2 of .* has the label value 'x'; expected whole numbers"),
        ("name\na\n", "has name; expected a column value or label"),
        ("value,colour\n1,a\n", "expected a column name or structure"),
        ("", "has no row"),
    ],
)
def test_tables_that_are_none_are_refused(tmp_path, text, message):
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_label_names(tmp_path / "labels.csv")


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(DataError, match="cannot be read as a table of label names"):
        read_label_names(tmp_path / "none.csv")
