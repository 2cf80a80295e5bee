"""Saved results on a page: every kind, of now and of before, with warnings, examples, and comparisons in words."""

import json
import re

import numpy as np
import pytest
from ellipses import write_pairs
from pages import check_page
from PIL import Image
from test_report import SETTINGS, record, words

from nerp.config import save_settings
from nerp.data.images import png_bytes
from nerp.data.pair_writer import PairWriter
from nerp.errors import DataError, UsageError
from nerp.files import sha256
from nerp.report import ReportConfig, write_report
from nerp.report.compared import disagreements
from nerp.report.examples import examples, per_image
from nerp.report.parts import Gallery, Section
from nerp.report.results import SavedResult, read_result, read_results
from nerp.report.score_tables import plain_rows, score_row, score_table
from nerp.report.shelf import Found, Shelf, Shelves
from nerp.report.sides import names_of
from nerp.report.words import without_folders


def score(value, low=None, high=None, n=10, **more):
    return {"value": value, "ci95": None if low is None else [low, high], "n": n, **more}


FIDELITY = {
    "kind": "fidelity",
    "fid": score(12.5, 11.0, 13.5),
    "fid_infinity": score(None, reason="needs 3 x 512 images on both sides"),
    "kid": score(0.0125, 0.01, 0.015),
    "floor": {"fid": score(3.25, n=50), "splits": 5},
    "extractor": {"name": "inception", "sha256": "ab" * 32, "resize": "bilinear to 299 x 299"},
    "n_fake": 10,
    "n_real": 100,
    "warnings": ["FID: 10 images are no more than the 2048 features"],
    "skipped": ["torn.png"],
    "settings": {"fake": "/home/Jane Doe/fake", "seed": 0},
    "a_key_of_the_future": [{"x": 1, "y": {"z": 2}}, {"x": 3}],
}
ALIGNMENT = {
    "kind": "alignment",
    "alignment": score(0.7, 0.6, 0.8),
    "per_image": {
        f"{'ab'[i % 2] * 12}_{i // 2:03d}": {"score": i / 10, "dx": 1.0, "mirrored": False} for i in range(6)
    },
    "warnings": [],
}
_COVERS = {"check": "area", "reason": "the mask covers 0.1 % of the image"}
QUALITY = {
    "kind": "quality",
    "rejected": score(0.25, 0.1, 0.4),
    "pairs": [
        {"file_name": "images/aaaaaaaaaaaa_001.png", "faults": [_COVERS, {"check": "blank", "reason": "blank"}]},
        {"name": "gone", "reasons": ["lungs cut by the border"]},
    ],
    "warnings": "one sentence",
}
SPECTRUM = {"frequencies": [0.1, 0.2, 0.3], "fake": {"mean": [9.0, 5.0, 1.0]}, "real": {"mean": [9.0, 6.0, 3.0]}}
INTEGRITY = {
    "kind": "integrity",
    "auroc": score(0.93, 0.9, 0.96),
    "spectrum": SPECTRUM,
    "by_place": {"auroc": [[0.5, 0.6], [0.7, 1.0]]},
}
MEMORISATION = {
    "kind": "memorisation",
    "copies": score(0.1),
    "nearest": [
        {
            "file": "aaaaaaaaaaaa_000.png",
            "flagged_by": ["features"],
            "pixels": {"nearest": "02.png", "distance": 0.5},
            "features": {"nearest": "03.png", "distance": 0.25},
        },
    ],
}
OLD_SEGMENTATION = {"dice": {"mean": 0.9, "ci95": [0.8, 0.95], "n": 3, "per_image": {"00": 0.2, "01": 0.9, "02": 0.95}}}
CLASSIFICATION = {
    "kind": "classification",
    "arms": {
        "real": {"effusion": score(0.8, 0.7, 0.9, n_positive=4), "mean": score(0.8)},
        "mixed": {"effusion": score(0.85, 0.75, 0.92, n_positive=4), "mean": score(0.85)},
    },
    "differences": {
        "mixed minus real": {"effusion": score(0.05, 0.01, 0.09), "mean": score(0.05, -0.01, 0.09)},
    },
}
ALL = {
    "fidelity": FIDELITY,
    "alignment": ALIGNMENT,
    "quality": QUALITY,
    "integrity": INTEGRITY,
    "memorisation": MEMORISATION,
    "segmentation": OLD_SEGMENTATION,
    "classification": CLASSIFICATION,
}


