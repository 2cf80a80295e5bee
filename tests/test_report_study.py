"""The page of a study: rows, fractions, contrasts, hardest images and fidelity; and what settings are of."""

import json
from dataclasses import replace
from html import unescape

import pytest
from fidelity_parts import Means, save_script
from finding_images import write_findings
from pages import check_page
from small_study import study_of, write_study
from test_report import words
from test_report_results import saved, score

from nerp.config import save_settings
from nerp.errors import DataError
from nerp.evaluation.overlap import METRICS
from nerp.experiments.classification import evaluate_classification
from nerp.experiments.settings import ArmsConfig, ClassificationConfig, SegmentationConfig
from nerp.experiments.study.run import run_study
from nerp.report import ReportConfig, figures, kinds, write_report
from nerp.report.study_images import dice_of
from nerp.report.study_rows import families, fraction_sections
from nerp.runs import RunFolder
from nerp.training.config import Config
from nerp.training.settings import ArmConfig

ROWS = {
    "mean-mask": {"arm": "mean-mask"},
    "real-050": {"arm": "real", "fraction": 0.5},
    "real-100": {"arm": "real"},
    "mixed-050": {"arm": "mixed", "sets": ["drr"], "fraction": 0.5},
    "mixed-100": {"arm": "mixed", "sets": ["drr"]},
}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    root = write_study(tmp_path_factory.mktemp("study"))
    save_script(Means(), root / "eyes.pt")
    seen = {"fidelity": ["drr", "physics"], "extractors": [str(root / "eyes.pt")]}
    sets = {"drr": {"mode": "drr"}, "physics": {"mode": "physics"}}
    contrasts = [["mixed-050", "real-050"]]
    run_study(study_of(root, root / "mine", seeds=1, rows=ROWS, sets=sets, contrasts=contrasts, **seen))
    return root / "mine"


def test_the_page_of_a_study_shows_all_that_is_there(study):
    text = words(write_report(ReportConfig(folders=(str(study),), worst=1, pairs=2)))
    page = check_page(text)
    for expected in (
        *("Study mine", "Rows", "mixed: drr; 50 % of the real masks", "images tested", "part of the split"),
        *(
            "Few annotated radiographs",
            "What the arms differ by",
            "mixed-050 minus real-050",
            "Worst tenth of the images",
        ),
        *("Hardest images", "people's outline", "mixed-100 · Dice", "How close the sets are to real radiographs"),
        *("eyes.pt", "FID, part of the first set's", "Masks on their images", "Side by side", "segmenter.steps"),
        "4 images of each set against 4 real ones",
    ):
        assert expected in unescape(text), expected
    assert str(study.parent) not in text
    pictures = list(filter(None, page.alts))  # masks lie over them, and are told with them
    assert len(pictures) == 5 + 2 * 3 + 2  # an image in five pictures; two views of both sets, real ones, masks
    assert sum("with the outline of" in one for one in pictures) == 4  # the mean mask left none


def test_a_study_whose_images_have_gone_keeps_its_numbers(study, caplog):
    for name in ("real", "films"):
        (study.parent / name).rename(study.parent / f"{name}-moved")
    try:
        text = words(write_report(ReportConfig(folders=(str(study),), worst=1, pairs=2)))
    finally:
        for name in ("real", "films"):
            (study.parent / f"{name}-moved").rename(study.parent / name)
    assert "Hardest images" not in text and "Worst tenth of the images" in text and "Side by side" in text
    assert "the hardest images are not shown" in caplog.text and "no real radiographs are shown" in caplog.text


def test_a_study_without_a_table_is_refused(study, tmp_path):
    (tmp_path / "config.yaml").write_bytes((study / "config.yaml").read_bytes())
    with pytest.raises(DataError, match=r"has no table.json yet; run nerp study"):
        write_report(tmp_path)


