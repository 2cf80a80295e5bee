"""Studies: one YAML gives sets, rows and a table; cells are kept, and nobody tested is learned."""

import csv
import json
import runpy
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from ellipses import write_pairs
from fidelity_parts import Means, save_script
from small_study import ROWS, study_of, write_study

from nerp.camera import ViewSettings
from nerp.config import read_settings
from nerp.config.reading import as_yaml, table_path
from nerp.data.pairs import RECORDS, read_records
from nerp.errors import CheckpointError, ConfigError, DataError, UsageError
from nerp.evaluation.overlap import METRICS
from nerp.evaluation.segmentation import Scored
from nerp.experiments.study import cells, fidelity
from nerp.experiments.study.cells import Cell, kept_scores
from nerp.experiments.study.pairs import fraction_of, real_part
from nerp.experiments.study.results import results_of
from nerp.experiments.study.run import run_study
from nerp.experiments.study.sets import recipe_of
from nerp.experiments.study.settings import StudyConfig, study_settings
from nerp.experiments.study.table import table_of
from nerp.experiments.study.volumes import lay_out
from nerp.label_maps import read_labels
from nerp.runs import RunFolder
from nerp.training.config import Config


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return write_study(tmp_path_factory.mktemp("study"))


def test_a_study_makes_sets_trains_rows_and_tells_contrasts(folders, tmp_path, monkeypatch):
    config = study_of(folders, tmp_path / "out")
    result = run_study(config)
    assert list(result["arms"]) == list(ROWS) and list(result["differences"]) == [
        "both minus drr",
        "drr minus mean-mask",
    ]
    scores = result["arms"]["drr"]["dice"]
    assert len(scores["per_seed"]) == 2 and scores["n"] == 2 and 0 <= scores["value"] <= 1
    apart = result["differences"]["drr minus mean-mask"]["dice"]
    assert apart["value"] == pytest.approx(scores["value"] - result["arms"]["mean-mask"]["dice"]["value"])
    worst = result["worst_tenth"]["drr"]
    assert list(worst["images"].values()) == [pytest.approx(worst["dice"])]
    assert json.loads((tmp_path / "out" / "table.json").read_text())["arms"] == result["arms"]

    monkeypatch.setattr(cells, "train_arm", None)  # nothing is trained twice
    again = run_study(config)
    assert again == result
    partly = run_study(replace(config, only="drr:1"))
    assert partly["arms"] == result["arms"]


def test_what_a_study_found_is_told_without_images_and_folders(folders, tmp_path, monkeypatch, capsys):
    config = study_of(folders, tmp_path / "mine", rows={"drr": {"sets": ["drr"]}}, contrasts=[], scale="full")
    table = run_study(config)
    found = results_of(tmp_path / "mine")
    assert found["study"] == "mine" and found["scale"] == "full" and found["seeds"] == {"drr": [0, 1]}
    assert found["table"]["arms"] == table["arms"]
    assert found["table"]["worst_tenth"]["drr"]["images"] == list(table["worst_tenth"]["drr"]["images"])
    assert set(found["decided"]) == {"drr:0", "drr:1"} and found["decided"]["drr:0"]["synthetic_pairs"]
    assert set(found["sets"]) == {"drr"} and set(found["weights"]) == {f"trainings/drr/seed-{n}" for n in (0, 1)}
    assert found["made_on"] == [found["written_on"]] and found["made_on"][0]["cores"] >= 1
    monkeypatch.setattr(sys, "argv", ["results.py", str(tmp_path / "mine"), str(tmp_path / "results.json")])
    runpy.run_path(str(Path(__file__).parents[1] / "eval" / "results.py"), run_name="__main__")
    written = (tmp_path / "results.json").read_text()
    assert str(tmp_path) not in written and str(folders) not in written and "results.json" in capsys.readouterr().out
    assert json.loads(written)["config"]["segmenter.steps"] == 4
    with pytest.raises(DataError, match=r"no table.json in .*real; expected the folder of a study"):
        results_of(folders / "real")


