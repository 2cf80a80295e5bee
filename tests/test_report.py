"""The static report: one self-contained page of a run or of pairs."""

import base64
import io
import json
import re

import numpy as np
import pytest
from pair_records import CAMERA, pair_record
from PIL import Image

from nerp.config import save_settings
from nerp.data.images import png_bytes
from nerp.data.pair_writer import PairWriter
from nerp.data.records import PairRecord
from nerp.errors import DataError
from nerp.report import figures, write_report
from nerp.report.parts import Outline
from nerp.report.pictures import MASK_COLOURS, overlay
from nerp.report.run_parts import read_metrics
from nerp.report.set_charts import camera_angles
from nerp.training.config import Config, load_config

SETTINGS = {
    "mode": "drr",
    "camera": {"view": "pa", "yaw_deg": [-5, 5]},
    "mask": {"labels": [10, 11], "rule": {"name": "thickness", "thickness_mm": 20.0}},
    "licence": "<as the CTs>",
}


def record(index: int) -> PairRecord:
    name = f"{'ab'[index % 2] * 12}_{index // 2:03d}"
    outside = None if index % 4 == 0 else 0.02
    made = {"view_index": index // 2, "threads": 1 + index % 2}
    return pair_record(name, mask_fraction=0.1 * (index % 4), mask_outside_fraction=outside, **made)


@pytest.fixture
def pairs(tmp_path):
    numbers = np.random.default_rng(0)
    mask = np.zeros((32, 24), np.uint8)
    mask[8:20, 6:18] = 255
    with PairWriter(tmp_path / "pairs", SETTINGS) as writer:
        for index in range(24):
            writer.add(record(index), png_bytes(numbers.integers(0, 256, (32, 24), dtype=np.uint8)), png_bytes(mask))
        names = {"mask": {"10": "lung_left"}, "obscuring": {}}
        writer.finish({"label_names": names, "licence": SETTINGS["licence"], "citation": "A & B, 2022"})
    return tmp_path / "pairs"


@pytest.fixture
def run(tmp_path):
    config = load_config(None, [f"run_dir={tmp_path / 'Jane_Doe'}", "trainer.steps=500"])
    folder = tmp_path / "run"
    save_settings(config, folder / "config.yaml")
    lines = [json.dumps({"step": step, "l1": 1 / step, "adversarial": 0.7}) for step in range(1, 101)]
    (folder / "metrics.jsonl").write_text("\n".join(lines) + '\n{"step": 10')
    (folder / "samples").mkdir()
    for step in range(0, 100, 10):
        (folder / "samples" / f"step-{step:08d}.png").write_bytes(png_bytes(np.full((40, 90), step, np.uint8)))
    return folder


def words(path) -> str:
    """The page without the marks where a long key may wrap."""
    return path.read_text().replace("<wbr>", "")


def pictures_in(text: str) -> list[np.ndarray]:
    """The images of a page, without the masks above them."""
    coded = re.findall(r'<img alt="[^"]+"[^>]* src="data:image/png;base64,([^"]+)"', text)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(each)))) for each in coded]


def assert_stands_alone(text: str):
    assert "Research use; not for diagnosis" in text
    assert not re.search(r'(src|href)="(?!data:|#)', text)
    assert "http" not in text.replace("http-equiv", "")
    assert "url(" not in text
    assert "None" not in re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)


def test_report_of_pairs_stands_alone_and_shows_what_there_is(pairs):
    text = words(write_report(pairs))
    assert_stands_alone(text)
    assert "24 labelled radiographs from 2 CTs" in text
    assert "20 pairs, evenly spread" in text
    assert len(pictures_in(text)) == 20
    assert text.count('class="mask"') == 20
    assert text.count('<svg role="img"') == 1
    assert "The same in every pair: labelled tissue cut off by the border 2 %." in text
    assert "source to detector 1800 mm" in text
    assert "thickness_mm" in text
    assert "1 (12 pairs), 2 (12 pairs)" in text
    assert "A &amp; B, 2022" in text
    assert "lung_left" in text
    assert "&lt;as the CTs&gt;" in text
    assert "not complete" not in text


def test_report_shows_scores_beside_the_pairs(pairs):
    scores = {
        "dice": {"mean": 0.91234, "ci95": [0.9, 0.92], "n": 138, "per_image": {"x": 0.9}},
        "extractor": {"name": "inception", "sha256": "ab"},
        "fid": {"value": 12.5},
        "n_fake": 200,
    }
    (pairs / "evaluation_lungs.json").write_text(json.dumps(scores))
    text = words(write_report(pairs))
    for expected in ("Scores: lungs", "0.9123", "0.9 to 0.92", "138", "12.5", "name inception", "n_fake"):
        assert expected in text
    (pairs / "evaluation_lungs.json").write_text("{")
    with pytest.raises(DataError, match="is no JSON"):
        write_report(pairs)


def test_report_says_when_pairs_are_not_complete(tmp_path):
    with PairWriter(tmp_path / "pairs", SETTINGS) as writer:
        writer.add(record(1), *[png_bytes(np.zeros((32, 24), np.uint8))] * 2)
    assert "1 labelled radiograph from 1 CT" in words(write_report(tmp_path / "pairs"))
    assert "not complete" in words(write_report(tmp_path / "pairs"))