@pytest.fixture
def pairs(tmp_path):
    """Six pairs, and a result of each kind beside them."""
    folder = tmp_path / "pairs"
    mask = np.zeros((32, 24), np.uint8)
    mask[8:20, 6:18] = 255
    with PairWriter(folder, SETTINGS) as writer:
        for index in range(6):
            writer.add(record(index), png_bytes(np.full((32, 24), 30 + 30 * index, np.uint8)), png_bytes(mask))
        writer.finish({"label_names": {}})
    for kind, result in ALL.items():
        (folder / f"evaluation_{kind}.json").write_text(json.dumps(result))
    return folder


def saved(values) -> SavedResult:
    return SavedResult("", values.get("kind", ""), values)


def test_every_kind_is_shown_with_intervals_warnings_and_what_was_left_out(pairs, tmp_path):
    real = write_pairs(tmp_path / "real", 5)
    text = words(write_report(ReportConfig(folders=(str(pairs),), images=(str(real),), worst=2)))
    page = check_page(text)
    for expected in (
        *("Fidelity", "11 to 13.5", "FID∞", "not computed", "needs 3 x 512 images", "real against real", "3.25"),
        *("no more than the 2048 features", "torn.png", "Left out: 1", "name inception", "lower is closer"),
        *(
            "Alignment",
            "Worst by score",
            "Quality of the pairs",
            "one sentence",
            "the reasons: 2",
            "gone: lungs cut by",
        ),
        *(
            "area: the mask covers 0.1 % of the image; blank: blank",
            "Integrity",
            "0.9 to 0.96",
            "by place: 0.50 to 1.00",
            "generated and real images",
            "Memorisation",
            "nearest to it: 03.png",
        ),
        *(
            "pixels distance 0.5, features distance 0.25",
            "Segmentation",
            "Classification",
            "mixed is better",
            "a key of the future: 2",
        ),
    ):
        assert expected in text, expected
    assert "Jane" not in text and "/home" not in text and "fake fake, seed 0" in text
    assert text.count('class="bad"') == 2 + 1 + 2 + 2
    assert len([alt for alt in page.alts if alt]) == 6 + 3 + 1 + 1 + 2 + 3


def test_the_worst_come_first_and_the_best_are_fewer():
    result = saved(ALIGNMENT)
    found = Shelf()
    parts = examples(result, Shelves(found), 2)
    assert [part.title for part in parts] == ["Worst by score", "Best by score"]
    rows = [part.parts[0].rows for part in parts if isinstance(part, Section)]
    assert [name for (name,) in rows[0]] == ["aaaaaaaaaaaa_000 · score 0", "bbbbbbbbbbbb_000 · score 0.1"]
    assert [name for (name,) in rows[1]] == ["bbbbbbbbbbbb_002 · score 0.5"]
    assert examples(result, Shelves(found), 0) == []


def test_rejected_pairs_of_different_faults_come_first():
    faults = {"a": "blank", "b": "blank", "c": "cut", "d": "blank", "e": "one lung"}
    pairs = [{"file_name": name, "faults": [{"check": check, "reason": "x"}]} for name, check in faults.items()]
    result = saved({"kind": "quality", "pairs": pairs, "checks": {"blank": 3, "cut": 1, "one lung": 1}})
    (section,) = examples(result, Shelves(Shelf()), 3)
    told, table = section.parts
    assert told.text == "Pairs by check: blank 3; cut 1; one lung 1."
    assert table.rows == [("a: blank: x",), ("c: cut: x",), ("e: one lung: x",)]


def test_of_distances_the_longest_are_the_worst():
    result = saved({"hd95": score(2.0, per_image={"a": 1.0, "b": 9.0, "c": 4.0})})
    worst = examples(result, Shelves(Shelf()), 1)[0]
    assert worst.parts[0].rows == [("b · HD95 9",)]


