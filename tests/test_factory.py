"""The factory: the same bytes whoever makes a set and however often it is killed, and one line for each fault."""

import csv
import json
import os
import random
import signal
import subprocess
import sys
import tarfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_chests import chest, write_chests

from nerp.config import save_settings
from nerp.data.pairs import read_dataset, read_records
from nerp.errors import ConfigError, DataError
from nerp.factory import gathering, load_plan, make_dataset
from nerp.factory.gathering import gather
from nerp.factory.looks import alike, look_of
from nerp.factory.planning import WORK, hold_plan, make_plan
from nerp.factory.settings import SplitSettings
from nerp.factory.shard import ShardMaker, read_shard
from nerp.factory.sources import Listed
from nerp.factory.splitting import folds_of, parts_of
from nerp.files import locked
from nerp.formats import read_grid, write_grid
from nerp.synthesis import replay, synthesize
from nerp.volume import Volume

IMAGES = {"pa": {"mode": "drr"}, "side": {"camera": {"view": "lateral"}, "views": 2}}
MASKS = {"labels": {"lungs": "10,11", "left": "10"}, "rule": "any"}


@pytest.fixture(scope="module")
def chests(tmp_path_factory):
    """Five CTs of three patients, and what a table tells of them."""
    root = tmp_path_factory.mktemp("chests")
    write_chests(root)
    for folder in ("ct", "labels"):
        for number, whose in enumerate(("anna", "bert", "anna")):
            values, affine = read_grid(root / folder / f"{whose}.nii.gz")
            affine = affine.copy()
            affine[0, 3] += number + 1
            write_grid(root / folder / f"{whose}_{number}.nii.gz", values, affine)
    names = sorted(path.name for path in (root / "ct").iterdir())
    rows = [f"{name},{name[0] if number else 'c'},{int(number % 2)}" for number, name in enumerate(names)]
    (root / "told.csv").write_text("\n".join(["file,patient_id,effusion", *rows]) + "\n")
    return root


def plan_of(root, **more):
    mine = {"ct": str(root / "ct"), "labels": str(root / "labels"), "patients": str(root / "told.csv")}
    stated = {
        "sources": {"mine": {**mine, "findings": str(root / "told.csv")}},
        "images": IMAGES,
        "common": {"shape": [24, 20], "mask": MASKS},
        "split": {"parts": {"train": 0.5, "test": 0.5}},
        "shard": 2,
        "device": "cpu",
        **more,
    }
    return load_plan(None, options=stated)


def made_here(config, out):
    """The set, by this process alone."""
    plan = make_plan(config)
    out.mkdir(parents=True)
    hold_plan(plan, out)
    for number in range(len(plan.shards)):
        ShardMaker(plan, out).make(number)
    return gather(plan, out)


def bytes_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def table(path):
    return list(csv.DictReader(path.read_text().splitlines()))