def test_report_of_a_run_shows_curves_samples_and_changed_settings(run):
    text = words(write_report(run))
    assert_stands_alone(text)
    assert "100 of 500 steps" in text
    assert len(pictures_in(text)) == 1 + 6
    assert text.count('<svg role="img"') == 1
    assert "Constant: adversarial 0.7." in text
    assert "step 90: learned radiographs" in text
    assert "phantom radiographs in place of real ones" in text
    assert "trainer.steps" in text
    assert "Jane_Doe" not in text


def test_report_of_a_run_that_has_only_begun(tmp_path):
    save_settings(Config(), tmp_path / "config.yaml")
    text = words(write_report(tmp_path))
    assert "0 of 100000 steps" in text
    assert not pictures_in(text)


def test_report_of_damaged_pairs_says_what_is_lacking(pairs):
    dataset = json.loads((pairs / "dataset.json").read_text())
    del dataset["settings"]["camera"]["view"]
    (pairs / "dataset.json").write_text(json.dumps(dataset))
    with pytest.raises(DataError, match="lacks camera.view, mask.rule in its settings; synthesize"):
        write_report(pairs)
    lines = (pairs / "metadata.jsonl").read_text().splitlines()
    (pairs / "metadata.jsonl").write_text(lines[0].replace("mask_fraction", "mask_part") + "\n")
    with pytest.raises(DataError, match="line 1 of .* lacks mask_fraction"):
        write_report(pairs)
    assert not (pairs / "report.html").exists()


def test_report_shows_the_scores_of_an_evaluation(run):
    (run / "scores.json").write_text('{"dice": {"mean": 0.8125, "ci95": [0.75, 0.875], "n": 7}}')
    assert "0.8125" in words(write_report(run))


def test_report_of_another_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match="is no run and no folder of pairs"):
        write_report(tmp_path)
    assert not list(tmp_path.iterdir())


def test_metrics_take_the_last_word_on_a_step_and_name_damage(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 2, "l1": 1}\n{"step": 1, "l1": 3}\n{"step": 2, "l1": 2}\n{"st')
    assert read_metrics(path) == [{"step": 1, "l1": 3}, {"step": 2, "l1": 2}]
    path.write_text('{"step": 1}\nnothing\n')
    with pytest.raises(DataError, match="line 2 of"):
        read_metrics(path)


def test_a_masks_layer_is_its_inner_edge_over_a_faint_inside():
    mask = np.zeros((6, 6), bool)
    mask[1:5, 1:5] = True
    layer = overlay([Outline(mask)])
    edge = layer[..., 3] == 255
    assert edge.sum() == 12
    assert not edge[2:4, 2:4].any()
    assert (layer[edge][:, :3] == MASK_COLOURS[0]).all()
    assert (layer[2:4, 2:4, 3] > 0).all() and (layer[2:4, 2:4, 3] < 64).all()
    assert not layer[~mask].any()


def test_smoothing_is_a_mean_that_leaves_gaps_out():
    assert figures.smoothed(np.array([0.0, 3.0, 6.0])).tolist() == [1.5, 3.0, 4.5]
    assert figures.smoothed(np.array([1.0, np.nan, 3.0])).tolist() == [1.0, 2.0, 3.0]


def turned(axis: int, degrees: float) -> dict:
    """The PA camera turned right-handed about a world axis."""
    angle, others = np.radians(degrees), [i for i in range(3) if i != axis]
    rotation = np.eye(3)
    rotation[np.ix_(others, others)] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    if axis == 1:
        rotation = rotation.T
    vectors = ("source", "detector_centre", "image_right", "image_down")
    return {**CAMERA, **{name: [(rotation @ CAMERA[name][0]).tolist()] for name in vectors}}


@pytest.mark.parametrize(("axis", "name"), [(2, "azimuth, degrees"), (0, "elevation, degrees"), (1, "roll, degrees")])
@pytest.mark.parametrize("degrees", [-7.0, 0.0, 3.0])
def test_angles_are_read_back_from_a_camera(axis, name, degrees):
    told = camera_angles(pair_record("a0", camera=turned(axis, degrees)).make_camera())
    expected = {"azimuth, degrees": 0.0, "elevation, degrees": 0.0, "roll, degrees": 0.0, name: degrees}
    for key, value in expected.items():
        assert told[key] == pytest.approx(value, abs=1e-9), key
    assert told["source to detector, mm"] == pytest.approx(1800)
    assert told["detector width, mm"] == pytest.approx(240)


def test_report_of_a_segmenters_run_shows_scores_and_no_path(tmp_path):
    from nerp.experiments.settings import SegmentationConfig
    from nerp.training.unlabelled_settings import UnlabelledSettings

    run = tmp_path / "run"
    films = UnlabelledSettings(folders=("/home/Jane_Doe/unlabelled",))
    folders = {"train": "/home/Jane_Doe/pairs", "test": "/home/Jane_Doe/films", "patients": "/home/Jane_Doe/people.csv"}
    given = SegmentationConfig(**folders, unlabelled=films)
    save_settings(given, run / "config.yaml")
    (run / "metrics.jsonl").write_text('{"step": 10, "loss": 0.5}\n{"step": 20, "loss": 0.4}\n')
    (run / "scores.json").write_text(json.dumps({"dice": {"mean": 0.9, "ci95": [0.8, 0.95], "n": 3}}))
    text = words(write_report(run))
    assert_stands_alone(text)
    for expected in (
        "Training of a segmenter, 20 steps",
        "0.8 to 0.95",
        "segmenter.learning_rate",
        "unlabelled.views",
        "128 × 128",
    ):
        assert expected in text
    assert "Jane" not in text and "people.csv" in text