@pytest.mark.parametrize("script", ["fidelity_table", "lambda_sweep", "missing_annotations", "limited_annotations"])
def test_scripts_are_the_command(script, monkeypatch):
    called = []
    monkeypatch.setattr("nerp.cli.main", lambda arguments: called.append(arguments))
    monkeypatch.setattr(sys, "argv", [f"{script}.py", "--part", "test"])
    with pytest.raises(SystemExit):
        runpy.run_path(str(Path(__file__).parents[1] / "eval" / f"{script}.py"), run_name="__main__")
    assert called == [["study", script, "--part", "test"]]


def test_cells_may_be_made_alone_and_by_other_hands(folders, tmp_path):
    config = study_of(folders, tmp_path / "here", only="drr:1")
    first = run_study(config)
    assert list(first["arms"]) == ["drr"] and len(first["arms"]["drr"]["dice"]["per_seed"]) == 1
    assert any("no cell of mean-mask, both, some-real, self-trained" in text for text in first["warnings"])
    brought = tmp_path / "there" / "cells" / "dev" / "drr-1.json"
    brought.parent.mkdir(parents=True)
    brought.write_bytes((tmp_path / "here" / "cells" / "dev" / "drr-1.json").read_bytes())
    second = run_study(replace(config, out=str(tmp_path / "there")))
    assert second["arms"] == first["arms"] and not (tmp_path / "there" / "sets").exists()
    with pytest.raises(UsageError, match="no cell is called 'drr:7'; expected ROW:SEED, such as mean-mask:0"):
        run_study(replace(config, only="drr:7"))


ONE_ROW = {"rows": {"mean-mask": {"arm": "mean-mask"}}, "contrasts": [], "radiographs": []}


def test_no_cell_of_other_settings_enters_a_table(folders, tmp_path):
    run_study(study_of(folders, tmp_path, **ONE_ROW))
    half = {**ONE_ROW, "rows": {"mean-mask": {"arm": "mean-mask", "fraction": 0.5}}}
    with pytest.raises(CheckpointError, match=r"mean-mask-0.json was .* row.fraction \(1.0 in the run, 0.5 now\)"):
        run_study(study_of(folders, tmp_path, **half))
    config = study_of(folders, tmp_path / "drr", only="drr:0")
    run_study(config)
    with pytest.raises(CheckpointError, match="segmenter.steps"):  # of a row that is not asked for
        run_study(replace(config, only="mean-mask:0", segmenter=replace(config.segmenter, steps=5)))


def test_what_sets_are_made_of_is_held(folders, tmp_path):
    config = study_of(folders, tmp_path, only="both:0")
    run_study(config)
    (tmp_path / "cells" / "dev" / "both-0.json").unlink()
    with pytest.raises(CheckpointError, match=r"sets/made .*phantoms \(2 in the run, 1 now\)"):
        run_study(replace(config, phantoms=1))
    (folders / "other.csv").write_text((folders / "cts.csv").read_text().replace("10,11", "10"))
    with pytest.raises(CheckpointError, match=r"volumes.anna"):
        run_study(replace(config, volumes=str(folders / "other.csv")))


def test_contrasts_are_of_the_seeds_that_both_rows_have(folders, tmp_path):
    config = study_of(folders, tmp_path)

    def scored(*dice):
        return Scored({str(image): dict.fromkeys(METRICS, one) for image, one in enumerate(dice)}, {}, "px", 2)

    drr, mean = {0: scored(0, 0.2), 1: scored(0.8, 1)}, {0: scored(0.5, 0.5)}
    found = table_of(config, {"mean-mask": mean, "drr": drr, "both": {1: scored(1, 1)}})["differences"]
    assert found["both minus drr"]["dice"]["per_seed"] == pytest.approx([0.1])
    assert found["drr minus mean-mask"]["dice"]["per_seed"] == pytest.approx([-0.4, 0.4])
    assert table_of(config, {"drr": {0: scored(0, 0)}, "both": {1: scored(1, 1)}})["differences"] == {}


def test_a_radiograph_that_is_tested_is_refused(folders, tmp_path):
    with pytest.raises(DataError, match="folder of radiographs"):
        run_study(study_of(folders, tmp_path, radiographs=[str(folders / "real" / "images")]))