def table(*rows):
    """A table of rows of arm, sets, fraction and Dice."""
    told = {f"row {place}": row for place, row in enumerate(rows)}
    values = {
        name: {metric: score(row[3], row[3] - 0.1, row[3] + 0.1) for metric in METRICS} for name, row in told.items()
    }
    learned = {name: {"arm": row[0], "sets": row[1], "fraction": row[2]} for name, row in told.items()}
    return saved({"kind": "arms", "arms": values, "differences": {}, "rows": learned})


def test_rows_that_differ_by_their_fraction_are_one_line():
    rows = [("real", [], 0.5, 0.8), ("real", [], 0.1, 0.7), ("mixed", ["a"], 0.1, 0.75), ("mixed", ["b"], 0.5, 0.9)]
    found = families(table(*rows, ("synthetic", ["a"], None, 0.6), ("mixed", ["a"], 1.0, 0.85)))
    assert {name: list(of) for name, of in found.items()} == {"real": [0.1, 0.5], "mixed: a": [0.1, 1.0]}
    assert [one.value for one in found["real"].values()] == [0.7, 0.8]
    assert fraction_sections(table(("real", [], 0.5, 0.8))) == []
    (section,) = fraction_sections(table(*rows))
    assert section.parts[-1].rows == [("real", "0.7 (0.6 to 0.8)", "0.8 (0.7 to 0.9)")]


def test_lines_over_fractions_have_their_intervals_and_places():
    points = [(5.0, 0.7, (0.6, 0.8)), (100.0, 0.9, None)]
    drawn = figures.over({"a": points, "b": points}, [5, 100])
    assert drawn.count("var(--s1)") >= 3 and ">5<" in drawn and ">100<" in drawn


def test_cells_of_rows_whose_names_begin_alike_are_told_apart(tmp_path):
    for row, seed, dice in (("drr", 0, 0.5), ("drr", 1, 0.7), ("drr-any", 0, 0.1)):
        kept = {"cell": f"{row}:{seed}", "scored": {"scores": {"a": {"dice": dice}}}}
        (tmp_path / f"{row}-{seed}.json").write_text(json.dumps(kept))
    assert dice_of(tmp_path, "drr") == {"a": pytest.approx(0.6)} and dice_of(tmp_path, "drr-any") == {"a": 0.1}
    (tmp_path / "drr-2.json").write_text("{}")
    with pytest.raises(DataError, match=r"drr-2.json is no cell of a study"):
        dice_of(tmp_path, "drr")


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        (Config(), kinds.MAPPER),
        (SegmentationConfig(), kinds.SEGMENTER),
        (ArmConfig(), kinds.SEGMENTER),
        (ArmsConfig(), kinds.ARMS),
        (ClassificationConfig(), kinds.ARMS),
    ],
    ids=lambda one: one if isinstance(one, str) else type(one).__name__,
)
def test_settings_tell_what_they_are_of(settings, kind, tmp_path):
    assert kinds.kind_of(RunFolder(tmp_path)) == ""
    save_settings(settings, tmp_path / "config.yaml")
    assert kinds.kind_of(RunFolder(tmp_path)) == kind


def test_classifiers_have_pages_alone_and_side_by_side(tmp_path):
    given = ClassificationConfig(real=str(write_findings(tmp_path / "cxr", 20)), folds=None, test=None, out=None)
    test = write_findings(tmp_path / "test", 20, seed=3)
    classifier = {"network": "small", "side": 32, "steps": 2, "batch_size": 4, "log_every": 1}
    config = replace(
        given, test=str(test), arms="real", seeds=2, out=str(tmp_path / "out"), n_resamples=10, device="cpu"
    )
    evaluate_classification(replace(config, classifier=replace(config.classifier, **classifier)))
    cells = [tmp_path / "out" / "real" / f"seed-{seed}" for seed in (0, 1)]
    assert kinds.kind_of(RunFolder(cells[0])) == kinds.CLASSIFIER
    alone = words(write_report(cells[0]))
    check_page(alone)
    assert "Training of a classifier, 2 steps" in alone and "classifier.network" in alone
    both = words(write_report(ReportConfig(folders=tuple(map(str, cells)), out=str(tmp_path / "both.html"))))
    check_page(both)
    assert "training of a classifier" in both and "Metrics" in both
