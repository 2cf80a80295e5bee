"""The command line: help with examples, one line for every mistake, JSON for machines."""

import json
import runpy
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ellipses import write_pairs
from small_chests import HEART, chest, contents, write_chests

from nerp.cli import guarded, main
from nerp.cli.options import image_shape, rule_numbers
from nerp.errors import DataError, UsageError
from nerp.volume import write_volume

COMMANDS = [
    *(["phantom"], ["render"], ["train"], ["synthesize"], ["replay"], ["data"], ["report"], ["info"]),
    *(["evaluate", "segmentation"], ["evaluate", "arms"], ["evaluate", "fidelity"]),
]


@pytest.fixture
def nerp(monkeypatch, capsys):
    """Runs the command line in this process: exit code, stdout, stderr."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["nerp", *map(str, arguments)])
        try:
            code = main()
        except SystemExit as stop:
            code = stop.code
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_an_example(nerp, command):
    code, out, _ = nerp(*command, "--help")
    assert code == 0
    assert f"Example: nerp {command[0]}" in " ".join(out.split())


def test_help_loads_nothing_heavy():
    program = """
import sys
from nerp.cli import main
sys.argv = ["nerp", "--help"]
assert main() == 0
heavy = {"torch", "numpy", "monai", "matplotlib", "nibabel", "omegaconf", "SimpleITK", "pydicom"}
sys.exit(f"loaded {heavy & set(sys.modules)}" if heavy & set(sys.modules) else 0)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "CT in, labelled chest radiographs out" in " ".join(done.stdout.split())


CHEST = ["--ct", "a", "--labels", "b"]
FILE = Path(__file__)

