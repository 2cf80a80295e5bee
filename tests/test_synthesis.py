"""Pairs from CTs: right, repeatable, independent of order and interruption, and free of names."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from dicom_series import NAME
from small_chests import (
    HEART,
    SETTINGS,
    SPACING_MM,
    changed,
    chest,
    contents,
    write_chests,
    write_series,
)

from nerp.camera import Camera, chest_camera
from nerp.config import save_settings
from nerp.data.pairs import read_pair, read_records
from nerp.errors import CheckpointError, DataError, GeometryError, UsageError
from nerp.files import sha256
from nerp.projection import MaskRule
from nerp.synthesis import MaskSettings, Synthesiser, load_generator, render, synthesize
from nerp.synthesis.config import SynthesisConfig, load_image_config
from nerp.synthesis.coverage import label_points, outside_fraction
from nerp.synthesis.environment import repeatable
from nerp.synthesis.matching import cases
from nerp.training.config import load_config
from nerp.volume import Volume, read_volume, write_volume


def test_a_set_holds_every_pair_its_record_and_what_it_is(chests, tmp_path):
    told = []
    settings = changed(label_names={10: "lung_right", 11: "lung_left"})
    dataset = synthesize(
        *chests, out=tmp_path / "pairs", settings=settings, progress=lambda done, total: told.append((done, total))
    )
    records = read_records(tmp_path / "pairs" / "metadata.jsonl")
    assert told == [(done, 6) for done in range(7)]
    assert dataset["counts"] == {"pairs": 6, "cts": 2}
    assert dataset["label_names"]["mask"] == {"10": "lung_right", "11": "lung_left"}
    assert dataset == json.loads((tmp_path / "pairs" / "dataset.json").read_bytes())
    assert len({record.id for record in records}) == 6
    assert [record.view_index for record in records] == [0, 1, 2, 0, 1, 2]
    for record in records:
        image, mask = read_pair(tmp_path / "pairs", record)
        assert image.shape == mask.shape == (24, 20)
        assert image.min() == 0
        assert image.max() == 255
        assert record.mask_fraction == pytest.approx(mask.mean())
        assert 0.1 < mask.mean() < 0.6


def test_a_record_says_how_its_pair_was_made(chests, tmp_path):
    synthesize(*chests, out=tmp_path / "pairs", settings=SETTINGS)
    record = read_records(tmp_path / "pairs" / "metadata.jsonl")[0]
    case = cases(*chests)[0]
    assert next(iter(record.to_dict())) == "file_name"
    assert record.file_name == f"images/{case.ct.sha256[:12]}_000.png"
    assert (record.ct_sha256, record.labels_sha256) == (case.ct.sha256, case.labels.sha256)
    assert (record.mode, record.view, record.seed) == ("drr", "pa", 0)
    assert record.rule == {"name": "thickness", "thickness_mm": 10.0}
    assert record.mask_labels == [10, 11]
    assert record.display["name"] == "percentile"
    assert record.backend in ("reference", "cpu")
    assert record.threads == torch.get_num_threads()
    assert record.torch == torch.__version__
    assert record.ct_shape == [26, 18, 26]
    assert record.ct_spacing_mm == pytest.approx([SPACING_MM] * 3)
    assert record.image_sha256 == sha256(tmp_path / "pairs" / record.file_name)
    assert record.mask_sha256 == sha256(tmp_path / "pairs" / record.mask_file_name)
    assert record.camera == Camera.from_dict(record.camera).to_dict()
    assert record.camera["shape"] == [24, 20]


def test_a_pair_does_not_depend_on_what_else_is_made(chests, tmp_path):
    synthesize(*chests, out=tmp_path / "both", settings=SETTINGS)
    synthesize(chests[0] / "bert.nii.gz", chests[1], out=tmp_path / "one", settings=SETTINGS)
    both, one = contents(tmp_path / "both"), contents(tmp_path / "one")
    pngs = [name for name in one if name.endswith(".png")]
    assert len(pngs) == 6
    assert all(one[name] == both[name] for name in pngs)
    lines = both["metadata.jsonl"].splitlines()
    assert all(line in lines for line in one["metadata.jsonl"].splitlines())


def test_another_seed_draws_other_cameras(chests, tmp_path):
    cameras = []
    for seed in (0, 1):
        out = tmp_path / str(seed)
        synthesize(chests[0] / "anna.nii.gz", chests[1], out=out, settings=changed(seed=seed))
        cameras += [record.camera["source"] for record in read_records(out / "metadata.jsonl")]
    assert len({json.dumps(camera) for camera in cameras}) == 6


def test_image_and_mask_come_from_the_same_rays():
    """Where nothing but the label attenuates, the mask is where the image is not dark; one voxel's shift breaks it."""
    ct, labels = chest()
    lungs = (labels.values == 10) | (labels.values == 11)
    dense = Volume(torch.where(lungs, 0.0, -1000.0), ct.affine, "hu")
    camera = chest_camera(ct, shape=(48, 40))
    settings = changed(rule=MaskRule("any"))

    def agrees(label_values):
        pair = Synthesiser(dense, Volume(label_values, ct.affine, "label"), settings=settings).pair(camera)
        return np.array_equal(pair.raw > 0, pair.mask > 0)

    assert agrees(labels.values)
    assert not agrees(labels.values.roll(1, dims=1))


