"""Several arms on a page: tables, charts and differences in words, whatever is scored; and what their runs left."""

import json

import numpy as np
import pytest
from ellipses import write_pairs
from pages import check_page
from PIL import Image
from test_report import words
from test_report_results import saved, score

from nerp.report import ReportConfig, figures, write_report
from nerp.report.arm_scores import arm_parts, key_name, verdict
from nerp.report.parts import Charts, Folded, Section, Table
from nerp.report.results import SavedScore
from nerp.report.score_tables import score_table


def metrics(shift=0.0):
    return {
        "dice": score(0.8 + shift, 0.7 + shift, 0.9 + shift, per_seed=[0.79 + shift, 0.81 + shift]),
        "hd95": score(9.0 - 10 * shift, 8.0, 10.0, per_seed=[9.0, 9.0]),
    }


DIFFERENCES = {
    "mixed minus real": {"dice": score(0.05, 0.01, 0.09), "hd95": score(-0.5, -0.9, -0.1)},
    "fine-tune minus real": {"dice": score(-0.05, -0.09, -0.01), "hd95": score(0.5, -0.5, 1.5)},
}
ARMS = {
    "kind": "arms",
    "arms": {"real": metrics(), "mixed": metrics(0.05), "fine-tune": metrics(-0.05)},
    "differences": DIFFERENCES,
    "distance_unit": "mm",
    "pairs": {"real": 8, "synthetic": 6},
    "structures": {
        name: {"arms": {"real": metrics(), "mixed": metrics(0.05)}, "differences": {}} for name in ("lungs", "heart")
    },
    "warnings": ["one seed: the intervals say nothing of the chance in training"],
}


def finding(value, n_positive=12):
    return score(value, value - 0.1, value + 0.1, n=90, n_positive=n_positive)


def classified(nested):
    """The same findings, each as a score or as an object with its AUROC."""
    arms = {
        arm: {"effusion": finding(value), "large_heart": finding(value - 0.1), "mean": score(value - 0.05, 0.6, 0.9)}
        for arm, value in (("real", 0.8), ("mixed", 0.9))
    }
    if nested:
        arms = {arm: {"findings": {k: {"auroc": v} for k, v in its.items()}} for arm, its in arms.items()}
    return {
        "kind": "classification",
        "arms": arms,
        "differences": {"mixed minus real": {"mean": score(0.1, 0.02, 0.2)}},
    }


def test_arms_stand_side_by_side_with_units_and_readings():
    _, charts, table, seeds, apart, lungs, heart = arm_parts(saved(ARMS))
    assert table.head == ("score", "real", "mixed", "fine-tune", "n", "how it is read")
    assert table.rows[0][:3] == ("Dice", "0.8 (0.7 to 0.9)", "0.85 (0.75 to 0.95)")
    assert table.rows[1][0] == "HD95, mm" and table.rows[0][-2] == "10"
    assert [chart.title for chart in charts.charts] == ["Dice", "HD95, mm"]
    assert charts.charts[0].legend == ("1 real", "2 mixed", "3 fine-tune")
    assert "mixed 0.85 (0.75 to 0.95)" in charts.charts[0].alt
    assert isinstance(seeds, Folded) and seeds.parts[0].rows[0] == ("real, Dice", "0.79", "0.81")
    assert (lungs.title, heart.title) == ("lungs", "heart") and isinstance(heart.parts[2], Table)
    assert isinstance(apart, Section) and score_table(saved(ARMS)).rows == []


def test_differences_say_which_arm_is_better_by_the_scores_own_direction():
    apart = arm_parts(saved(ARMS))[4]
    table = next(part for part in apart.parts if isinstance(part, Table))
    told = {(row[0], row[1]): row[2:] for row in table.rows}
    assert told["mixed minus real", "Dice"] == ("+0.05", "0.01 to 0.09", "mixed is better")
    assert told["mixed minus real", "HD95, mm"] == ("-0.5", "-0.9 to -0.1", "mixed is better")
    assert told["fine-tune minus real", "Dice"][-1] == "real is better"
    assert told["fine-tune minus real", "HD95, mm"][-1] == "not told apart"
    charts = next(part for part in apart.parts if isinstance(part, Charts))
    assert [chart.title for chart in charts.charts] == ["Dice, difference", "HD95, mm, difference"]


@pytest.mark.parametrize(
    ("ends", "lower", "said"),
    [
        (None, False, "no interval: nothing is told of chance"),
        ((0.0, 0.1), False, "not told apart"),
        ((0.1, 0.2), False, "b is better"),
        ((0.1, 0.2), True, "a is better"),
        ((-0.2, -0.1), True, "b is better"),
    ],
)
def test_the_verdict_follows_the_interval(ends, lower, said):
    assert verdict("b minus a", SavedScore((), "x", 0.1, ends), lower_is_better=lower) == said
    assert verdict("something", SavedScore((), "x", 0.1, (0.1, 0.2))) == "above 0"


@pytest.mark.parametrize("nested", [False, True])
def test_findings_are_shown_as_arms_are(nested):
    _, charts, table, apart = arm_parts(saved(classified(nested)))
    assert [row[0] for row in table.rows] == ["effusion", "large heart", "mean of all"]
    assert table.head[-1] == ("how it is read" if nested else "n")
    assert table.rows[0][1:4] == ("0.8 (0.7 to 0.9)", "0.9 (0.8 to 1)", "90, 12 positive")
    assert len(charts.charts) == 3 and isinstance(apart, Section)