MISTAKES = {
    "a mask and no labels": (["render", "c.nii", "-o", "out", "--mask", "3"], 2, "no labels to take it from"),
    "two masks without names": (
        ["synthesize", *CHEST, "--mask", "10", "--mask", "11", "-o", "out"],
        2,
        "--mask is 10, 11; expected each mask once, as NAME=LABELS",
    ),
    "a mask of no name": (["synthesize", *CHEST, "--mask", "a/b=10", "-o", "out"], 2, "a mask is called 'a/b'"),
    "a spacing of two numbers": (
        ["render", "ct.nii", "-o", "out", "--spacing", "1,2"],
        2,
        "--spacing is '1,2'; expected three sizes in mm",
    ),
    "a mask beyond all labels": (["synthesize", *CHEST, "--mask", f"{2**24}", "-o", "out"], 2, "from 1 to 16777215"),
    "shape of no digit": (["render", "ct.nii", "-o", "out", "--shape", "²"], 2, "--shape is '²'"),
    "shape beyond all films": (
        ["render", "ct.nii", "-o", "out", "--shape", "99999"],
        2,
        "shape is 99999; expected a number from 1 to 4096",
    ),
    "angle of no number": (
        ["render", "c.nii", "-o", "o", "--view", "oblique", "--angle-deg", "nan"],
        2,
        "camera.angle_deg is nan; expected a number from -90 to 90",
    ),
    "render into a file": (["render", "ct.nii", "-o", FILE / "out"], 1, "test_cli.py is a file; expected a folder"),
    "pairs into a file": (["synthesize", *CHEST, "--mask", "1", "-o", FILE], 1, "test_cli.py is a file; expected a"),
    "replay into a file": (
        ["replay", "a.jsonl", "--ct", "a", "-o", FILE],
        1,
        "test_cli.py is a file; expected a folder",
    ),
    "save into a folder": (
        ["evaluate", "segmentation", "--train", "a", "--test", "b", "--save", FILE.parent],
        1,
        "expected the name of a file to write",
    ),
    "fidelity saved into a folder": (["evaluate", "fidelity", "a", "b", "--save", FILE.parent], 1, "name of a file"),
    "seed below zero": (["evaluate", "fidelity", "a", "b", "--seed", "-1"], 2, "--seed"),
    "tests that are learned": (["evaluate", "segmentation", "--train", "a", "--test", "a"], 2, "to train on and to"),
    "no such command": (["rendr"], 2, "No such command"),
    "no such option": (["render", "ct.nii", "-o", "out", "--veiw", "pa"], 2, "--view"),
    "missing option": (["render", "ct.nii"], 2, "out is not given; give --out"),
    "no such view": (["render", "ct.nii", "-o", "out", "--view", "side"], 2, "side"),
    "no such file": (["render", "none.nii.gz", "-o", "out"], 1, "none.nii.gz"),
    "shape in words": (["render", "ct.nii", "-o", "out", "--shape", "big"], 2, "--shape is 'big'"),
    "no such rule": (["render", "ct.nii", "-o", "out", "--rule", "seen"], 2, "unknown mask rule 'seen'"),
    "rule's number in words": (
        ["render", "c.nii", "-o", "out", "--rule", "thickness", "--rule-number", "thickness_mm=x"],
        2,
        "expected name=number",
    ),
    "vrr without a run": (["render", "ct.nii", "-o", "out", "--mode", "vrr"], 2, "needs a trained run"),
    "no such run": (["synthesize", "run", "--ct", "a", "--labels", "b", "--mask", "1", "-o", "out"], 1, "run"),
    "typo in a key": (["train", "demo", "trainer.setps=3"], 2, "did you mean 'trainer.steps'"),
    "no such preset": (["train", "dmeo"], 2, "dmeo"),
    "no metadata": (["replay", "none.jsonl", "--ct", "a", "-o", "out"], 1, "none.jsonl"),
    "no pairs": (["evaluate", "segmentation", "--train", "none", "--test", "other"], 1, "other"),
    "no images": (["evaluate", "fidelity", "none", "none", "--extractor", "efficientnet-lite0"], 1, "none"),
    "no such extractor": (["evaluate", "fidelity", "a", "b", "--extractor", "vgg"], 2, "vgg"),
    "nothing to report": (["report", "none"], 1, "none"),
    "a phantom of nothing": (["phantom", "out", "--count", "0"], 2, "--count"),
    "no such finding": (["phantom", "out", "--findings", "cough"], 2, "cough"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_get_one_line_and_leave_nothing(nerp, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments, code, message = MISTAKES[name]
    found, out, err = nerp(*arguments)
    assert found == code, err
    assert message in err
    assert err.startswith("nerp: ")
    assert err.count("\n") == 1
    assert out == ""
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (DataError("no such\nthing"), 1, "nerp: no such thing"),
        (PermissionError(13, "Permission denied", "/a/b"), 1, "/a/b: Permission denied; check the path"),
        (OSError(28, "No space left on device", "/a/b"), 1, "No space left on device"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), 1, "not enough memory; give a smaller"),
        (KeyboardInterrupt(), 130, "interrupted; run the same command again"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_whatever_happens_is_told_in_one_line(capsys, error, code, words):
    def command():
        raise error

    assert guarded(command) == code
    err = capsys.readouterr().err
    assert words in err
    assert err.count("\n") == 1


def test_a_mistake_of_ours_is_not_hidden():
    def command():
        raise RuntimeError("ours")

    with pytest.raises(RuntimeError, match="ours"):
        guarded(command)


@pytest.mark.parametrize("script", ["fidelity", "segmentation"])
def test_scripts_are_the_commands_with_json(monkeypatch, script):
    called = []
    monkeypatch.setattr("nerp.cli.main", lambda arguments: called.append(arguments))
    monkeypatch.setattr(sys, "argv", [f"{script}.py", "--seed", "3"])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(FILE.parents[1] / "eval" / f"{script}.py"), run_name="__main__")
    assert not stop.value.code
    assert called == [["evaluate", script, "--json", "--seed", "3"]]


def test_the_segmenters_script_keeps_weights_and_tells_mistakes(monkeypatch, tmp_path, capsys):
    write_pairs(tmp_path / "pairs", 2)

    def script(*arguments):
        monkeypatch.setattr(sys, "argv", ["segmenter.py", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            runpy.run_path(str(FILE.parents[1] / "train" / "segmenter.py"), run_name="__main__")
        return stop.value.code

    out = tmp_path / "deep" / "segmenter.safetensors"
    assert script(tmp_path / "pairs", "-o", out, "--epochs", 1, "--side", 32) == 0
    assert out.is_file()
    assert json.loads(capsys.readouterr().out)["steps"] == 1
    (tmp_path / "a.safetensors").mkdir()
    assert script(tmp_path / "pairs", "-o", tmp_path / "a.safetensors") == 1
    assert "is a folder; expected the name of a file" in capsys.readouterr().err


def test_pairs_of_awkward_names_survive_other_settings(nerp, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_chests(Path("my data"), ["anna smith"])
    common = ["--ct", "my data/ct", "--labels", "my data/labels", "--views", 1, "--shape", "24x20", "-o", "my pairs"]
    assert nerp("synthesize", *common, "--mask", "10", "--rule", "any")[0] == 0
    before = contents(Path("my pairs"))
    code, _, err = nerp("synthesize", *common, "--mask", "10,11", "--rule", "any")
    assert code == 1
    assert "mask.labels is [10] there, [10, 11] here" in err
    assert contents(Path("my pairs")) == before
    code, out, err = nerp("report", "my pairs")
    assert code == 0, err
    assert "anna" not in (Path("my pairs") / "report.html").read_text()


def test_a_ct_without_the_mask_is_named_and_may_be_allowed(nerp, tmp_path):
    ct, labels = write_chests(tmp_path, ["anna", "bert"])
    _, bare = chest(50.0)
    bare.values[bare.values == HEART] = 0
    write_volume(labels / "bert.nii.gz", bare)
    common = ["--ct", ct, "--labels", labels, "--mask", HEART, "--rule", "any", "--views", 1, "--shape", "24"]
    code, _, err = nerp("synthesize", *common, "-o", tmp_path / "pairs")
    assert code == 1
    assert "bert.nii.gz: the labels hold 10, 11 and none of the mask's 51" in err
    assert "--allow-empty" in err
    code, out, err = nerp("synthesize", *common, "--allow-empty", "-o", tmp_path / "pairs", "--json")
    assert code == 0, err
    assert json.loads(out)["counts"] == {"pairs": 2, "cts": 2}
    assert json.loads(out)["quality"]["empty_masks"] == 1


def test_pairs_are_made_and_replayed_by_commands(nerp, tmp_path):
    ct, labels = write_chests(tmp_path, ["anna"])
    common = ["--ct", ct, "--labels", labels]
    code, out, err = nerp(
        *("synthesize", *common, "--mask", "10,11", "--rule", "thickness", "--rule-number", "thickness_mm=15"),
        *("--views", 2, "--shape", "24x20", "-o", tmp_path / "pairs", "--json"),
    )
    assert code == 0, err
    summary = json.loads(out)
    assert summary["settings"]["mask"]["rule"] == {"name": "thickness", "thickness_mm": 15.0}
    record = json.loads((tmp_path / "pairs" / "metadata.jsonl").read_text().splitlines()[1])
    assert next(iter(record)) == "file_name"
    code, out, err = nerp(
        "replay", tmp_path / "pairs" / "metadata.jsonl", "--index", 1, *common, "-o", tmp_path / "again"
    )
    assert code == 0, err
    assert "identical" in out
    for made, again in ((record["file_name"], "image.png"), (record["mask_file_name"], "mask.png")):
        assert (tmp_path / "pairs" / made).read_bytes() == (tmp_path / "again" / again).read_bytes()


def test_label_names_choose_the_mask(nerp, tmp_path):
    ct, labels = write_chests(tmp_path, ["anna"])
    (tmp_path / "names.csv").write_text("id,structure\n10,lung_right\n11,lung_left\n12,heart\n")
    common = ["--labels", labels / "anna.nii.gz", "--label-names", tmp_path / "names.csv", "--shape", "24"]
    code, out, err = nerp("render", ct / "anna.nii.gz", *common, "--mask", "lung_*", "-o", tmp_path / "pa", "--json")
    assert code == 0, err
    assert json.loads(out)["mask_labels"] == [10, 11]


def test_data_lists_every_set(nerp, tmp_path):
    code, out, _ = nerp("data", tmp_path, "--json")
    assert code == 0
    assert {row["state"] for row in json.loads(out)["sets"]} == {"missing"}
    code, out, _ = nerp("data", tmp_path)
    assert code == 0
    for name in ("NSCLC", "MosMed", "Shenzhen", "Montgomery", "JSRT", "CT-RATE", "LIDC"):
        assert name in out


def test_info_tells_which_backends_are_live(nerp):
    code, out, _ = nerp("info", "--json")
    assert code == 0
    assert json.loads(out)["backends"]["reference"] == "live"


@pytest.mark.parametrize(("text", "shape"), [("256", (256, 256)), ("256x320", (256, 320)), ("8X9", (8, 9))])
def test_image_shape(text, shape):
    assert image_shape(text) == shape


@pytest.mark.parametrize("text", ["", "0", "-3", "1x2x3", "axb"])
def test_image_shape_refuses(text):
    with pytest.raises(UsageError, match="expected rows"):
        image_shape(text)


def test_rule_numbers():
    assert rule_numbers(["lung_mm=20", "obscured_mm=1.5"]) == {"lung_mm": 20.0, "obscured_mm": 1.5}


@pytest.mark.slow
def test_help_within_a_second():
    times = []
    for _ in range(3):
        started = time.monotonic()
        subprocess.run([sys.executable, "-m", "nerp", "--help"], capture_output=True, check=True)
        times.append(time.monotonic() - started)
    assert min(times) < 1.0


def test_training_takes_chest_where_no_preset_is_named(nerp):
    for words in ([], ["chest"], ["trainer.steps=7"]):
        code, out, _ = nerp("train", *words, "--dry-run")
        assert code == 0 and "run_dir: runs/chest" in out and "patches: 4" in out
        assert ("steps: 7\n" in out) == (words == ["trainer.steps=7"])