def test_the_mask_is_the_union_of_its_labels():
    ct, labels = chest()
    camera = chest_camera(ct, shape=(24, 20))

    def mask(*values):
        settings = changed(mask_labels=values, rule=MaskRule("any"))
        return Synthesiser(ct, labels, settings=settings).pair(camera).mask > 0

    assert np.array_equal(mask(10, 11), mask(10) | mask(11))
    assert mask(10).any()
    assert not (mask(10) & mask(11)).all()


def test_the_visible_field_leaves_out_what_the_named_labels_hide():
    ct, labels = chest()
    camera = chest_camera(ct, shape=(48, 40))

    def field(names):
        settings = changed(rule=MaskRule("visible", {"obscured_per_lung": 0.0}), label_names=names)
        pair = Synthesiser(ct, labels, settings=settings).pair(camera)
        return pair.mask > 0, pair.record.obscuring_labels

    (unnamed, none), (named, hiding) = field({}), field({HEART: "heart", 10: "lung_right"})
    assert none == []
    assert hiding == [HEART]
    assert named.sum() <= unnamed.sum()
    assert named.any()


def test_a_synthesiser_renders_without_labels():
    ct, _ = chest()
    pair = Synthesiser(ct, settings=SETTINGS).pair(chest_camera(ct, shape=(24, 20)))
    assert pair.mask is None
    assert pair.record.mask_sha256 is None
    assert pair.raw.dtype == np.float32
    assert pair.image.shape == pair.raw.shape == (24, 20)


def test_labels_of_another_grid_are_refused():
    ct, labels = chest()
    with pytest.raises(GeometryError, match="another grid than the CT's"):
        Synthesiser(ct, Volume(labels.values[:, 1:], labels.affine, "label"), settings=SETTINGS)


def test_the_share_cut_off_by_the_border_is_that_of_the_points_beyond_the_detector():
    camera = Camera(
        source=torch.tensor([[0.0, -1000.0, 0.0]]),
        detector_centre=torch.tensor([[0.0, 0.0, 0.0]]),
        image_right=torch.tensor([[-1.0, 0.0, 0.0]]),
        image_down=torch.tensor([[0.0, 0.0, -1.0]]),
        shape=(10, 20),
        pixel_mm=(10.0, 10.0),
    ).to(torch.float64)
    points = torch.tensor([[0, 0, 0], [99, 0, 0], [101, 0, 0], [0, 0, 49], [0, 0, 51], [60, -500, 0]])
    assert outside_fraction(points.double(), camera) == pytest.approx(3 / 6)
    assert outside_fraction(points[:0].double(), camera) is None


def test_labelled_points_are_thinned_evenly_and_placed_in_the_world():
    _, labels = chest()
    every, some = label_points(labels, (10,)), label_points(labels, (10,), limit=50)
    assert 25 <= len(some) <= 50 < len(every)
    assert torch.allclose(every.mean(0), torch.tensor([75.0, 0.0, 0.0], dtype=torch.float64), atol=7.0)


def test_threads_are_set_while_rendering_and_restored():
    before = torch.get_num_threads()
    with pytest.raises(RuntimeError), repeatable(before + 1):
        assert torch.get_num_threads() == before + 1
        raise RuntimeError
    assert torch.get_num_threads() == before


KILLED = """
import os, signal, sys
import nibabel, scipy.ndimage  # once, for all the children
sys.path.insert(0, sys.argv[1])
from small_chests import SETTINGS
from nerp.synthesis import synthesize

def progress(done, total):
    if done == stop:
        os.kill(os.getpid(), signal.SIGKILL)

for stop in (0, 1, 2, 2, 3, 5):
    child = os.fork()
    if child == 0:
        synthesize(sys.argv[2], sys.argv[3], out=sys.argv[4], settings=SETTINGS, progress=progress)
        os._exit(0)
    print(os.waitpid(child, 0)[1], flush=True)
"""


