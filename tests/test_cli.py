"""The command line: help with examples, one line for every mistake, JSON for machines."""

import json
import subprocess
import sys
import time

import pytest
from small_chests import write_chests

from nerp.cli import image_shape, main, rule_numbers
from nerp.errors import UsageError

COMMANDS = [
    *(["phantom"], ["render"], ["train"], ["synthesize"], ["replay"], ["data"], ["report"], ["info"]),
    *(["evaluate", "segmentation"], ["evaluate", "fidelity"]),
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


MISTAKES = {
    "no such command": (["rendr"], 2, "No such command"),
    "no such option": (["render", "ct.nii", "-o", "out", "--veiw", "pa"], 2, "--view"),
    "missing option": (["render", "ct.nii"], 2, "--out"),
    "no such view": (["render", "ct.nii", "-o", "out", "--view", "side"], 2, "side"),
    "no such file": (["render", "none.nii.gz", "-o", "out"], 1, "none.nii.gz"),
    "shape in words": (["render", "ct.nii", "-o", "out", "--shape", "big"], 2, "--shape is 'big'"),
    "mask in words": (["render", "ct.nii", "-o", "out", "--mask", "lungs"], 2, "mask 'lungs' is no label"),
    "no such rule": (["render", "ct.nii", "-o", "out", "--rule", "seen"], 2, "unknown mask rule 'seen'"),
    "rule's number in words": (
        ["render", "c.nii", "-o", "out", "--rule", "thickness", "--rule-number", "thickness_mm=x"],
        2,
        "expected name=number",
    ),
    "vrr without a run": (["render", "ct.nii", "-o", "out", "--mode", "vrr"], 2, "needs a trained run"),
    "physics": (["render", "ct.nii", "-o", "out", "--mode", "physics"], 2, "not yet available"),
    "no such run": (["synthesize", "run", "--ct", "a", "--labels", "b", "--mask", "1", "-o", "out"], 1, "run"),
    "typo in a key": (["train", "demo", "trainer.setps=3"], 2, "did you mean 'trainer.steps'"),
    "no such preset": (["train", "dmeo"], 2, "dmeo"),
    "no metadata": (["replay", "none.jsonl", "--ct", "a", "-o", "out"], 1, "none.jsonl"),
    "no pairs": (["evaluate", "segmentation", "--train", "none", "--test", "none"], 1, "none"),
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


def test_pairs_are_made_and_replayed_by_commands(nerp, tmp_path):
    ct, labels = write_chests(tmp_path, ["anna"])
    common = ["--ct", ct, "--labels", labels]
    code, out, err = nerp(
        *("synthesize", *common, "--mask", "10,11", "--rule", "thickness", "--rule-number", "thickness_mm=15"),
        *("--views", 2, "--shape", "24x20", "-o", tmp_path / "pairs", "--json"),
    )
    assert code == 0, err
    summary = json.loads(out)
    assert summary["settings"]["rule"] == {"name": "thickness", "thickness_mm": 15.0}
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
    assert rule_numbers(["lung_mm=20", "hidden_mm=1.5"]) == {"lung_mm": 20.0, "hidden_mm": 1.5}


@pytest.mark.slow
def test_help_within_a_second():
    times = []
    for _ in range(3):
        started = time.monotonic()
        subprocess.run([sys.executable, "-m", "nerp", "--help"], capture_output=True, check=True)
        times.append(time.monotonic() - started)
    assert min(times) < 1.0