def test_parts_are_those_of_the_split_and_smaller_fractions_lie_in_larger_ones(folders, tmp_path):
    config = study_of(folders, tmp_path)
    parts = {part: {image.name for image, _ in real_part(config, part)} for part in ("train", "dev", "test")}
    assert [len(names) for names in parts.values()] == [4, 2, 2] and len(set.union(*parts.values())) == 8
    train = real_part(config, "train")
    half, most = ({image for image, _ in fraction_of(train, fraction)} for fraction in (0.5, 0.75))
    assert len(half) == 2 and len(most) == 3 and half < most
    with pytest.raises(ConfigError, match="real or split is not given"):
        real_part(replace(config, split=None), "dev")


def test_volumes_are_laid_out_with_lungs_as_one(folders, tmp_path):
    cts, labels = lay_out(folders / "cts.csv", tmp_path)
    assert sorted(path.name for path in cts.iterdir()) == ["anna.nii.gz", "bert.nii.gz"]
    ours, theirs = (read_labels(folder / "anna.nii.gz").values for folder in (labels, folders / "labels"))
    assert np.array_equal(ours.numpy() == 1, np.isin(theirs.numpy(), (10, 11)))
    (folders / "bad.csv").write_text("name,ct,labels,lungs\nx,ct/none.nii.gz,labels/none.nii.gz,10\n")
    with pytest.raises(DataError, match=r"none.nii.gz, listed in .*bad.csv, is not there"):
        lay_out(folders / "bad.csv", tmp_path / "bad")


def test_the_command_takes_scales_parts_and_cells(nerp, monkeypatch):
    monkeypatch.setenv("NERP_DATA", "/data")
    code, said, _ = nerp(
        *("study", "missing_annotations", "-o", "/tmp/study", "--part", "test", "--only", "physics:0", "--dry-run"),
        *("--scale", "full", "unlabelled.folders=[films]", "phantoms=7"),
    )
    told = yaml.safe_load(said)
    assert code == 0 and told["part"] == "test" and told["only"] == "physics:0" and told["phantoms"] == 7
    assert told["segmenter"]["side"] == told["common"]["shape"][0] == 256 and told["common"]["views"] == 100
    assert told["unlabelled"]["folders"] == ["films"] and told["real"] == "/data/cxr-shenzhen"
    code, said, _ = nerp("study", "limited_annotations", "--dry-run")
    small = yaml.safe_load(said)
    assert small["common"] == {"shape": [128, 128], "views": 25} and small["part"] == "dev"
    assert nerp("study", "missing_annotations")[0] == 2  # no --out


def test_the_split_is_balanced_and_whole():
    with open(table_path("shenzhen_split.csv"), newline="") as file:
        rows = list(csv.DictReader(file))
    count = Counter((row["part"], row["file"].rsplit("_", 1)[1]) for row in rows)
    assert len({row["file"] for row in rows}) == len(rows) == 566
    assert count[("test", "0.png")] == count[("test", "1.png")] == 72
    assert all(abs(count[(part, "0.png")] - count[(part, "1.png")]) <= 4 for part in ("train", "dev"))


def test_rows_and_contrasts_name_what_there_is(folders, tmp_path):
    with pytest.raises(ConfigError, match="row 'drr' learns from set 'other'; expected some of drr, made"):
        study_of(folders, tmp_path, rows={"drr": {"sets": ["other"]}}, contrasts=[])
    with pytest.raises(ConfigError, match="row 'drr' of arm synthetic has no sets; expected sets"):
        study_of(folders, tmp_path, rows={"drr": {}}, contrasts=[])
    with pytest.raises(ConfigError, match="row 'real' of arm real has sets drr; expected none"):
        study_of(folders, tmp_path, rows={"real": {"arm": "real", "sets": ["drr"]}}, contrasts=[])
    with pytest.raises(ConfigError, match="'self-trained' learns from radiographs without masks; give their folders"):
        study_of(folders, tmp_path, radiographs=[])
    with pytest.raises(ConfigError, match=r"contrast \['drr', 'x'\]; expected two of the rows"):
        study_of(folders, tmp_path, contrasts=[["drr", "x"]])


@pytest.fixture(scope="module")
def eyes(tmp_path_factory):
    """Two networks of their own names, which see the mean of each quarter."""
    paths = [tmp_path_factory.mktemp("eyes") / f"{name}.pt" for name in ("sharp", "dull")]
    for path, network in zip(paths, (Means(), torch.nn.Sequential(Means(), torch.nn.Tanh())), strict=True):
        save_script(network, path)
    return [str(path) for path in paths]


