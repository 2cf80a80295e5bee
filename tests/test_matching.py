"""Which labels belong to which CT, and how each is known by its content."""

import pytest
from small_chests import SETTINGS, chest, write_chests

from nerp.data.source_files import volume_sha256
from nerp.errors import DataError
from nerp.synthesis import synthesize
from nerp.synthesis.matching import cases
from nerp.volume import write_volume


def test_unmatched_names_are_listed(chests, tmp_path):
    ct, labels = write_chests(tmp_path / "in", names=("anna", "bert", "carl"))
    (labels / "anna.nii.gz").rename(labels / "ann.nii.gz")
    (labels / "carl.nii.gz").unlink()
    expected = r"2 CTs have no labels of the same name in .*: anna, carl \(labels without a CT: ann\)"
    with pytest.raises(DataError, match=expected):
        synthesize(ct, labels, out=tmp_path / "pairs", settings=SETTINGS)


def test_matching_goes_by_names_below_both_folders_whatever_the_format(tmp_path):
    (ct, labels), volumes = (tmp_path / "ct", tmp_path / "labels"), chest()
    for folder in (ct / "a", ct / "b", labels / "a", labels / "b"):
        folder.mkdir(parents=True)
    write_volume(ct / "a" / "ct.nii.gz", volumes[0])
    write_volume(ct / "b" / "ct.nrrd", chest(60.0)[0])
    write_volume(labels / "a" / "ct.mha", volumes[1])
    write_volume(labels / "b" / "ct.nii", volumes[1])
    assert {(case.ct.path.parent.name, case.labels.path.parent.name) for case in cases(ct, labels)} == {
        ("a", "a"),
        ("b", "b"),
    }


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda ct, labels: (ct / "twin.nii.gz").write_bytes((ct / "anna.nii.gz").read_bytes()), "twin"),
        (lambda ct, labels: (ct / "anna.nrrd").write_bytes(b"x"), "two CT files are both named 'anna'"),
        (lambda ct, labels: [path.unlink() for path in ct.iterdir()], "holds no CT"),
    ],
)
def test_folders_that_cannot_be_matched_are_refused(tmp_path, spoil, message):
    ct, labels = write_chests(tmp_path)
    spoil(ct, labels)
    with pytest.raises(DataError, match=message):
        cases(ct, labels)


def test_the_same_ct_twice_is_refused(tmp_path):
    ct, labels = write_chests(tmp_path)
    for folder in (ct, labels):
        (folder / "twin.nii.gz").write_bytes((folder / "anna.nii.gz").read_bytes())
    with pytest.raises(DataError, match="are the same CT; remove one"):
        cases(ct, labels)


def test_missing_or_equal_places_are_refused(chests, tmp_path):
    with pytest.raises(DataError, match="no CT at"):
        cases(tmp_path / "none", chests[1])
    with pytest.raises(DataError, match="no labels at"):
        cases(chests[0], tmp_path / "none")
    with pytest.raises(DataError, match="CT and labels are both"):
        cases(chests[0], chests[0])


HEADERS = {"x.mhd": b"ObjectType = Image\nElementDataFile = x.raw\n", "x.nhdr": b"NRRD0004\ndata file: x.raw\n"}


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_counts_with_its_data(tmp_path, name):
    (tmp_path / name).write_bytes(HEADERS[name])
    hashes = set()
    for data in (b"1", b"2"):
        (tmp_path / "x.raw").write_bytes(data)
        hashes.add(volume_sha256(tmp_path / name))
    assert len(hashes) == 2
