"""A study of seconds: two chests, eight outlined ellipses, four films, and its settings."""

from ellipses import write_pairs
from small_chests import write_chests

from nerp.config import read_settings
from nerp.experiments.study.settings import StudyConfig

SETS = {"drr": {"mode": "drr"}, "made": {"ct": "phantoms", "mode": "drr", "views": 1}}
ROWS = {
    "mean-mask": {"arm": "mean-mask"},
    "drr": {"sets": ["drr"]},
    "both": {"sets": ["drr", "made"], "seeds": 1},
    "some-real": {"arm": "real", "fraction": 0.5, "seeds": 1},
    "self-trained": {"arm": "self-trained", "sets": ["drr"], "seeds": 1},
}


def write_study(root):
    """The CTs and their list, real images and their split, films without masks."""
    write_chests(root)
    rows = [f'{name},ct/{name}.nii.gz,labels/{name}.nii.gz,"10,11"' for name in ("anna", "bert")]
    (root / "cts.csv").write_text("\n".join(["name,ct,labels,lungs", *rows]) + "\n")
    write_pairs(root / "real", 8)
    names = sorted(path.name for path in (root / "real" / "images").iterdir())
    parts = ["train"] * 4 + ["dev"] * 2 + ["test"] * 2
    (root / "split.csv").write_text("file,part\n" + "".join(f"{n},{p}\n" for n, p in zip(names, parts, strict=True)))
    write_pairs(root / "films", 4, seed=5)
    return root


def study_of(root, out, **more):
    stated = {
        "volumes": str(root / "cts.csv"),
        "real": str(root / "real"),
        "split": str(root / "split.csv"),
        "radiographs": [str(root / "films" / "images")],
        "out": str(out),
        "phantoms": 2,
        "phantom_mm": 10.0,
        "segmenter.side": 32,
        "segmenter.steps": 4,
        "segmenter.batch_size": 2,
        "segmenter.encoder": "tu-resnet10t",
        "unlabelled.steps": 1,
        "unlabelled.agreement": 0.0,
        "unlabelled.area": [0.0, 1.0],
        "unlabelled.balance": 0.0,
        "common": {"shape": [32, 32], "views": 2, "mask.rule": "any"},
        "sets": SETS,
        "rows": ROWS,
        "contrasts": [["both", "drr"], ["drr", "mean-mask"]],
        "device": "cpu",
    }
    return read_settings(StudyConfig, options={**stated, **more})