def test_killed_and_run_again_it_ends_as_if_never_killed(chests, tmp_path):
    here = Path(__file__).parent
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", KILLED, here, *chests, tmp_path / "killed"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(here.parent), "OMP_NUM_THREADS": "1"},
        timeout=300,
    )
    assert done.stdout.split() == ["9"] * 6, done.stderr
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert len(read_records(tmp_path / "killed" / "metadata.jsonl")) == 5
        with open(tmp_path / "killed" / "metadata.jsonl", "ab") as file:
            file.write(b'{"file_name": "ima')
        synthesize(*chests, out=tmp_path / "killed", settings=SETTINGS)
        synthesize(*chests, out=tmp_path / "whole", settings=SETTINGS)
    finally:
        torch.set_num_threads(threads)
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_run_again_it_redoes_nothing(chests, tmp_path):
    synthesize(*chests, out=tmp_path / "pairs", settings=SETTINGS)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "pairs").rglob("*.png")}
    told = []
    synthesize(*chests, out=tmp_path / "pairs", settings=SETTINGS, progress=lambda *counts: told.append(counts))
    assert told == [(6, 6)]
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "pairs").rglob("*.png")} == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 7}, "seed is 0 there, 7 here"),
        ({"views": 4}, "views is 3 there, 4 here"),
        ({"rule": MaskRule("any")}, "mask.rule is {'name': 'thickness'"),
        ({"mask_labels": (10,)}, r"mask.labels is \[10, 11\] there, \[10\] here"),
        ({"yaw_deg": (-1.0, 1.0)}, r"camera.yaw_deg is \[-10.0, 10.0\] there, \[-1.0, 1.0\] here"),
    ],
)
def test_other_settings_are_refused_and_nothing_is_lost(chests, tmp_path_factory, change, message):
    out = tmp_path_factory.getbasetemp() / "refused"
    synthesize(*chests, out=out, settings=SETTINGS)
    before = contents(out)
    with pytest.raises(DataError, match=message):
        synthesize(*chests, out=out, settings=changed(**change))
    assert contents(out) == before


def test_changed_labels_are_refused_and_more_cts_welcome(tmp_path):
    ct, labels = write_chests(tmp_path / "in", names=("anna",))
    synthesize(ct, labels, out=tmp_path / "pairs", settings=SETTINGS)
    write_chests(tmp_path / "in", names=("anna", "bert"))
    assert synthesize(ct, labels, out=tmp_path / "pairs", settings=SETTINGS)["counts"] == {"pairs": 6, "cts": 2}
    write_volume(labels / "anna.nii.gz", chest(60.0)[1])
    with pytest.raises(DataError, match=r"anna\.nii\.gz is not what pair .* was made from"):
        synthesize(ct, labels, out=tmp_path / "pairs", settings=SETTINGS)


def test_labels_without_the_masks_values_are_refused_and_leave_nothing(chests, tmp_path):
    with pytest.raises(DataError, match="the labels hold 10, 11, 51 and none of the mask's 1, 2"):
        synthesize(*chests, out=tmp_path / "pairs", settings=changed(mask_labels=(1, 2)))
    assert not list(tmp_path.iterdir())


def test_masks_empty_on_every_view_are_refused_unless_allowed(chests, tmp_path):
    settings = changed(rule=MaskRule("thickness", {"thickness_mm": 5000.0}))
    with pytest.raises(DataError, match="the mask is empty on all 3 views"):
        synthesize(*chests, out=tmp_path / "pairs", settings=settings)
    assert not list(tmp_path.iterdir())
    dataset = synthesize(*chests, out=tmp_path / "pairs", settings=replace(settings, allow_empty=True))
    assert dataset["quality"]["empty_masks"] == 6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mode": "xray"}, "mode is 'xray'; expected one of drr, physics, vrr, emission, itk"),
        ({"views": 0}, "views is 0; expected a number of at least 1"),
        ({"seed": -1}, "seed is -1; expected a number of at least 0"),
        ({"mask_labels": ()}, "no mask is chosen"),
        ({"mask_labels": (10, 10)}, "expected distinct label values"),
        ({"mask_labels": (0,)}, "expected distinct label values"),
        ({"rule": MaskRule("rendered")}, "'rendered' needs the fields of mode vrr"),
        ({"device": "tpu"}, "device is 'tpu'; expected one of auto, cpu, cuda"),
    ],
)
def test_settings_that_cannot_be_are_refused(chests, tmp_path, change, message):
    with pytest.raises(UsageError, match=message):
        synthesize(*chests, out=tmp_path / "pairs", settings=changed(**change))
    assert not list(tmp_path.iterdir())


