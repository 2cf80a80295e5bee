"""Names of structures, by whatever program, and the superclasses that masks may be made of."""

import csv
import re
from importlib.resources import files as package_files

import pytest

from nerp.cli import main
from nerp.errors import UsageError
from nerp.label_names import is_lung, select_labels, superclass_labels, superclasses, superclasses_of
from nerp.label_names.superclasses import members
from nerp.phantom import LABEL_OF, LABELS

TOTALSEGMENTATOR_V1 = """\
spleen kidney_right kidney_left gallbladder liver stomach aorta inferior_vena_cava portal_vein_and_splenic_vein pancreas
adrenal_gland_right adrenal_gland_left lung_upper_lobe_left lung_lower_lobe_left lung_upper_lobe_right
lung_middle_lobe_right lung_lower_lobe_right vertebrae_L5 vertebrae_T12 vertebrae_C1 esophagus trachea heart_myocardium
heart_atrium_left heart_ventricle_left heart_atrium_right heart_ventricle_right pulmonary_artery small_bowel duodenum
colon rib_left_1 rib_left_12 rib_right_1 humerus_left scapula_left scapula_right clavicula_left clavicula_right sacrum
"""
RADGENOME = {
    "left lung lower lobe": {"lungs", "lung_left"},
    "lung upper lobe": {"lungs"},
    "right rib 10": {"ribs", "ribs_right", "bones"},
    "rib 3": {"ribs", "bones"},
    "thoracic vertebrae 12 (t12)": {"spine", "bones"},
    "lumbar vertebrae 1 (l1)": {"spine", "bones"},
    "left heart ventricle": {"heart", "mediastinum"},
    "superior vena cava": {"vena_cava", "vessels", "mediastinum"},
    "left clavicle": {"clavicles", "clavicle_left", "bones"},
    "lung nodule": {"nodules", "findings"},
    "lung effusion": {"effusions", "findings"},
    "left lobe of liver": {"liver", "abdomen"},
    "manubrium of sternum": {"sternum", "bones"},
}


@pytest.mark.parametrize("name", TOTALSEGMENTATOR_V1.split())
def test_names_of_the_first_totalsegmentator_have_a_superclass(name):
    assert superclasses_of(name)


@pytest.mark.parametrize(("name", "expected"), RADGENOME.items())
def test_names_in_words(name, expected):
    assert set(superclasses_of(name)) == expected


@pytest.mark.parametrize("name", ["rib_left_4", "Left Rib 4", "RibLeft4", "rib-left-4", "LEFT_RIB_4"])
def test_spelling_does_not_matter(name):
    assert "ribs_left" in superclasses_of(name) and "ribs_right" not in superclasses_of(name)


@pytest.mark.parametrize("name", ["vertebrae_L1", "hip_left", "lung_left_border", "gluteus_maximus_left", "", "7"])
def test_other_names_are_of_no_side(name):
    assert not {one for one in superclasses_of(name) if one.endswith("_left")}


def test_lungs_are_what_is_lung():
    for words in members():
        name = " ".join(sorted(words))
        assert is_lung(name) == ("lungs" in superclasses_of(name)), name


def test_sides_are_parts_of_the_whole():
    wholes = {"lung": "lungs", "ribs": "ribs", "clavicle": "clavicles", "scapula": "scapulae"}
    for names in members().values():
        for side in (one for one in names if one.endswith(("_left", "_right"))):
            assert wholes[side.rpartition("_")[0]] in names


def test_phantom_is_grouped_whole():
    of = {name: set(superclasses_of(name)) for name in LABELS.values()}
    assert {name for name, found in of.items() if not found} == {"skin", "fat", "muscle"}
    assert len(superclass_labels(LABELS, "ribs")) == 24 and len(superclass_labels(LABELS, "ribs_left")) == 12
    assert superclass_labels(LABELS, "findings") == (81, 82, 83, 84)


def test_every_row_states_its_source():
    text = (package_files("nerp.label_names") / "superclasses.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    assert all(row["source"] and row["superclasses"] and row["words"] for row in rows)
    assert all(re.fullmatch(r"[a-z]+(\|[a-z]+)*( [a-z]+(\|[a-z]+)*)*", row["words"]) for row in rows)


def test_masks_of_superclasses():
    assert select_labels("group:heart", LABELS) == (LABEL_OF["heart"],)
    assert select_labels("group:lungs, 3", LABELS) == (3, *superclass_labels(LABELS, "lungs"))
    assert select_labels("Group:Ribs Left", LABELS) == superclass_labels(LABELS, "ribs_left")


def test_what_is_no_superclass_is_told():
    with pytest.raises(UsageError, match=r"'group:rib_left' is no superclass; expected group: before one of ribs_left"):
        select_labels("group:rib_left", LABELS)
    with pytest.raises(UsageError, match=r"is no superclass; .*abdomen, .*vessels"):
        select_labels("group:qqqq", LABELS)


@pytest.mark.parametrize("name", superclasses())
def test_superclass_without_members_is_one_clear_line(name):
    with pytest.raises(UsageError, match=f"'group:{name}': none of its members is among the labels; expected such as"):
        select_labels(f"group:{name}", {5: "brain"})


def test_command_takes_a_superclass(tmp_path, capsys):
    from small_chests import write_chests

    ct, labels = write_chests(tmp_path, ("anna",))
    (tmp_path / "names.csv").write_text("value,name\n10,left lung\n11,right lung\n51,heart\n")
    command = ["render", str(ct / "anna.nii.gz"), "--labels", str(labels / "anna.nii.gz"), "shape=[24,20]"]
    command += ["--label-names", str(tmp_path / "names.csv"), "-o", str(tmp_path / "out")]
    assert main([*command, "--mask", "left=group:lung_left", "--mask", "heart=group:heart"]) == 0
    assert (tmp_path / "out" / "mask_left.png").is_file() and (tmp_path / "out" / "mask_heart.png").is_file()
    assert main([*command, "--mask", "group:spine"]) == 2
    assert "group:spine" in capsys.readouterr().err
