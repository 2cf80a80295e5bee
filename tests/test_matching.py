"""Which labels belong to which CT, and how each is known by its content."""

import pytest
from small_chests import SETTINGS, chest, write_chests

from nerp.data.source_files import volume_sha256
from nerp.errors import DataError, UsageError
from nerp.synthesis import synthesize
from nerp.synthesis.matching import cases, find_volumes, match
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


def tree(root, *places):
    """Empty files at places below a root, and the root."""
    for place in places:
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).write_bytes(b"")
    return root


def names(pairs, ct, labels) -> dict[str, str]:
    return {str(one.relative_to(ct)): str(other.relative_to(labels)) for one, other in pairs}


@pytest.mark.parametrize(
    ("cts", "labels", "expected"),
    [
        (["case_001_0000.nii.gz"], ["case_001.nii.gz"], {0: 0}),
        (["study_1.nii", "study_2.nii"], ["study_2_mask.nii", "study_1_mask.nii"], {0: 1, 1: 0}),
        (["a.nii", "b.nii"], ["a-seg.nii.gz", "mask_b.nrrd"], {0: 0, 1: 1}),
        (["a.nii", "b.nii"], ["a.seg.nrrd", "b_labels.mha"], {0: 0, 1: 1}),
        (["a/ct.nii", "b/ct.nii"], ["a/ct.nii", "b/ct.nii"], {0: 0, 1: 1}),
        (["a/ct.nii", "b/ct.nii"], ["a/seg.nii", "b/Segmentation.nii"], {0: 0, 1: 1}),
        (["a/ct.nii", "b/ct.nii"], ["a.nii", "b.nii"], {0: 0, 1: 1}),
        (["a.nii", "b.nii"], ["a/x.nii", "b/y.nii"], {0: 0, 1: 1}),
    ],
)
def test_known_suffixes_and_names_are_matched(tmp_path, cts, labels, expected):
    ct_root, label_root = tree(tmp_path / "ct", *cts), tree(tmp_path / "labels", *labels)
    found = names(match(ct_root, label_root), ct_root, label_root)
    assert found == {cts[one]: labels[other] for one, other in expected.items()}


def test_an_equal_name_goes_before_one_with_a_suffix(tmp_path):
    ct, labels = tree(tmp_path / "ct", "a.nii"), tree(tmp_path / "labels", "a.nii", "a_mask.nii")
    assert names(match(ct, labels), ct, labels) == {"a.nii": "a.nii"}


def test_labels_beside_their_cts_are_told_by_their_names(tmp_path):
    root = tree(tmp_path, "a/ct.nii.gz", "a/seg.nii.gz", "b/ct.nii.gz", "b/segmentations/heart.nii.gz")
    assert names(match(root, root), root, root) == {"a/ct.nii.gz": "a/seg.nii.gz", "b/ct.nii.gz": "b/segmentations"}
    flat = tree(tmp_path / "flat", "p.nii", "p_mask.nii")
    assert names(match(flat, flat), flat, flat) == {"p.nii": "p_mask.nii"}


def test_a_folder_of_structures_is_one_label_map(tmp_path):
    ct = tree(tmp_path / "ct", "p1.nii.gz", "p2.nii.gz")
    parts = ("lung_left.nii.gz", "lung_right.nii.gz", "heart.nii.gz", "statistics.json")
    places = [f"{folder}/{part}" for folder in ("p1/segmentations", "p2") for part in parts]
    labels = tree(tmp_path / "labels", *places)
    assert names(match(ct, labels), ct, labels) == {"p1.nii.gz": "p1/segmentations", "p2.nii.gz": "p2"}
    assert match(ct / "p1.nii.gz", labels / "p2") == [(ct / "p1.nii.gz", labels / "p2")]
    assert find_volumes(labels, "labels") == [labels / "p1/segmentations", labels / "p2"]


@pytest.mark.parametrize("pattern", ["{name}-x.nii", "{folder}/{name}-x.nii", "{folder}/*-x.nii"])
def test_a_pattern_says_where_labels_lie(tmp_path, pattern):
    root = tree(tmp_path, "a/ct[1].nii", "a/ct[1]-x.nii", "b/ct.nii", "b/ct-x.nii")
    expected = {"a/ct[1].nii": "a/ct[1]-x.nii", "b/ct.nii": "b/ct-x.nii"}
    assert names(match(root, root, pattern), root, root) == expected


@pytest.mark.parametrize("pattern", ["{case}.nii", "mask.nii", "../{name}.nii", "/{name}.nii", "{name.nii"])
def test_a_pattern_that_cannot_be_is_refused(tmp_path, pattern):
    root = tree(tmp_path, "a.nii")
    with pytest.raises(UsageError, match="labels pattern is"):
        match(root, root, pattern)


@pytest.mark.parametrize(
    ("cts", "labels", "pattern", "message"),
    [
        (["a.nii"], ["a_mask.nii", "a_seg.nii"], None, r"2 label maps fit it \(a_mask, a_seg\); keep one"),
        (["a.nii"], ["a-1.nii", "a-2.nii"], "{name}-*.nii", r"2 label maps fit it \(a-1, a-2\)"),
        (["a.nii", "a_0000.nii"], ["a.nii"], None, r"two CTs fit these labels \(a and a_0000\)"),
        (["a.nii", "b.nii"], ["a_mask.nii"], None, "1 CT has no labels of the same name in .*: b;"),
    ],
)
def test_what_fits_twice_or_not_at_all_is_refused(tmp_path, cts, labels, pattern, message):
    with pytest.raises(DataError, match=message):
        match(tree(tmp_path / "ct", *cts), tree(tmp_path / "labels", *labels), pattern)


def test_cts_without_labels_can_be_left_out(tmp_path):
    ct, labels = tree(tmp_path / "ct", "a.nii", "b.nii"), tree(tmp_path / "labels", "a_mask.nii")
    bare: list = []
    assert names(match(ct, labels, unlabelled=bare), ct, labels) == {"a.nii": "a_mask.nii"}
    assert bare == [ct / "b.nii"]
    with pytest.raises(DataError, match="no labels of the same name"):
        match(ct, tree(tmp_path / "none", "c.nii"), unlabelled=[])


def test_labels_within_the_cts_folder_are_no_cts(tmp_path, caplog):
    root = tree(tmp_path, "a.nii", "labels/a.nii")
    assert names(match(root, root / "labels"), root, root) == {"a.nii": "labels/a.nii"}
    other = tree(tmp_path / "other", "ct/a.nii", "ct/a_seg.nii", "labels/a.nii")
    assert names(match(other / "ct", other / "labels"), other, other) == {"ct/a.nii": "labels/a.nii"}
    assert "named as labels and no CTs, first a_seg.nii" in caplog.text