def test_without_a_choice_the_mask_is_what_the_names_call_lungs():
    names = {10: "lung_right", 11: "lung_left", HEART: "heart"}
    assert MaskSettings(label_names=names).labels == (10, 11)
    assert MaskSettings().labels == ()


def test_only_the_oblique_view_turns():
    assert changed(view="pa", angle_deg=20.0).as_json() == changed(view="pa", angle_deg=0.0).as_json()
    assert changed(view="oblique", angle_deg=20.0).as_json()["camera"]["angle_deg"] == 20.0


def test_a_run_brings_its_shape_and_cameras(run):
    config = load_config(run / "config.yaml", ["camera.yaw_deg=[-1,2]"])
    save_settings(config, run / "config.yaml")
    own = load_image_config(SynthesisConfig, None, ["views=2"], {"run": str(run)})
    assert own.set_settings().shape == (24, 20)
    assert own.camera.yaw_deg == (-1.0, 2.0)
    assert own.set_settings().mode == "vrr"
    other = load_image_config(SynthesisConfig, None, ["camera.yaw_deg=[0,1]"], {"run": str(run), "shape": [8, 9]})
    assert (other.camera.yaw_deg, other.set_settings().shape) == ((0.0, 1.0), (8, 9))


def test_a_run_is_asked_for_where_needed_and_refused_elsewhere(chests, run, tmp_path):
    with pytest.raises(UsageError, match="mode vrr needs a trained run"):
        synthesize(*chests, out=tmp_path / "pairs", settings=changed(mode="vrr"))
    with pytest.raises(UsageError, match="mode drr uses no trained run"):
        synthesize(*chests, out=tmp_path / "pairs", settings=SETTINGS, run=run)
    with pytest.raises(CheckpointError, match="holds no config.yaml"):
        synthesize(*chests, out=tmp_path / "pairs", settings=changed(mode="vrr"), run=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("rule", ["thickness", "rendered"])
def test_a_trained_run_makes_pairs_of_the_same_form(chests, run, tmp_path, rule):
    settings = changed(mode="vrr", views=1, rule=MaskRule(rule))
    dataset = synthesize(*chests, out=tmp_path / "pairs", settings=settings, run=run)
    records = read_records(tmp_path / "pairs" / "metadata.jsonl")
    assert dataset["settings"]["weights_sha256"] == records[0].weights_sha256
    assert records[0].weights_sha256 == sha256(run / "generator.safetensors") == load_generator(run).weights_sha256
    image, mask = read_pair(tmp_path / "pairs", records[0])
    assert image.std() > 10
    assert 0.02 < mask.mean() < 0.7


def test_no_name_and_no_path_reaches_any_output(tmp_path):
    """A NIfTI whose header, file name and folder tell of a patient."""
    import nibabel

    source = tmp_path / "Jane_Doe_19700101"
    ct, labels = write_chests(source, names=("Doe^Jane",))
    for path in (ct / "Doe^Jane.nii.gz", labels / "Doe^Jane.nii.gz"):
        image = nibabel.load(path)
        image.header["descrip"] = NAME.encode()
        image.header["aux_file"] = b"Jane 19700101"
        nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj), image.affine, image.header), path)
    assert_nothing_told(ct / "Doe^Jane.nii.gz", labels / "Doe^Jane.nii.gz", tmp_path / "out")


def test_no_dicom_field_reaches_any_output(tmp_path):
    source = tmp_path / "Jane_Doe_19700101"
    labels = write_chests(source, names=("Doe^Jane",))[1]
    write_series(source / "series", read_volume(source / "ct" / "Doe^Jane.nii.gz"))
    assert_nothing_told(source / "series", labels / "Doe^Jane.nii.gz", tmp_path / "out")


def assert_nothing_told(ct: Path, labels: Path, out: Path):
    from nerp.report import write_report

    synthesize(ct, labels, out=out / "pairs", settings=changed(views=1))
    render(ct, labels=labels, out=out / "one", settings=SETTINGS)
    write_report(out / "pairs")
    outputs = contents(out)
    assert len(outputs) == 6 + 5
    for name, data in outputs.items():
        for secret in (b"Doe", b"Jane", b"19700101", b"secret", b"1.2.826.0.1", str(ct.parent).encode()):
            assert secret not in data, name
            assert secret.decode() not in name