@pytest.fixture(scope="module")
def whole(chests, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "set"
    return out, made_here(plan_of(chests), out)


def test_each_part_and_image_is_a_folder_of_pairs_as_synthesize_writes_it(chests, whole, tmp_path):
    out, told = whole
    counts = {"cts": 5, "failed": 0, "pairs": 15, "images": {"pa": 5, "side": 10}}
    assert told["counts"] == {**counts, "alike": len(table(out / "remarks.csv"))}
    assert all("looks like" in row["remark"] for row in table(out / "remarks.csv"))  # the same chests, moved
    assert not (out / WORK).exists()
    config = plan_of(chests).image_settings["side"]
    synthesize(chests / "ct", chests / "labels", out=tmp_path / "pairs", settings=config.set_settings())
    theirs = {record.id: record for record in read_records(tmp_path / "pairs" / "metadata.jsonl")}
    ours = {part: read_records(out / part / "side" / "metadata.jsonl") for part in ("train", "test")}
    assert {record.id: record for part in ours.values() for record in part} == theirs
    for part, records in ours.items():
        for record in records:
            for name in record.file_names:
                assert (out / part / "side" / name).read_bytes() == (tmp_path / "pairs" / name).read_bytes()
        there, here = (read_dataset(folder)["settings"] for folder in (tmp_path / "pairs", out / part / "side"))
        assert there == here


def test_a_pair_of_the_set_replays(chests, whole, tmp_path):
    records = whole[0] / "train" / "pa" / "metadata.jsonl"
    assert replay(records, 0, ct=chests / "ct", labels=chests / "labels", out=tmp_path / "again")["identical"]


def test_no_patient_is_in_two_parts_and_records_tell_patients_and_findings(whole):
    out, told = whole
    rows = {
        part: list(map(json.loads, (out / part / "pa" / "metadata.jsonl").read_text().splitlines()))
        for part in told["parts"]
    }
    train, test = ({row["patient_id"] for row in rows[part]} for part in ("train", "test"))
    assert train and test and not train & test
    assert Counter(row["findings"]["effusion"] for part in rows.values() for row in part) == {0: 3, 1: 2}
    assert {row["patient_id"] for part in rows.values() for row in part}.isdisjoint({"patient a", "a", "b", "c"})
    listed = table(out / "folds.csv")
    assert {(row["ct"], row["part"]) for row in listed} == {
        (row["ct_sha256"][:12], part) for part, some in rows.items() for row in some
    }


def test_two_workers_killed_at_any_moment_write_the_same_bytes(chests, whole, tmp_path):
    """The command is killed with its workers, or a worker alone; what is called again goes on."""
    expected, out = bytes_of(whole[0]), tmp_path / "set"
    plan = tmp_path / "plan.yaml"
    save_settings(plan_of(chests), plan)
    command = [sys.executable, "-m", "nerp", "factory", str(plan), "-o", str(out), "--workers", "2"]
    chance = random.Random(7)
    for moment in ("driver", "worker"):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        wait_until(lambda running=process: any(out.glob(f"{WORK}/shards/*")) or running.poll() is not None)
        time.sleep(chance.random() / 4)
        if moment == "driver":
            os.kill(process.pid, signal.SIGKILL)
            process.communicate()
        else:
            for worker in workers_of(process.pid)[:1]:
                os.kill(worker, signal.SIGKILL)
            assert process.wait(timeout=300) == 0, process.communicate()[1]
            process.communicate()
    assert bytes_of(out) == expected
    again = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    assert "15 pairs of 5 CTs" in again.stdout
    assert bytes_of(out) == expected


def wait_until(is_so, seconds=240):
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)


def workers_of(pid):
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(path.parent.name))
    return sorted(found)


