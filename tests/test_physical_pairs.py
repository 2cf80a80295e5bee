"""Mode physics and objects, from commands to files: every setting shows, every pair comes back."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from small_chests import changed, contents, write_chests

from nerp.data.images import read_grey
from nerp.data.pairs import read_records
from nerp.physics.settings import Physics
from nerp.synthesis import render, replay, synthesize
from nerp.synthesis.chance import ObjectSettings


@pytest.fixture(scope="module")
def chests(tmp_path_factory) -> tuple[Path, Path]:
    return write_chests(tmp_path_factory.mktemp("chests"), names=("anna",))


NAMES = {10: "lung_left", 11: "lung_right", 51: "heart"}
SETTINGS = changed(
    mode="physics",
    views=2,
    shape=(40, 36),
    label_names=NAMES,
    physics=Physics(density_spread=0.1),
    objects=ObjectSettings(kinds=("pacemaker",), scene="standing", samples=2),
)


@pytest.fixture(scope="module")
def pairs(chests, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("physics") / "pairs"
    synthesize(*chests, out=out, settings=SETTINGS)
    return out


def test_records_tell_how_a_radiograph_was_made(pairs):
    first, second = read_records(pairs / "metadata.jsonl")
    assert first.mode == "physics" and first.display["name"] == "film"
    assert first.physics["beam"] == {"kvp": 120.0, "aluminium_mm": 2.5, "copper_mm": 0.0}
    assert first.physics["label_names"] == {str(value): name for value, name in NAMES.items()}
    assert set(first.physics["density_scales"]) == {*NAMES.values(), "rest"}
    assert first.physics["density_scales"] != second.physics["density_scales"]
    assert first.physics["noise_seed"] != second.physics["noise_seed"]
    assert "pacemaker" in [one["kind"] for one in first.objects]


def test_each_object_has_its_mask(pairs):
    for record in read_records(pairs / "metadata.jsonl"):
        assert record.objects
        for one in record.objects:
            mask = read_grey(pairs / one["file_name"])
            assert one["file_name"].startswith(f"objects/{record.id}/")
            assert set(np.unique(mask)) == {0.0, 1.0}
            assert one["fraction"] == pytest.approx(mask.mean(), abs=1e-9) and one["fraction"] > 0


@pytest.mark.parametrize("index", [0, 1])
def test_every_physical_pair_comes_back(pairs, chests, tmp_path, index):
    told = replay(pairs / "metadata.jsonl", index, ct=chests[0], labels=chests[1], out=tmp_path)
    assert told["identical"], told
    record = read_records(pairs / "metadata.jsonl")[index]
    assert (tmp_path / "image.png").read_bytes() == (pairs / record.file_name).read_bytes()
    assert len(list(tmp_path.glob("object_*.png"))) == len(record.objects)


def test_a_set_that_lost_files_is_completed(pairs, chests, tmp_path):
    import shutil

    shutil.copytree(pairs, tmp_path / "pairs")
    before = contents(tmp_path / "pairs")
    record = read_records(pairs / "metadata.jsonl")[0]
    (tmp_path / "pairs" / record.objects[0]["file_name"]).unlink()
    synthesize(*chests, out=tmp_path / "pairs", settings=SETTINGS)
    assert contents(tmp_path / "pairs") == before


def test_objects_lie_in_drrs_too(chests, tmp_path):
    ct, settings = chests[0] / "anna.nii.gz", changed(shape=(60, 50))
    bare = render(ct, out=tmp_path / "bare", settings=settings)
    shown = render(ct, out=tmp_path / "shown", settings=replace(settings, objects=ObjectSettings(kinds=("pacemaker",))))
    assert not bare.objects and shown.camera == bare.camera
    before, after = (np.load(tmp_path / name / "image.npy") for name in ("bare", "shown"))
    masks = [read_grey(tmp_path / "shown" / one["file_name"]) > 0 for one in shown.objects]
    inside = np.any(masks, axis=0)
    assert (after[inside] > before[inside]).all()
    assert (after[~inside] == before[~inside]).all()
    told = replay(tmp_path / "shown" / "record.json", ct=ct, out=tmp_path / "again")
    assert told["identical"]


CHANGES = [
    "beam.kvp=80",
    "beam.aluminium_mm=10",
    "beam.copper_mm=0.3",
    "detector.dose_mgy=0.01",
    "detector.csi_um=200",
    "detector.packing=0.5",
    "detector.swank=0.4",
    "detector.mtf_half_per_mm=0.1",
    "detector.readout_photons=900",
    "detector.line_photons=500",
    "detector.panel_pixel_mm=0.02",
    "detector.saturation_ugy=1.5",
    "detector.bad_pixels=0.1",
    "film.latitude=0.3",
    "film.detail=6",
    "film.faint=0.001",
    "film.compression=0.3",
    "film.region_mm=500",
    "film.window=[0.2,0.8]",
    "film.levels=[0.3,0.5]",
    "film.gamma=2",
    "film.sigmoid=1",
    "film.open_signal=0.05",
    "film.border_mm=40",
    "film.marker=L",
    "physics.noise=false",
    "physics.voxel_blur=false",
    "physics.effective_kev=100",
    "objects.scene=bedside",
    "objects.kinds=[necklace]",
]
NO_PICTURE = ["physics.inverse_square=false", "physics.heel=true"]
"""What changes the noise alone, as the flat field is divided out."""


WITHOUT_SCATTER = "physics.scatter=none"
"""Most settings are told apart without it, in a fraction of the time."""


@pytest.fixture(scope="module")
def usual(chests, nerp_here, tmp_path_factory) -> np.ndarray:
    return image_of(nerp_here, chests, tmp_path_factory.mktemp("usual") / "out")


@pytest.fixture(scope="module")
def unscattered(chests, nerp_here, tmp_path_factory) -> np.ndarray:
    return image_of(nerp_here, chests, tmp_path_factory.mktemp("unscattered") / "out", WITHOUT_SCATTER)


@pytest.fixture(scope="module")
def nerp_here():
    from nerp.cli import main

    return lambda *arguments: main([str(argument) for argument in arguments])


def image_of(nerp, chests, out: Path, *stated: str) -> np.ndarray:
    ct = chests[0] / "anna.nii.gz"
    assert nerp("render", ct, "--mode", "physics", "--shape", "48", "--seed", "3", "-o", out, *stated) == 0
    return read_grey(out / "image.png")


@pytest.mark.parametrize("change", [*CHANGES, *NO_PICTURE])
def test_every_setting_changes_the_picture(nerp_here, chests, unscattered, tmp_path, change):
    changed_image = image_of(nerp_here, chests, tmp_path / "out", WITHOUT_SCATTER, change)
    assert not np.array_equal(changed_image, unscattered)


@pytest.mark.parametrize("change", [WITHOUT_SCATTER, "physics.grid=none", "physics.extended_mm=0"])
def test_what_is_of_scatter_change_the_picture(nerp_here, chests, usual, tmp_path, change):
    assert not np.array_equal(image_of(nerp_here, chests, tmp_path / "out", change), usual)


def test_a_chest_without_a_table_stays_as_it_is(nerp_here, chests, usual, tmp_path):
    assert np.array_equal(image_of(nerp_here, chests, tmp_path / "out", "physics.table_removed=false"), usual)


def test_settings_of_sets(nerp_here, chests, tmp_path):
    """`objects.fraction=0` draws none, and `objects.samples=1` gives wires another weight."""
    ct, labels = chests
    common = ("--ct", ct, "--labels", labels, "--mask", "10,11", "--mode", "physics", "views=2", "shape=[40,36]")
    names = [f"mask.label_names.{value}={name}" for value, name in NAMES.items()]
    made = {
        "none": ("--objects", "standing", "objects.fraction=0", "--density-spread", "0.2", *names),
        "one": ("--objects", "bedside", "objects.samples=1", "--kvp", "100", "--grid", "none"),
        "two": ("--objects", "bedside", "objects.samples=3", "physics.density_spread=0.0", "beam.kvp=100"),
    }
    for name, options in made.items():
        assert nerp_here("synthesize", *common, *options, "-o", tmp_path / name) == 0
    records = {name: read_records(tmp_path / name / "metadata.jsonl") for name in made}
    assert not any(record.objects for record in records["none"])
    assert records["none"][0].physics["density_scales"] and not records["one"][0].physics["density_scales"]
    assert records["one"][0].physics["physics"]["grid"] == "none"
    assert records["one"][0].physics["object_samples"] == 1
    assert records["one"][0].objects[0]["parts"] == records["two"][0].objects[0]["parts"]


def test_a_film_goes_to_dicom(nerp_here, chests, tmp_path):
    image = image_of(nerp_here, chests, tmp_path / "out", "--dicom")
    header = pydicom.dcmread(tmp_path / "out" / "image.dcm")
    assert float(header.GridFocalDistance) == pytest.approx(1800)
    assert header.Modality == "DX" and header.KVP == 120 and header.ImageType[0] == "DERIVED"
    assert not header.PatientName and (header.Rows, header.Columns) == (48, 48)
    stored = header.pixel_array / (2**header.BitsStored - 1)
    assert np.abs(stored - image).max() < 1 / 255
    image_of(nerp_here, chests, tmp_path / "out")
    assert not (tmp_path / "out" / "image.dcm").exists()


@pytest.mark.parametrize(
    ("stated", "words"),
    [
        (("--kvp", "300"), "beam.kvp is 300; expected a number from 40 to 150"),
        (("beam.aluminium_mm=0",), "beam.aluminium_mm is 0; expected a number from 1 to 40"),
        (("detector.dose_mgy=0",), "detector.dose_mgy is 0"),
        (("--grid", "cotton"), "physics.grid is 'cotton'"),
        (("--objects", "hat"), "objects.kinds holds 'hat'; expected some of"),
        (("film.marker=Q",), "film.marker is 'Q'"),
    ],
)
def test_bad_settings_get_one_line(nerp, chests, tmp_path, stated, words):
    ct = chests[0] / "anna.nii.gz"
    code, _, err = nerp("render", ct, "--mode", "physics", "-o", tmp_path / "out", *stated)
    assert code == 2 and words in err and err.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("stated", [("--kvp", "80"), ("film.gamma=2",), ("--grid", "none")])
def test_what_is_stated_for_physics_is_not_passed_over(nerp, chests, tmp_path, stated):
    code, _, err = nerp("render", chests[0] / "anna.nii.gz", "-o", tmp_path / "out", *stated)
    assert code == 2 and "is stated for mode physics, but mode is drr; add --mode physics" in err


def test_doubtful_exposures_are_told(nerp, chests, tmp_path, caplog):
    """A dose that no panel holds; densities of structures that nothing labels."""
    ct = chests[0] / "anna.nii.gz"
    stated = ("--mode", "physics", "--shape", "24", "detector.dose_mgy=50", "physics.density_spread=0.1")
    assert nerp("render", ct, "-o", tmp_path / "out", *stated)[0] == 0
    told = caplog.text
    assert "the panel saturates behind the body on" in told and "there are no labels; give --labels" in told