@pytest.mark.parametrize(
    "values",
    [
        {"dice": {"mean": 0.5, "per_image": {"a": 0.1, "b": 0.9}}},
        {"per_image": {"a": {"dice": 0.1}, "b": {"dice": 0.9}}},
        {"per_pair": [{"name": "a", "dice": 0.1}, {"name": "b", "dice": 0.9}]},
    ],
)
def test_measures_of_single_images_are_found_wherever_they_stand(values):
    assert per_image(saved(values))["dice"] == {"a": 0.1, "b": 0.9}


def test_a_result_of_before_is_known_by_its_scores():
    kinds = {"fid": "fidelity", "dice": "segmentation", "auroc": "classification"}
    for key, kind in kinds.items():
        assert read_kind({key: {"value": 1.0}}) == kind
    assert read_kind({"dice": {"mean": 1.0}, "fid": {"value": 1.0}}) == ""
    assert read_kind({"kind": "of the future", "fid": {"value": 1.0}}) == "of the future"


def read_kind(values) -> str:
    from nerp.report.results import _kind

    return _kind(values)


@pytest.mark.parametrize("value", [None, "x", True, [1], {"value": "x"}, {"value": [1]}, {"mean": True}, {"n": 3}])
def test_what_is_no_score_is_none(value):
    assert saved({"a": value}).scores == []


def test_numbers_that_are_none_do_not_break_the_page(tmp_path):
    (tmp_path / "scores.json").write_text(
        '{"kind": "fidelity", "fid": {"value": NaN, "ci95": [NaN, 1], "n": 2}, "n": null}'
    )
    text = words(write_report(tmp_path))
    check_page(text)
    assert "Fidelity" in text


def test_a_row_says_how_it_is_read():
    (row,) = [score_row(one) for one in saved({"kid": score(0.5, 0.25, 0.75, n=7)}).scores]
    assert row == ("KID", "0.5", "0.25 to 0.75", "7", "lower is closer; without bias, so that it may fall below 0")


def test_a_score_whose_key_says_little_is_named_by_what_leads_to_it():
    values = {"false_alarm": {"real": score(0.01)}, "uncovered": {"left": score(0.3, 0.2, 0.4)}}
    rows = [score_row(one) for one in saved(values).scores]
    assert [row[0] for row in rows] == ["false alarms among real images", "part of the left lung outside the masks"]
    assert rows[1][1:4] == ("0.3", "0.2 to 0.4", "10") and "0.33" in rows[1][4]


def test_a_floor_stands_beside_its_score_and_a_single_extractor_is_not_repeated():
    alone = {**FIDELITY, "extractors": {"inception": {"fid": score(12.5), "floor": {"fid": score(3.25)}}}}
    table = score_table(saved(alone))
    assert table.head[4] == "real against real"
    assert [(row[0], row[4]) for row in table.rows] == [("FID", "3.25"), ("FID∞", ""), ("KID", "")]
    both = {**alone, "extractors": {**alone["extractors"], "other": {"fid": score(99.0), "floor": {"fid": score(9.0)}}}}
    assert ("extractors / other / FID", "9") in [(row[0], row[4]) for row in score_table(saved(both)).rows]


@pytest.mark.parametrize(
    "row",
    [
        {"fake": "a.png", "real": "b.png", "distance": 0.5, "flagged": True},
        {"file": "a.png", "flagged_by": [], "pixels": {"nearest": "b.png", "distance": 0.5}},
        {"name": "a.png", "neighbour": "b.png", "pixels": {"nearest": "c.png"}},
    ],
)
def test_neighbours_are_found_wherever_they_stand(row, tmp_path):
    for name, grey in (("own", 10), ("real", 200)):
        (tmp_path / name).mkdir()
        for one in "abc":
            Image.fromarray(np.full((8, 8), grey, np.uint8)).save(tmp_path / name / f"{one}.png")
    shelves = Shelves(Shelf().add_images(tmp_path / "own"), [str(tmp_path / "real")])
    (section,) = examples(saved({"nearest": [row]}), shelves, 3)
    fake, real = section.parts[-1].pictures
    assert fake.caption.startswith("a.png") and real.caption == "nearest to it: b.png"
    assert (fake.image == 10).all() and (real.image == 200).all()