TINY_RUN = {
    "data.size": 32,
    "mapper.arch": "unet",
    "mapper.channels": 2,
    "viewer.n_samples": 8,
    "viewer.shape": [32, 32],
    "discriminator.depth": 3,
    "discriminator.channels": 4,
    "trainer.steps": 1,
    "trainer.views_per_volume": 1,
}


def looking(folders, out, eyes, **more):
    stated = {"rows": {}, "contrasts": [], "fidelity": ["drr", "physics"], "extractors": eyes, "runs": {"plain": {}}}
    sets = {"drr": {"mode": "drr"}, "physics": {"mode": "physics"}, "vrr": {"run": "plain"}}
    return study_of(folders, out, **{**stated, "sets": sets, "generator": TINY_RUN, **more})


def test_sets_are_held_to_radiographs_by_every_extractor(folders, tmp_path, eyes, monkeypatch):
    config = looking(folders, tmp_path, eyes)
    result = run_study(config)
    found = result["fidelity"]
    assert found["baseline"] == "drr" and list(found["extractors"]) == ["sharp.pt", "dull.pt"]
    assert list(found["alignment"]) == ["drr", "physics"] and result["arms"] == {}
    for name, seen in found["extractors"].items():
        assert seen["n_real"] == 4 and list(seen["sets"]) == ["drr", "physics"], name
        drr, physics = seen["sets"].values()
        assert "fid_ratio" not in drr and drr["fid"]["n"] == 4
        assert physics["fid_ratio"]["value"] == pytest.approx(physics["fid"]["value"] / drr["fid"]["value"])
        assert physics["fid_ratio"]["ci95"][0] <= physics["fid_ratio"]["value"]
    kept = sorted(path.name for path in (tmp_path / "cells" / "fidelity").iterdir())
    assert kept == sorted(f"{a}-{b}.json" for a in ("drr", "physics") for b in ("sharp.pt", "dull.pt", "alignment"))
    assert len(list((tmp_path / "fidelity").glob("*.safetensors"))) == 2  # each network saw the real images once
    assert str(tmp_path) not in (tmp_path / "table.json").read_text()

    monkeypatch.setattr(fidelity, "evaluate_fidelity", None)  # nothing is scored twice
    assert run_study(config) == result


def test_a_look_may_be_made_alone_and_knows_what_it_is_of(folders, tmp_path, eyes):
    config = looking(folders, tmp_path / "here", eyes, only="physics:dull.pt")
    first = run_study(config)["fidelity"]
    assert list(first["extractors"]) == ["dull.pt"] and first["alignment"] == {}
    there = tmp_path / "there" / "cells" / "fidelity"
    there.mkdir(parents=True)
    (there / "physics-dull.pt.json").write_bytes(
        (tmp_path / "here" / "cells" / "fidelity" / "physics-dull.pt.json").read_bytes()
    )
    more = replace(config, out=str(tmp_path / "there"), only="drr:alignment")
    second = run_study(more)
    assert second["fidelity"]["extractors"] == first["extractors"] and list(second["fidelity"]["alignment"]) == ["drr"]
    assert any("no look physics:alignment, drr:sharp.pt" in text for text in second["warnings"])
    with pytest.raises(UsageError, match="no cell is called 'drr:0'; expected ROW:SEED or SET:EXTRACTOR, such as drr:"):
        run_study(replace(config, only="drr:0"))
    with pytest.raises(CheckpointError, match=r"physics-dull.pt.json .*set.views \(2 in the run, 3 now\)"):
        run_study(replace(config, common={**config.common, "views": 3}))
    write_pairs(folders / "more", 1, seed=9)
    with pytest.raises(CheckpointError, match=r"real \(4 in the run, 5 now\)"):
        run_study(replace(config, radiographs=(*config.radiographs, str(folders / "more" / "images"))))


