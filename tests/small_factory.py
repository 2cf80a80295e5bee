"""A small source of CTs called as CT-RATE's, and sets made of it in every layout, for the tests of layouts."""

from pathlib import Path

from small_chests import write_chests

from nerp.factory import load_plan
from nerp.factory.gathering import gather
from nerp.factory.planning import hold_plan, make_plan
from nerp.factory.settings import LAYOUTS
from nerp.factory.shard import ShardMaker

NAMES = ("train_1_a_1", "train_1_b_1", "train_2_a_1", "train_3_a_2")
"""Three patients; the first came twice."""
TABLES = {
    "labels": "VolumeName,Cardiomegaly,Lung nodule\n"
    "{0}.nii.gz,1,0\n{1}.nii.gz,0,0\n{3}.nii.gz,0,1\ntrain_9_a_1.nii.gz,1,1\n",
    "metadata": 'VolumeName,XYSpacing,PatientSex\n{0}.nii.gz,"[0.7, 0.7]",F\n{1}.nii.gz,"[0.7, 0.7]",F\n',
    "reports": 'VolumeName,Findings_EN\n{0}.nii.gz,"Heart large, lungs clear.\nNo effusion."\n',
}
MASKS = {
    "labels": {"lungs": "lung_*", "lung_left": "lung_left", "heart": "heart", "odd": "lung_left,heart"},
    "label_names": {10: "lung_left", 11: "lung_right", 51: "heart"},
    "rule": "any",
}
IMAGES = {"ap": {"camera": {"view": "ap"}}, "deep": {"bits": 16, "views": 2}}


def write_source(root: Path) -> Path:
    """CTs, labels, patients and tables below a folder."""
    write_chests(root, NAMES)
    rows = [f"{name}.nii.gz,{name.rsplit('_', 2)[0]}" for name in NAMES]
    (root / "patients.csv").write_text("\n".join(["file,patient_id", *rows]) + "\n")
    for kind, text in TABLES.items():
        (root / f"{kind}.csv").write_text(text.format(*NAMES))
    return root


def layout_plan(root: Path, *layouts: str, source: dict | None = None, **more):
    """A plan of that source; `source` changes what it says of it."""
    mine = {"ct": str(root / "ct"), "labels": str(root / "labels"), "patients": str(root / "patients.csv")}
    tables = {kind: str(root / f"{kind}.csv") for kind in TABLES}
    stated = {
        "sources": {"mine": {**mine, "names": "kept", "tables": tables, **(source or {})}},
        "images": IMAGES,
        "common": {"shape": [40, 32], "mask": MASKS},
        "split": {"parts": {"train": 0.6, "valid": 0.4}},
        "layouts": list(layouts or LAYOUTS),
        "shard": 2,
        "device": "cpu",
        **more,
    }
    return load_plan(None, options=stated)


def make_shards(config, out: Path, *, backwards: bool = False):
    """All shards of a set, not gathered; its plan."""
    plan = make_plan(config)
    out.mkdir(parents=True)
    hold_plan(plan, out)
    numbers = range(len(plan.shards))
    for number in reversed(numbers) if backwards else numbers:
        ShardMaker(plan, out).make(number)
    return plan


def make_set(config, out: Path, *, backwards: bool = False):
    """A set, by this process alone; what it tells of itself."""
    return gather(make_shards(config, out, backwards=backwards), out)


def bytes_of(folder: Path) -> dict[str, bytes]:
    """Every file's content by its place."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