def test_copies_stand_apart_from_other_neighbours_each_beside_its_own():
    rows = [
        {"file": f"{name}.png", "flagged_by": by, "pixels": {"nearest": f"{name}_real.png", "distance": 0.01}}
        for name, by in (("a", ["pixels"]), ("b", []), ("c", ["pixels"]))
    ]
    shelf = Shelf()
    for name in ("a", "a_real", "b", "b_real", "c"):
        shelf.add(name, lambda: Found(np.zeros((4, 4), np.uint8)))
    flagged, others = examples(saved({"nearest": rows}), Shelves(shelf), 3)
    assert (flagged.title, others.title) == ("Nearest, flagged as copies: 2", "Nearest, not flagged: 1")
    whole, single = (part for part in flagged.parts if isinstance(part, Gallery))
    assert whole.look == "couples" and all(picture.is_bad for picture in whole.pictures)
    assert whole.pictures[0].caption == "a.png · flagged by pixels · pixels distance 0.01"
    assert [picture.caption for picture in whole.pictures[1:]] == ["nearest to it: a_real.png"]
    assert len(single.pictures) == 1 and not any(picture.is_bad for picture in others.parts[-1].pictures)
    assert (
        examples(saved({"nearest": rows}), Shelves(shelf), 1)[0].title == "Nearest, flagged as copies: 2, the first 1"
    )


def test_neighbours_of_one_side_of_a_comparison_are_found_on_the_other(tmp_path):
    fake, made = write_pairs(tmp_path / "fake", 3) / "images", write_pairs(tmp_path / "real", 3, seed=1) / "images"
    real = made.rename(tmp_path / "films")
    row = {"file": "00.png", "flagged_by": ["pixels"], "pixels": {"nearest": "01.png", "distance": 0.01}}
    saved_one = {**MEMORISATION, "nearest": [row], "folders": {"fake": "images", "real": "films"}}
    (fake / "evaluation_memorisation.json").write_text(json.dumps(saved_one))
    out = tmp_path / "compare.html"
    text = words(write_report(ReportConfig(folders=(str(fake), str(real)), out=str(out))))
    check_page(text)
    assert "nearest to it: 01.png" in text and text.count('<div class="couple">') == 1


def test_pictures_of_a_result_are_shown_where_they_are_its_own(tmp_path):
    (tmp_path / "told").mkdir()
    drawn = {}
    for place, name in ((tmp_path, "patches.png"), (tmp_path / "told", "places.png")):
        Image.fromarray(np.full((8, 16, 3), 90, np.uint8)).save(place / name)
        drawn[name] = sha256(place / name)
    (tmp_path / "evaluation_integrity.json").write_text(json.dumps({**INTEGRITY, "pictures": drawn}))
    text = words(write_report(tmp_path))
    check_page(text)
    assert "patches that look most generated" in text and "the mean generated image" in text
    assert "map of auroc" not in text and "do not lie beside" not in text
    Image.fromarray(np.full((8, 16, 3), 200, np.uint8)).save(tmp_path / "patches.png")
    text = words(write_report(tmp_path))
    assert "patches that look most generated" not in text and "the mean generated image" in text
    assert "Pictures of this result do not lie beside it: patches.png" in text


def test_paths_lose_their_folders():
    told = {
        "/home/Jane Doe/pairs": "pairs",
        "C:\\Users\\Jane\\a.png": "a.png",
        "~/Jane/a.png": "a.png",
        "found 2 in /home/Jane/x.png, 3 left": "found 2 in x.png, 3 left",
        "images/a.png": "images/a.png",
        "1/mm, lower / higher": "1/mm, lower / higher",
    }
    assert {text: without_folders(text) for text in told} == told