def test_a_gathering_that_was_cut_short_goes_on(chests, whole, tmp_path, monkeypatch):
    config, out = plan_of(chests), tmp_path / "set"
    plan = make_plan(config)
    out.mkdir()
    hold_plan(plan, out)
    for number in range(len(plan.shards)):
        ShardMaker(plan, out).make(number)
    with monkeypatch.context() as patched:
        patched.setattr(gathering, "card_of", lambda *args, **more: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            gather(plan, out)
    gather(plan, out)
    assert bytes_of(out) == bytes_of(whole[0])


def test_tars_hold_each_pair_once_with_no_date(chests, whole, tmp_path):
    out = tmp_path / "set"
    made_here(plan_of(chests, layouts=["imagefolder", "webdataset"]), out)
    assert bytes_of(out / "imagefolder") == {
        name: data for name, data in bytes_of(whole[0]).items() if name.startswith(("train", "test", "croissant"))
    }
    keys = []
    for path in sorted((out / "webdataset").rglob("*.tar")):
        with tarfile.open(path) as tar:
            for entry in tar:
                key, ending = entry.name.split(".", 1)
                assert (entry.mtime, entry.uid, entry.uname) == (0, 0, "")
                data = tar.extractfile(entry).read()
                if ending == "json":
                    record = json.loads(data)
                    assert record["id"] == key
                    keys.append((path.parent.name, path.name.rsplit("-", 1)[0], key))
                    home = out / "imagefolder" / path.parent.name / path.name.rsplit("-", 1)[0]
                else:
                    folder = {"png": "images", "lungs.mask.png": "masks/lungs", "left.mask.png": "masks/left"}[ending]
                    home = out / "imagefolder" / path.parent.name / path.name.rsplit("-", 1)[0]
                    assert (home / folder / f"{key}.png").read_bytes() == data
    assert len(keys) == len(set(keys)) == 15


def test_a_ct_that_cannot_be_used_is_told_and_stops_nothing(chests, tmp_path):
    for folder in ("ct", "labels"):
        (tmp_path / folder).mkdir()
        for path in (chests / folder).iterdir():
            (tmp_path / folder / path.name).write_bytes(path.read_bytes())
    (tmp_path / "ct" / "bert.nii.gz").write_bytes((chests / "ct" / "bert.nii.gz").read_bytes()[:2000])
    (tmp_path / "labels" / "anna_0.nii.gz").unlink()
    (tmp_path / "told.csv").write_bytes((chests / "told.csv").read_bytes())
    config = plan_of(tmp_path)
    told = made_here(config, tmp_path / "set")
    assert told["counts"]["failed"] == 2 and told["counts"]["pairs"] == 9
    errors = table(tmp_path / "set" / "errors.csv")
    assert [row["file"] for row in errors] == ["anna_0.nii.gz", "bert.nii.gz"]
    assert "has no labels in" in errors[0]["error"] and "cannot be read as NIfTI" in errors[1]["error"]
    assert str(tmp_path) not in (tmp_path / "set" / "errors.csv").read_text()
    assert not any("bert" in name for name in bytes_of(tmp_path / "set"))
    with pytest.raises(DataError, match="2 CTs failed, more than --max-failures 1"):
        make_dataset(replace(config, max_failures=1), tmp_path / "few")
    assert any(read_shard(tmp_path / "few", number) for number in range(3))


def test_what_cannot_be_is_refused_in_one_line(chests, whole, tmp_path, nerp):
    (tmp_path / "none").mkdir()
    empty = {"sources": {"mine": {"ct": str(tmp_path / "none")}}}
    with pytest.raises(DataError, match="none"):
        make_dataset(plan_of(chests, **empty), tmp_path / "out")
    with pytest.raises(ConfigError, match=r"images\.pa: .*unknown.*'moed'.*mode"):
        plan_of(chests, images={"pa": {"moed": "drr"}})
    with pytest.raises(ConfigError, match=r"sources\.mine: .*'label'"):
        plan_of(chests, sources={"mine": {"ct": "x", "label": "y"}})
    with pytest.raises(ConfigError, match=r"split\.parts is .*sum is 1"):
        plan_of(chests, split={"parts": {"train": 0.5, "test": 0.2}})
    with pytest.raises(ConfigError, match="layouts names 'zip'; expected one or more of imagefolder, webdataset"):
        plan_of(chests, layouts=["zip"])
    (tmp_path / "list.csv").write_text(f"ct,labels\n{chests}/ct/anna.nii.gz,\ngone.nii.gz,\n")
    with pytest.raises(DataError, match=r"lists 1 files that are not there: .*gone\.nii\.gz"):
        make_dataset(plan_of(chests, sources={"mine": {"ct": str(tmp_path / "list.csv")}}), tmp_path / "out")
    (tmp_path / "held").mkdir()
    (tmp_path / "held" / "thesis.txt").write_text("mine")
    with pytest.raises(DataError, match=r"holds other things \(thesis\.txt\)"):
        make_dataset(plan_of(chests), tmp_path / "held")
    with pytest.raises(DataError, match="finished set of another plan"):
        make_dataset(plan_of(chests, images={"pa": {}}), whole[0])
    with locked(tmp_path / "busy"), pytest.raises(DataError, match="another factory is writing into"):
        make_dataset(plan_of(chests), tmp_path / "busy")


def test_work_of_another_plan_is_not_gone_on_with(chests, tmp_path):
    hold_plan(make_plan(plan_of(chests)), tmp_path)
    with pytest.raises(DataError, match=r"images\.pa\.shape is \[24, 20\] there, \[8, 8\] here"):
        hold_plan(make_plan(plan_of(chests, common={"shape": [8, 8], "mask": MASKS})), tmp_path)


def listed(patient, **findings):
    return Listed("s", patient, Path(patient), None, patient, findings)


def test_findings_are_spread_evenly_over_parts_and_folds():
    rng = np.random.default_rng(0)
    volumes = [
        listed(f"p{number // 2}", rare=int(number // 2 % 20 == 0), common=int(rng.random() < 0.5))
        for number in range(400)
    ]
    split = SplitSettings(parts={"train": 0.7, "valid": 0.1, "test": 0.2}, folds=5, seed=3)
    parts, folds = parts_of(volumes, split), folds_of(volumes, split)
    assert Counter(parts.values()) == {"train": 140, "valid": 20, "test": 40}
    rare = {one.patient for one in volumes if one.findings["rare"]}
    assert Counter(parts[whose] for whose in rare) == {"train": 7, "valid": 1, "test": 2}
    assert Counter(folds.values()) == dict.fromkeys(range(5), 40)
    assert Counter(folds[whose] for whose in rare) == dict.fromkeys(range(5), 2)
    assert parts_of(list(reversed(volumes)), split) == parts
    assert parts_of(volumes, replace(split, seed=4)) != parts
    with pytest.raises(DataError, match="stratify names heart; expected findings that a source tells: common, rare"):
        parts_of(volumes, replace(split, stratify=("heart",)))
    with pytest.raises(DataError, match="2 patients for 3 parts"):
        parts_of([listed("a"), listed("b")], split)


def test_measures_are_told_of_every_pair(chests, tmp_path):
    names = {"label_names": {10: "lung_left", 11: "lung_right", 51: "heart"}}
    common = {"shape": [24, 20], "mask": {"labels": "lung_*", "rule": "any", **names}}
    made_here(plan_of(chests, measures=True, common=common, images={"pa": {}}), tmp_path / "set")
    lines = [path.read_text().splitlines() for path in (tmp_path / "set").glob("*/pa/metadata.jsonl")]
    measures = [json.loads(json.loads(line)["record"])["measures"] for some in lines for line in some]
    assert len(measures) == 5
    for one in measures:
        assert 0.2 < one["cardiothoracic_ratio_3d"] < 0.8, one["not_measured"]
        assert one["lung_volume_left_ml"] == pytest.approx(4 / 3 * np.pi * 5.5 * 8 * 12, rel=0.1)


def test_ray_is_asked_for_where_it_is_not(chests, tmp_path, monkeypatch, nerp):
    monkeypatch.setitem(sys.modules, "ray", None)
    save_settings(plan_of(chests), tmp_path / "plan.yaml")
    code, out, err = nerp("factory", str(tmp_path / "plan.yaml"), "-o", str(tmp_path / "set"), "--ray", "auto")
    assert code == 2 and "--ray needs Ray, which is not installed; pip install nerp[ray]" in err


@pytest.mark.slow
def test_a_ray_cluster_writes_the_same_bytes(chests, whole, tmp_path):
    pytest.importorskip("ray", reason="Ray, of the extra ray, is not installed")
    save_settings(plan_of(chests), tmp_path / "plan.yaml")
    command = [sys.executable, "-m", "nerp", "factory", str(tmp_path / "plan.yaml"), "-o", str(tmp_path / "set")]
    subprocess.run([*command, "--ray", "local"], check=True, capture_output=True, timeout=600)
    assert bytes_of(tmp_path / "set") == bytes_of(whole[0])


def test_one_patient_under_two_names_in_two_parts_is_told():
    ct, _ = chest()
    noisy = ct.values + 40 * torch.randn(ct.values.shape, generator=torch.Generator().manual_seed(0))
    other = Volume(ct.values.flip(1), ct.affine, "hu")
    other.values[0, 4:9, 5:12] = 300.0
    turned = Volume(ct.values.permute(0, 2, 1, 3).contiguous(), ct.affine[:, [1, 0, 2, 3]], "hu")
    looks = np.stack([look_of(one) for one in (ct, Volume(noisy, ct.affine, "hu"), other, turned)])
    assert [(one, two) for one, two, _ in alike(looks, "abcd", ["x", "y", "y", "x"])] == [(0, 1), (1, 3)]
    assert not alike(looks, "aaba", ["x", "y", "y", "x"]) and not alike(looks, "abcd", "xxxx")


@pytest.mark.slow
def test_thirty_kills_at_random_moments_change_no_byte(chests, tmp_path):
    """Forty CTs, the driver or one of its workers killed, the command called again until it ends."""
    for folder in ("ct", "labels"):
        (tmp_path / folder).mkdir()
        values, affine = read_grid(chests / folder / "anna.nii.gz")
        for number in range(40):
            moved = affine.copy()
            moved[0, 3] += number
            write_grid(tmp_path / folder / f"{number}.nii.gz", values, moved)
    plan = plan_of(chests, sources={"mine": {"ct": str(tmp_path / "ct"), "labels": str(tmp_path / "labels")}})
    save_settings(plan, tmp_path / "plan.yaml")
    made_here(plan, tmp_path / "whole")
    command = [sys.executable, "-m", "nerp", "factory", str(tmp_path / "plan.yaml"), "-o", str(tmp_path / "set")]
    chance, kills, process = random.Random(1), 0, None
    while kills < 30:
        if process is None or process.poll() is not None:
            assert process is None or process.returncode in (0, -signal.SIGKILL)
            process = subprocess.Popen(
                [*command, "--workers", "2"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
        time.sleep(6 * chance.random())
        victims = [process.pid] if chance.random() < 0.5 else workers_of(process.pid)[:1]
        for victim in victims:
            with suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
                kills += 1
        if victims == [process.pid]:
            process.wait()
    process.wait()
    subprocess.run(command, check=True, capture_output=True, timeout=600)
    assert bytes_of(tmp_path / "set") == bytes_of(tmp_path / "whole")