def test_learned_radiographs_have_the_cameras_of_the_others(folders, tmp_path, eyes):
    config = looking(folders, tmp_path, eyes[:1], only="vrr:alignment,drr:alignment")
    config = replace(config, fidelity=("drr", "vrr"))
    result = run_study(config)["fidelity"]
    assert list(result["alignment"]) == ["drr", "vrr"]
    drr, vrr = ([one.camera for one in read_records(tmp_path / "sets" / name / RECORDS)] for name in ("drr", "vrr"))
    assert drr == vrr
    asked = json.loads((tmp_path / "cells" / "fidelity" / "vrr-alignment.json").read_text())["asked"]
    assert asked["set.run.trainer.steps"] == 1 and asked["set.run.data.size"] == 32


def test_fidelity_names_what_there_is(folders, tmp_path, eyes):
    with pytest.raises(ConfigError, match="fidelity is of set 'x'; expected some of drr, physics, vrr"):
        looking(folders, tmp_path, eyes, fidelity=["x"])
    with pytest.raises(ConfigError, match="fidelity needs radiographs to hold sets to"):
        looking(folders, tmp_path, eyes, radiographs=[])
    with pytest.raises(ConfigError, match="expected names that tell them apart"):
        looking(folders, tmp_path, [eyes[0], eyes[0]])


def test_a_fidelity_table_is_printed(nerp, folders, tmp_path, eyes):
    given = as_yaml(looking(folders, tmp_path / "out", eyes[:1]))
    (tmp_path / "study.yaml").write_text(given)
    code, said, _ = nerp("study", str(tmp_path / "study.yaml"))
    lines = said.splitlines()
    assert code == 0 and lines[0] == "sharp.pt, against 4 radiographs; as a part of drr's:"
    assert lines[2].startswith("  physics  fid ") and "kid" in lines[2] and lines[3] == "masks on their images:"
    assert lines[4].startswith("  drr      alignment ")


@pytest.mark.parametrize("name", ["fidelity_table", "lambda_sweep", "missing_annotations", "limited_annotations"])
def test_presets_are_whole(name, monkeypatch):
    monkeypatch.setenv("NERP_DATA", "/data")
    small = read_settings(StudyConfig, name)
    full = study_settings(name, options={"scale": "full"})
    assert small.table.keys() == full.table.keys() and full.common["shape"] == [256, 256]
    for run, given in small.runs.items():
        for config in (small, full):
            settings = {**config.generator, **given}
            made = read_settings(Config, settings.pop("preset", None), options=settings)
            assert made.loss.l1 == given.get("loss.l1", 5.0), run
    assert [small.runs[one]["loss.l1"] for one in small.runs if "-" in one and "lambda" in one] == (
        [0.05, 0.1, 0.5, 1.0, 5.0, 10.0] if name == "lambda_sweep" else []
    )


def test_a_default_that_changes_is_met_in_what_is_kept(folders, tmp_path, monkeypatch):
    """What a study leaves to defaults decides its cells all the same."""
    config = study_of(folders, tmp_path, rows={"drr": {"sets": ["drr"], "seeds": 1}}, contrasts=[])
    recipe = recipe_of(config, "drr")
    assert recipe["camera.yaw_deg"] and recipe["mask.rule.name"] == "any" and "device" not in recipe
    run_study(config)
    monkeypatch.setattr(ViewSettings, "__init__", wider(ViewSettings.__init__))
    with pytest.raises(CheckpointError, match=r"sets\.drr\.camera\.yaw_deg"):
        run_study(config)


def wider(init):
    """Another default of the cameras."""
    return lambda self, *given, **stated: init(self, *given, **{"yaw_deg": (-3.0, 3.0), **stated})


def test_a_row_may_state_its_steps(folders, tmp_path):
    config = study_of(folders, tmp_path, only="self-trained:0")
    run_study(config)
    rows = {**ROWS, "self-trained": {**ROWS["self-trained"], "steps": 7}}
    assert kept_scores(replace(config, rows={**ROWS, "drr": {"sets": ["drr"], "steps": 7}}), Cell("self-trained", 0))
    with pytest.raises(CheckpointError, match=r"segmenter\.steps"):
        kept_scores(replace(config, rows=rows), Cell("self-trained", 0))
    longer = study_of(folders, tmp_path / "longer", only="self-trained:0", rows=rows)
    run_study(longer)
    state = RunFolder(tmp_path / "longer" / "trainings" / "self-trained" / "seed-0")
    assert json.loads(state.metrics.read_text().splitlines()[-1])["step"] == 7