def test_plain_values_are_told_and_long_ones_are_cut():
    rows = dict(
        plain_rows({"n": 3, "fid": score(1), "a": {"b": {"c": 1}}, "long": "x" * 500, "nothing": None, "f": True})
    )
    assert rows["n"] == "3" and rows["a.b"] == "c 1" and rows["f"] == "yes" and len(rows["long"]) < 210
    assert "fid" not in rows and "nothing" not in rows


def test_several_folders_are_compared(pairs, tmp_path):
    images = write_pairs(tmp_path / "more" / "pairs", 5)
    (images / "scores.json").write_text(json.dumps({**FIDELITY, "n_fake": 5, "fid": score(20.0, 18.0, 22.0)}))
    bare = write_pairs(tmp_path / "bare", 3) / "images"
    out = tmp_path / "compare.html"
    assert write_report(ReportConfig(folders=(str(pairs), str(images), str(bare)), out=str(out))) == out
    text = words(out)
    check_page(text)
    for expected in (
        *("more/pairs", "bare/images", "Grey levels", "Fidelity, side by side", "12.5 (11 to 13.5), n 10"),
        *("20 (18 to 22), n 10", "the counts of generated images differ", "No saved result lies in bare/images"),
        *("32 × 24", "40 × 60 (the first)", "SHA-256 of metadata.jsonl", "1 "),
    ):
        assert expected in text, expected
    assert len(re.findall(r'<img alt="[^"]+', text)) == 6 + 5 + 3 + 6 + 1 + 1 + 1


