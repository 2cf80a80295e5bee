"""Single views to files, and recorded pairs once more: the same bytes, found by hash alone."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_chests import SETTINGS, changed, chest, contents, write_chests, write_run

from nerp.camera import chest_camera
from nerp.data.images import read_grey
from nerp.data.pairs import read_dataset, read_records
from nerp.errors import CheckpointError, DataError, UsageError, VolumeError
from nerp.evaluation.pair_settings import Limits, QualityConfig
from nerp.evaluation.quality import evaluate_quality
from nerp.projection import MaskRule, siddon, siddon_of_ct
from nerp.report import write_report
from nerp.synthesis import render, replay, single, synthesize
from nerp.volume import attenuation, write_volume


@pytest.fixture(scope="module")
def pairs(chests, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("drr") / "pairs"
    synthesize(*chests, out=out, settings=changed(rule=MaskRule("visible"), label_names={51: "heart"}))
    return out


@pytest.mark.parametrize("index", range(6))
def test_every_pair_comes_back_byte_for_byte(pairs, chests, tmp_path, index):
    told = replay(pairs / "metadata.jsonl", index, ct=chests[0], labels=chests[1], out=tmp_path)
    record = read_records(pairs / "metadata.jsonl")[index]
    assert told == {"identical": True, "id": record.id, "differences": []}
    assert (tmp_path / "image.png").read_bytes() == (pairs / record.file_name).read_bytes()
    assert (tmp_path / "mask.png").read_bytes() == (pairs / record.mask_file_name).read_bytes()
    assert json.loads((tmp_path / "record.json").read_bytes()) == record.to_dict()


def test_pairs_that_quality_kept_are_a_set_like_any_other(pairs, chests, tmp_path):
    kept = tmp_path / "kept"
    limits = Limits(lungs_area=(0.0, 1.0), outside_most=1.0, black_most=1.0, entropy_least=0.0, alignment_least=0.0)
    areas = sorted(record.mask_fraction for record in read_records(pairs / "metadata.jsonl"))
    limits = replace(limits, lungs_area=(0.5 * (areas[1] + areas[2]), 1.0), spread_least=0.0, cut_most=1.0)
    limits = replace(limits, balance_least=0.0, width_least=0.0, lone_width_least=0.0)
    config = QualityConfig(pairs=str(pairs), reject=str(kept), limits=limits, structure="lungs", n_resamples=10)
    assert evaluate_quality(config)["n_rejected"] == 2
    records, dataset, source = read_records(kept / "metadata.jsonl"), read_dataset(kept), read_dataset(pairs)
    assert len(records) == dataset["counts"]["pairs"] == 4 and dataset["masks"][0]["fraction_mean"] > areas[0]
    assert {key: dataset[key] for key in ("licence", "citation", "use")} == {
        key: source[key] for key in ("licence", "citation", "use")
    }
    assert (kept / "settings.yaml").read_bytes() == (pairs / "settings.yaml").read_bytes()
    told = replay(kept / "metadata.jsonl", 3, ct=chests[0], labels=chests[1], out=tmp_path / "again")
    assert told == {"identical": True, "id": records[3].id, "differences": []}
    assert "Chosen from a larger set: 2 of its pairs" in write_report(kept).read_text(encoding="utf-8")
    with pytest.raises(DataError, match="holds pairs chosen from another set, to which none can be added"):
        synthesize(*chests, out=kept, settings=changed(rule=MaskRule("visible"), label_names={51: "heart"}))


def test_a_learned_pair_comes_back_byte_for_byte(chests, run, tmp_path):
    settings = changed(mode="vrr", views=2, rule=MaskRule("rendered"))
    synthesize(*chests, out=tmp_path / "pairs", settings=settings, run=run)
    told = replay(
        tmp_path / "pairs" / "metadata.jsonl", 1, ct=chests[0], labels=chests[1], run=run, out=tmp_path / "again"
    )
    record = read_records(tmp_path / "pairs" / "metadata.jsonl")[1]
    assert told["identical"]
    assert (tmp_path / "again" / "image.png").read_bytes() == (tmp_path / "pairs" / record.file_name).read_bytes()
    assert (tmp_path / "again" / "mask.png").read_bytes() == (tmp_path / "pairs" / record.mask_file_name).read_bytes()


def test_another_runs_weights_are_refused(chests, run, tmp_path):
    synthesize(*chests, out=tmp_path / "pairs", settings=changed(mode="vrr", views=1), run=run)
    write_run(tmp_path / "other", n_samples=8)
    where = {"ct": chests[0], "labels": chests[1], "out": tmp_path / "again"}
    with pytest.raises(CheckpointError, match="has another weights"):
        replay(tmp_path / "pairs" / "metadata.jsonl", 0, run=tmp_path / "other", **where)
    with pytest.raises(UsageError, match="needs a trained run"):
        replay(tmp_path / "pairs" / "metadata.jsonl", 0, **where)
    assert not (tmp_path / "again").exists()


def test_a_backend_that_was_asked_for_made_the_mask_too_and_replays(chests, tmp_path):
    for backend in ("auto", "reference"):
        out = tmp_path / backend
        synthesize(*chests, out=out, settings=changed(views=1, backend=backend))
        told = replay(out / "metadata.jsonl", 0, ct=chests[0], labels=chests[1], out=tmp_path / f"{backend}-again")
        assert told["identical"]


def test_the_run_is_found_by_its_weights_where_runs_lie(chests, run, tmp_path, monkeypatch):
    synthesize(*chests, out=tmp_path / "pairs", settings=changed(mode="vrr", views=1), run=run)
    write_run(tmp_path / "runs" / "another", n_samples=8)
    shutil.copytree(run, tmp_path / "runs" / "mine")
    monkeypatch.chdir(tmp_path)
    told = replay("pairs/metadata.jsonl", 0, ct=chests[0], labels=chests[1], out=tmp_path / "again")
    assert told["identical"]


def test_renamed_and_moved_files_are_found_by_their_hash(pairs, chests, tmp_path):
    for number, path in enumerate((*chests[0].iterdir(), *chests[1].iterdir())):
        folder = tmp_path / "anywhere" / str(number)
        folder.mkdir(parents=True)
        shutil.copy(path, folder / "x.nii.gz")
    told = replay(
        pairs / "metadata.jsonl", 4, ct=tmp_path / "anywhere", labels=tmp_path / "anywhere", out=tmp_path / "out"
    )
    assert told["identical"]


@pytest.mark.parametrize(
    ("swap", "message"),
    [
        ("ct", "no CT of SHA-256 .{12}… among the 2 files looked at; give the CT"),
        ("labels", "no labels of SHA-256 .{12}… among the 2 files looked at; give the labels"),
    ],
)
def test_a_missing_original_is_told_by_hash_and_count_alone(pairs, chests, tmp_path, swap, message):
    others = tmp_path / "Jane"
    others.mkdir()
    for size in (61.0, 62.0):
        write_volume(others / f"Doe{size:.0f}.nii.gz", chest(size)[0])
    where = {"ct": chests[0], "labels": chests[1], "out": tmp_path / "out", swap: others}
    with pytest.raises(DataError, match=message) as told:
        replay(pairs / "metadata.jsonl", 0, **where)
    assert "Doe" not in str(told.value)
    assert not (tmp_path / "out").exists()


def test_labels_are_asked_for(pairs, chests, tmp_path):
    with pytest.raises(UsageError, match="has a mask; give its labels"):
        replay(pairs / "metadata.jsonl", 0, ct=chests[0], out=tmp_path / "out")


@pytest.mark.parametrize("index", [-1, 6])
def test_an_index_beyond_the_records_is_refused(pairs, chests, tmp_path, index):
    with pytest.raises(UsageError, match=r"holds 6 records; expected 0 to 5"):
        replay(pairs / "metadata.jsonl", index, ct=chests[0], labels=chests[1], out=tmp_path / "out")


def test_an_index_into_no_records_says_so(chests, tmp_path):
    (tmp_path / "metadata.jsonl").write_text("")
    with pytest.raises(UsageError, match="holds 0 records; make pairs first"):
        replay(tmp_path / "metadata.jsonl", 0, ct=chests[0], out=tmp_path / "out")


@pytest.mark.parametrize(("text", "lacking"), [("[]", "backend, camera"), ('{"id": "a"}', "backend, camera")])
def test_json_that_is_no_record_is_told_what_it_lacks(chests, tmp_path, text, lacking):
    (tmp_path / "dataset.json").write_text(text)
    with pytest.raises(DataError, match=f"record 0 of .*dataset.json lacks {lacking}, .*; give a record that"):
        replay(tmp_path / "dataset.json", ct=chests[0], out=tmp_path / "out")


def test_images_of_others_are_not_overwritten(chests, tmp_path):
    (tmp_path / "image.png").write_bytes(b"mine")
    with pytest.raises(DataError, match=r"holds image\.png and no record\.json"):
        render(chests[0] / "anna.nii.gz", out=tmp_path, settings=SETTINGS)
    assert contents(tmp_path) == {"image.png": b"mine"}


def test_a_write_that_fails_leaves_no_part(chests, tmp_path, monkeypatch):
    def full_disk(path, data):
        if path.suffix == ".npy":
            raise OSError(28, "No space left on device")
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)

    monkeypatch.setattr(single, "write_bytes", full_disk)
    with pytest.raises(OSError, match="No space"):
        render(chests[0] / "anna.nii.gz", out=tmp_path / "out", settings=SETTINGS)
    assert not list((tmp_path / "out").iterdir())


def altered(pairs: Path, folder: Path, **changes) -> Path:
    record = {**read_records(pairs / "metadata.jsonl")[0].to_dict(), **changes}
    (folder / "metadata.jsonl").write_text(json.dumps(record) + "\n")
    return folder / "metadata.jsonl"


def test_a_pair_that_differs_says_so_and_how_the_place_differs(pairs, chests, tmp_path):
    path = altered(pairs, tmp_path, image_sha256="0" * 64, torch="1.0")
    told = replay(path, ct=chests[0], labels=chests[1], out=tmp_path / "out")
    assert not told["identical"]
    assert told["differences"] == [f"torch 1.0 then, {torch.__version__} here"]


def test_the_recorded_threads_are_used_and_restored(pairs, chests, tmp_path, monkeypatch):
    before, used = torch.get_num_threads(), []
    import nerp.synthesis.renderers as module

    def watched(*args, **kwargs):
        used.append(torch.get_num_threads())
        return siddon_of_ct(*args, **kwargs)

    monkeypatch.setattr(module, "siddon_of_ct", watched)
    replay(altered(pairs, tmp_path, threads=before + 1), ct=chests[0], labels=chests[1], out=tmp_path / "out")
    assert used == [before + 1]
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"camera": {"source": [[0, 0, 0]]}}, "the camera of record .* is damaged"),
        ({"mask_labels": None}, "is damaged"),
        ({"rule": {}}, "record .* is damaged"),
    ],
)
def test_damaged_records_are_refused(pairs, chests, tmp_path, changes, message):
    with pytest.raises(DataError, match=message):
        replay(altered(pairs, tmp_path, **changes), ct=chests[0], labels=chests[1], out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_view_is_rendered_to_files_that_agree(chests, tmp_path):
    ct = chests[0] / "anna.nii.gz"
    record = render(ct, labels=chests[1] / "anna.nii.gz", out=tmp_path / "pa", settings=SETTINGS)
    assert sorted(contents(tmp_path / "pa")) == ["image.npy", "image.png", "mask.png", "record.json", "settings.yaml"]
    assert json.loads((tmp_path / "pa" / "record.json").read_bytes()) == record.to_dict()
    raw = np.load(tmp_path / "pa" / "image.npy", allow_pickle=False)
    volume = chest()[0]
    expected = siddon(attenuation(volume), chest_camera(volume, shape=(24, 20)))[0, 0]
    assert raw.dtype == np.float32
    assert np.abs(raw - expected.numpy()).max() < 1e-4
    assert set(np.unique(read_grey(tmp_path / "pa" / "mask.png"))) == {0, 1}
    assert record.seed is None


def test_a_seed_varies_the_camera_and_no_seed_does_not(chests, tmp_path):
    ct = chests[0] / "anna.nii.gz"
    cameras = [render(ct, out=tmp_path, settings=SETTINGS, seed=seed).camera for seed in (None, None, 1, 2, 1)]
    assert cameras[0] == cameras[1]
    assert cameras[2] == cameras[4]
    assert len({json.dumps(camera) for camera in cameras}) == 3


def test_a_single_view_is_replayed_from_its_record(chests, tmp_path):
    ct = chests[0] / "anna.nii.gz"
    render(ct, out=tmp_path / "one", settings=changed(view="oblique", angle_deg=40.0), seed=3)
    assert replay(tmp_path / "one" / "record.json", ct=chests[0], out=tmp_path / "again")["identical"]
    one = contents(tmp_path / "one")
    assert one.pop("settings.yaml") and one == contents(tmp_path / "again")


def test_rendered_again_without_labels_the_former_mask_goes(chests, tmp_path):
    ct = chests[0] / "anna.nii.gz"
    (tmp_path / "notes.txt").write_text("mine")
    render(ct, labels=chests[1] / "anna.nii.gz", out=tmp_path, settings=SETTINGS)
    render(ct, out=tmp_path, settings=SETTINGS)
    assert sorted(contents(tmp_path)) == ["image.npy", "image.png", "notes.txt", "record.json", "settings.yaml"]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"ct": "none.nii.gz"}, VolumeError, "no such file"),
        ({"labels": "none.nii.gz"}, VolumeError, "no such file"),
        ({"settings": changed(mask_labels=(3,))}, DataError, "none of the mask's 3"),
        ({"settings": changed(mask_labels=())}, UsageError, "no mask is chosen; give label values"),
        ({"run": "somewhere"}, UsageError, "uses no trained run"),
        ({"out": "taken"}, DataError, "is a file; expected a folder"),
    ],
)
def test_bad_input_leaves_no_file(tmp_path, arguments, error, message):
    ct, labels = write_chests(tmp_path / "in", names=("anna",))
    (tmp_path / "taken").write_text("")
    usual = {"ct": ct / "anna.nii.gz", "labels": labels / "anna.nii.gz", "out": tmp_path / "out", "settings": SETTINGS}
    given = {key: tmp_path / value if isinstance(value, str) else value for key, value in arguments.items()}
    with pytest.raises(error, match=message):
        render(**{**usual, **given})
    assert not (tmp_path / "out").exists()