def test_many_differences_show_the_main_score_and_fold_the_rest():
    values = {f"finding {number}": score(0.1, 0.05, 0.2) for number in range(12)} | {"mean": score(0.2, 0.1, 0.3)}
    result = saved({"kind": "classification", "arms": {"a": values, "b": values}, "differences": {"b minus a": values}})
    apart = arm_parts(result)[-1]
    _, first, chart, folded = apart.parts
    assert [row[1] for row in first.rows] == ["mean of all"] and len(folded.parts[0].rows) == 13
    assert [one.title for one in chart.charts] == ["mean of all, difference"] and len(folded.parts[1].charts) == 13
    _, main, rest, *_ = arm_parts(result)
    assert [one.title for one in main.charts] == ["mean of all"] and len(rest.parts[0].charts) == 13


def test_a_score_that_could_not_be_taken_says_why():
    why = score(None, reason="2 positives, fewer than 5")
    arms = {"real": {"nodule": why, "mean": score(0.5)}, "mixed": {"nodule": why, "mean": score(0.5)}}
    _, charts, table = arm_parts(saved({"kind": "classification", "arms": arms}))
    assert table.rows[0][1] == "not computed: 2 positives, fewer than 5" and len(charts.charts) == 1
    assert key_name(("lungs", "hd"), "mm") == "Hausdorff, mm" and key_name(("auroc",), "") == "AUROC"


def test_results_without_arms_have_no_such_part():
    assert arm_parts(saved({"dice": score(0.5), "arms": "real,mixed"})) == []


def test_a_chart_of_intervals_has_its_marks_and_the_line_at_0():
    plain = figures.intervals([0.1, 0.2], [None, None])
    marked = figures.intervals([0.1, 0.2], [None, None], marks=[(0.1, 0.1, 0.1), ()], zero=True)
    assert marked.count("<path") >= plain.count("<path") + 4


@pytest.fixture
def experiment(tmp_path):
    """What evaluate arms leaves: two arms of one seed, on four images."""
    out, tests = tmp_path / "out", write_pairs(tmp_path / "tests", 4)
    for arm in ("real", "mixed"):
        run = out / arm / "seed-0"
        (run / "predictions").mkdir(parents=True)
        for index in range(4):
            mask = Image.open(tests / "masks" / f"{index:02d}.png")
            mask.rotate(90 * (index == 2)).save(run / "predictions" / f"{index:02d}.png")
        scored = {f"{index:02d}": {"dice": 0.25 if index == 2 else 1.0} for index in range(4)}
        kept = {"kind": "arm", "settings": {}, "scored": {"": {"scores": scored, "unit": "px"}}}
        (run / "scores.json").write_text(json.dumps(kept))
        (run / "config.yaml").write_text("segmenter: {side: 32, batch_size: 2}\n")
        (run / "metrics.jsonl").write_text('{"step": 1, "loss": 2.5}\n{"step": 2, "loss": 1.5}\n')
    (out / "scores.json").write_text(json.dumps(ARMS))
    settings = {"test": str(tests), "mask_name": None, "segmenter": {"side": 32, "batch_size": 2}}
    (out / "config.yaml").write_text(json.dumps(settings))
    return out


def test_the_folder_of_an_experiment_has_its_page(experiment, tmp_path):
    text = words(write_report(ReportConfig(folders=(str(experiment),), worst=1)))
    check_page(text)
    for expected in (
        *(
            "Experiment out",
            "What one evaluation found",
            "trainings of each",
            "What the arms differ by",
            "mixed is better",
            "one seed: the intervals",
            "segmenter.side",
        ),
        *("Arm real", "Arm mixed", "02 · Dice 0.25", "Metrics of mixed/seed-0", "real 8, synthetic 6"),
    ):
        assert expected in text, expected
    assert text.count("</span>prediction</li>") == 4 and str(tmp_path) not in text
    assert "Single images" not in words(write_report(ReportConfig(folders=(str(experiment),), worst=0)))


def test_several_structures_show_the_first_ones_masks(experiment, tmp_path):
    for arm in ("real", "mixed"):
        folder = experiment / arm / "seed-0" / "predictions"
        (folder / "lungs").mkdir()
        for path in folder.glob("*.png"):
            path.rename(folder / "lungs" / path.name)
    (tmp_path / "tests" / "masks").rename(tmp_path / "tests" / "lungs")
    (tmp_path / "tests" / "masks").mkdir()
    (tmp_path / "tests" / "lungs").rename(tmp_path / "tests" / "masks" / "lungs")
    settings = json.loads((experiment / "config.yaml").read_text()) | {"mask_name": "lungs, heart"}
    (experiment / "config.yaml").write_text(json.dumps(settings))
    text = words(write_report(ReportConfig(folders=(str(experiment),), worst=1)))
    assert text.count("</span>prediction</li>") == 4


def test_a_lost_test_folder_leaves_the_names(experiment, tmp_path, caplog):
    (tmp_path / "tests").rename(tmp_path / "moved")
    text = words(write_report(ReportConfig(folders=(str(experiment),), worst=1)))
    assert "02 · Dice 0.25" in text and "not shown" in caplog.text
    assert np.sum([line in text for line in ("Worst by Dice", "Best by Dice")]) == 2