def test_runs_are_compared_by_their_curves(tmp_path):
    from nerp.training.config import load_config

    for name, steps in (("a", 500), ("b", 600)):
        save_settings(load_config(None, [f"trainer.steps={steps}"]), tmp_path / name / "config.yaml")
        lines = [json.dumps({"step": step, "l1": steps / step}) for step in range(1, 30)]
        (tmp_path / name / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    folders = (str(tmp_path / "a"), str(tmp_path / "b"))
    text = words(write_report(ReportConfig(folders=folders, out=str(tmp_path / "c.html"))))
    check_page(text)
    assert "Settings that differ: 1" in text and "trainer.steps" in text
    assert 'aria-label="l1 over the steps of a, b"' in text


def test_scores_that_must_not_be_compared_are_told():
    other = {**FIDELITY, "extractor": {**FIDELITY["extractor"], "sha256": "cd" * 32}}
    told = disagreements({"a": saved(FIDELITY), "b": saved(other)})
    assert len(told) == 1 and told[0].startswith("the extractors differ") and "abababababab, cdcdcdcdcdcd" in told[0]
    assert disagreements({"a": saved(FIDELITY), "b": saved(FIDELITY)}) == []
    second = [{"extractors": {"squeezenet": {"extractor": {"sha256": one, "resize": "same"}}}} for one in ("aa", "bb")]
    several = disagreements({str(one): saved({**FIDELITY, **one}) for one in second})
    assert several == ["squeezenet: the extractors differ: their scores have different scales (aa, bb)"]


def test_folders_have_the_shortest_names_that_tell_them_apart(tmp_path):
    assert names_of([tmp_path / "a", tmp_path / "b"]) == ["a", "b"]
    assert names_of([tmp_path / "x" / "a", tmp_path / "y" / "a"]) == ["x/a", "y/a"]
    assert names_of([tmp_path / "a", tmp_path / "a"]) == ["a (1)", "a (2)"]


def test_an_experiment_is_what_several_evaluations_left(tmp_path):
    for name, value in (("real", 0.9), ("mixed", 0.95)):
        (tmp_path / name).mkdir()
        scores = {"kind": "segmentation", "dice": {"mean": value, "ci95": [value - 0.05, value + 0.03], "n": 30}}
        (tmp_path / name / "scores.json").write_text(json.dumps(scores))
        (tmp_path / name / "config.yaml").write_text("segmenter: {side: 32, batch_size: 2}\n")
        (tmp_path / name / "metrics.jsonl").write_text('{"step": 1, "loss": 2.5}\n{"step": 2, "loss": 1.5}\n')
    (tmp_path / "fidelity.json").write_text(json.dumps(FIDELITY))
    (tmp_path / "other.json").write_text('{"not": "a result"}')
    text = words(write_report(tmp_path))
    check_page(text)
    for expected in (
        "Segmentation, side by side",
        "0.9 (0.85 to 0.93), n 30",
        "Metrics of mixed",
        "Segmentation: real",
    ):
        assert expected in text, expected
    assert "not: a result" not in text


def test_results_of_a_folder_of_images_are_shown_with_them(tmp_path):
    folder = write_pairs(tmp_path / "films", 5)
    (folder / "evaluation.json").write_text(json.dumps({"kind": "alignment", "per_image": {"03": {"score": 0.1}}}))
    text = words(write_report(ReportConfig(folders=(str(folder),), pairs=3)))
    check_page(text)
    assert "Images films" in text and "3 of 5, evenly spread" in text and "03 · score 0.1" in text
    assert text.count('class="mask"') == 3 + 1


def test_a_segmenters_worst_images_are_shown_with_both_masks(tmp_path):
    tests = write_pairs(tmp_path / "tests", 4)
    run = tmp_path / "run"
    (run / "predictions").mkdir(parents=True)
    for index in range(4):
        Image.open(tests / "masks" / f"{index:02d}.png").rotate(90 * (index == 2)).save(
            run / "predictions" / f"{index:02d}.png"
        )
    settings = {"test": str(tests), "segmenter": {"side": 32, "batch_size": 2}}
    (run / "config.yaml").write_text(json.dumps(settings))
    dice = {f"{index:02d}": 0.3 if index == 2 else 1.0 for index in range(4)}
    (run / "scores.json").write_text(json.dumps({"dice": {"mean": 0.8, "n": 4, "per_image": dice}}))
    text = words(write_report(ReportConfig(folders=(str(run),), worst=1)))
    check_page(text)
    assert "02 · Dice 0.3" in text and text.index("Worst by Dice") < text.index("Best by Dice")
    assert "</span>mask</li>" in text and "</span>prediction</li>" in text
    assert str(tmp_path) not in text


def test_what_cannot_be_reported_is_refused_in_one_line(pairs, tmp_path):
    with pytest.raises(UsageError, match="2 folders are compared, and no file to write is given; add --out"):
        write_report(ReportConfig(folders=(str(pairs), str(pairs))))
    with pytest.raises(UsageError, match="no folder to report on; give a run"):
        write_report(ReportConfig())
    with pytest.raises(DataError, match="no folder at .*gone: expected a run"):
        write_report(tmp_path / "gone")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no image in|no radiograph"):
        write_report(ReportConfig(folders=(str(pairs), str(tmp_path / "empty")), out=str(tmp_path / "x.html")))
    (pairs / "scores.json").write_text("[1]")
    with pytest.raises(DataError, match="holds no scores: expected an object"):
        read_results(pairs)
    with pytest.raises(DataError, match="is a folder; expected the name of a file"):
        write_report(ReportConfig(folders=(str(pairs),), out=str(tmp_path)))
    assert not (tmp_path / "x.html").exists()
    assert read_result(pairs / "evaluation_quality.json").warnings == ["one sentence"]


def test_the_command(nerp, pairs, tmp_path):
    code, said, _ = nerp("report", pairs, "--pairs", "3", "--worst", "1", "-o", tmp_path / "a.html", "views=1")
    assert code == 0 and said.strip() == str(tmp_path / "a.html")
    assert "3 pairs, evenly spread" in words(tmp_path / "a.html")
    code, said, _ = nerp("report", pairs, "--images", tmp_path, "--device", "cpu", "--views", "3", "--dry-run")
    assert code == 0 and "views: 3" in said and "device: cpu" in said and f"- {tmp_path}" in said
    (tmp_path / "given.yaml").write_text(said.replace("worst: 8", "worst: 5"))
    assert "worst: 5" in nerp("report", "--config", tmp_path / "given.yaml", "--dry-run")[1]
    code, _, complaint = nerp("report", pairs, tmp_path)
    assert code == 2 and complaint.count("\n") == 1 and "--out" in complaint
