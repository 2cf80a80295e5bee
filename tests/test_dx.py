"""Synthetic radiographs in DICOM: what the header says, what a viewer shows, and what the standard's checker finds."""

import re
import shutil
import subprocess

import numpy as np
import pytest
import torch
from pydicom import dcmread
from pydicom.pixels import apply_windowing

from nerp.camera import Camera, chest_camera
from nerp.data.images import read_grey
from nerp.data.radiographs import check_radiograph, read_radiograph
from nerp.dicom.acquisition import VIEWS, Acquisition, patient_direction, view_of
from nerp.dicom.encoding import unique_identifier
from nerp.dicom.writing import BITS, FULL_SIGNAL, POLARITIES, Origin, write_dx, write_raw_dx
from nerp.errors import DataError, GeometryError, UsageError
from nerp.phantom import thorax
from nerp.physics.acquisition import acquisition_of, exposure_mas
from nerp.physics.beam import Beam, spectrum
from nerp.physics.detector import Detector
from nerp.physics.dose import air_kerma_ugy
from nerp.physics.film import collimator

HALF, MOST = 0.5, 3**0.5 / 2
SIDES = {  # beam, image_right
    "PA": ((0, 1, 0), (-1, 0, 0)),
    "AP": ((0, -1, 0), (-1, 0, 0)),
    "LL": ((-1, 0, 0), (0, -1, 0)),
    "RL": ((1, 0, 0), (0, -1, 0)),
    "LAO": ((-HALF, MOST, 0), (-MOST, -HALF, 0)),
    "RAO": ((HALF, MOST, 0), (-MOST, HALF, 0)),
    "LPO": ((-HALF, -MOST, 0), (-MOST, HALF, 0)),
    "RPO": ((HALF, -MOST, 0), (-MOST, -HALF, 0)),
}
EXPOSED = {
    "source_detector_mm": 1800.0,
    "source_object_mm": 1600.0,
    "kvp": 120.0,
    "aluminium_mm": 2.5,
    "copper_mm": 0.1,
    "half_value_layer_mm": 5.0,
    "entrance_dose_mgy": 0.15,
    "exposure_mas": 3.6,
    "grid_ratio": 12.0,
    "grid_pitch_mm": 0.25,
    "grid_focus_mm": 1800.0,
    "grid_interspace": "ALUMINUM",
    "collimated": (3, 45, 4, 58),
    "detector": "caesium iodide",
}
ORIGIN = Origin("a CT", "a record", "nerp 0.1.0", note="Beam of 120 kVp.")
CHECKER = shutil.which("dciodvfy")
ALLOWED = re.compile(r"Warning - Missing attribute or value that would be needed to build DICOMDIR - Study (Date|Time)")


def taken(view: str = "PA", **known) -> Acquisition:
    beam, right = SIDES[view]
    return Acquisition(beam, right, (0, 0, -1), (0.4, 0.4), **(known or EXPOSED))


def image(rows: int = 61, columns: int = 47) -> np.ndarray:
    """A disc on a ramp, 0.05 to 0.95, unlike its mirror images; both sides odd."""
    y, x = np.mgrid[:rows, :columns] / max(rows, columns)
    return 0.05 + 0.35 * x + 0.2 * y + 0.35 * ((x - 0.3) ** 2 + (y - 0.4) ** 2 < 0.03)


def written(path, **options):
    given = {"acquisition": taken(), "origin": ORIGIN, **options}
    write_dx(path, given.pop("image", image()), **given)
    return path


@pytest.mark.parametrize("polarity", POLARITIES)
@pytest.mark.parametrize("bits", BITS)
def test_our_reader_shows_the_same_image_within_half_a_step(tmp_path, bits, polarity):
    path = written(tmp_path / "a.dcm", bits=bits, polarity=polarity)
    check_radiograph(path)
    assert abs(read_grey(path) - image()).max() <= 0.5 / (2**bits - 1) + 1e-6


@pytest.mark.parametrize("polarity", POLARITIES)
@pytest.mark.parametrize("bits", BITS)
def test_another_viewer_shows_the_same_image(tmp_path, bits, polarity):
    """By pydicom's window and the photometric interpretation, as a viewer applies them."""
    file = dcmread(written(tmp_path / "a.dcm", bits=bits, polarity=polarity))
    shown = apply_windowing(file.pixel_array, file) / (2**bits - 1)
    shown = 1 - shown if file.PhotometricInterpretation == "MONOCHROME1" else shown
    assert file.PresentationLUTShape == {"MONOCHROME2": "IDENTITY", "MONOCHROME1": "INVERSE"}[polarity]
    assert shown == pytest.approx(image(), abs=0.5 / (2**bits - 1) + 1e-6)


def test_black_and_white_are_the_ends_of_the_bits(tmp_path):
    ends = np.array([[0.0, 1.0, 0.5], [0.5, 1.0 + 1e-6, -1e-6]])
    for polarity, black in (("MONOCHROME2", 0), ("MONOCHROME1", 4095)):
        stored = dcmread(written(tmp_path / "a.dcm", image=ends, polarity=polarity)).pixel_array
        assert stored[0, 0] == stored[1, 2] == black and stored[0, 1] == stored[1, 1] == 4095 - black


@pytest.mark.parametrize("bits", [12, 14, 16])
def test_what_is_for_processing_comes_back_as_attenuation(tmp_path, bits):
    density = 3 * image()
    write_raw_dx(tmp_path / "a.dcm", np.exp(-density), acquisition=taken(), origin=ORIGIN, bits=bits)
    top = 2**bits - 1
    found = read_grey(tmp_path / "a.dcm") * np.log(top) - np.log(FULL_SIGNAL)
    assert found == pytest.approx(density, abs=FULL_SIGNAL / top / np.exp(-density.max()))


def test_a_raw_file_says_what_the_open_field_is(tmp_path):
    write_raw_dx(tmp_path / "a.dcm", np.ones((4, 4)) * [1, 1, 1, 0], acquisition=taken(), origin=ORIGIN)
    file = dcmread(tmp_path / "a.dcm")
    assert f"The open field is {file.pixel_array[0, 0]}." in file.DerivationDescription
    assert file.PixelIntensityRelationship == "LIN" and file.PixelIntensityRelationshipSign == 1
    assert file.PresentationIntentType == "FOR PROCESSING" and "WindowCenter" not in file


def test_a_saturated_signal_is_warned_of(tmp_path, caplog):
    signal = np.exp(-image())
    write_raw_dx(tmp_path / "a.dcm", signal, acquisition=taken(), origin=ORIGIN)
    assert not caplog.text
    signal[:6] = 2.0
    write_raw_dx(tmp_path / "a.dcm", signal, acquisition=taken(), origin=ORIGIN)
    assert "9.8 % of the signal is beyond 1.25 of the open field, and saturated" in caplog.text
    assert dcmread(tmp_path / "a.dcm").pixel_array[0, 0] == 2**14 - 1


@pytest.mark.parametrize("view", SIDES)
def test_a_view_is_named_by_the_side_at_the_detector(tmp_path, view):
    file = dcmread(written(tmp_path / "a.dcm", acquisition=taken(view)))
    code, scheme, meaning = VIEWS[view]
    item = file.ViewCodeSequence[0]
    assert (item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning) == (code, scheme, meaning)
    assert file.get("ViewPosition", "") == (view if len(view) == 2 else "")
    assert file.PatientOrientation[1] == "F"


def test_a_beam_a_little_turned_keeps_its_name():
    assert view_of((-0.3, 0.95, 0.1)) == "PA" and view_of((-0.4, 0.91, 0.0)) == "LAO"
    assert view_of((0.95, 0.3, 0.0)) == "RL" and view_of((0.0, -0.8, -0.6)) == "AP"


def test_directions_in_the_letters_of_the_patient():
    assert patient_direction((-1, 0, 0)) == "L" and patient_direction((0, 0, -1)) == "F"
    assert patient_direction((-MOST, -HALF, 0)) == "LP" and patient_direction((0.05, 0.3, 0.95)) == "HA"


def test_what_is_known_of_the_exposure_is_in_the_header(tmp_path):
    file = dcmread(written(tmp_path / "a.dcm"))
    assert (file.KVP, file.EntranceDoseInmGy, file.HalfValueLayer) == (120, 0.15, 5)
    assert (file.Exposure, file.ExposureInuAs) == (4, 3600)
    assert list(file.FilterMaterial) == ["ALUMINUM", "COPPER"] and file.FilterType == "MULTIPLE"
    assert list(file.FilterThicknessMinimum) == list(file.FilterThicknessMaximum) == [2.5, 0.1]
    assert list(file.Grid) == ["FIXED", "FOCUSED"] and list(file.GridAspectRatio) == [12, 1]
    assert file.GridPitch == 0.25 and file.GridFocalDistance == 1800 and file.GridSpacingMaterial == "ALUMINUM"
    assert file.DistanceSourceToDetector == 1800 and file.DistanceSourceToPatient == 1600
    assert file.EstimatedRadiographicMagnificationFactor == 1.125
    edges = (file.CollimatorLeftVerticalEdge, file.CollimatorRightVerticalEdge)
    assert (*edges, file.CollimatorUpperHorizontalEdge, file.CollimatorLowerHorizontalEdge) == (3, 45, 4, 58)
    assert list(file.ImagerPixelSpacing) == [0.4, 0.4] and file.BodyPartExamined == "CHEST"


def test_what_is_not_known_is_left_out(tmp_path):
    file = dcmread(written(tmp_path / "a.dcm", acquisition=taken(source_detector_mm=1800.0, grid_ratio=0.0)))
    for keyword in ("KVP", "Exposure", "EntranceDoseInmGy", "FilterType", "EstimatedRadiographicMagnificationFactor"):
        assert keyword not in file
    assert file.Grid == "NONE" and "GridAspectRatio" not in file


def test_it_names_nobody_and_says_that_it_is_synthetic(tmp_path):
    file = dcmread(written(tmp_path / "a.dcm"))
    told = [element for element in file if element.tag.group == 0x0010 and element.value]
    assert [element.keyword for element in told] == ["PatientID"]
    assert re.fullmatch("SYNTHETIC-[0-9a-f]{16}", file.PatientID) and not file.StudyDate
    assert list(file.ImageType) == ["DERIVED", "PRIMARY"] and file.BurnedInAnnotation == "NO"
    assert file.DerivationDescription.startswith("SYNTHETIC. Simulated from CT by nerp 0.1.0")
    assert "120 kVp" in file.DerivationDescription and "SYNTHETIC" in file.SeriesDescription


def test_the_same_radiograph_has_the_same_bytes_and_others_other_identifiers(tmp_path):
    first, again = written(tmp_path / "a.dcm"), written(tmp_path / "b.dcm")
    assert first.read_bytes() == again.read_bytes()
    sibling = dcmread(written(tmp_path / "c.dcm", origin=Origin("a CT", "another", "nerp 0.1.0")))
    stranger = dcmread(written(tmp_path / "d.dcm", origin=Origin("another", "a record", "nerp 0.1.0")))
    write_raw_dx(tmp_path / "e.dcm", image(), acquisition=taken(), origin=ORIGIN)
    own, raw = dcmread(first), dcmread(tmp_path / "e.dcm")
    assert sibling.PatientID == own.PatientID and sibling.StudyInstanceUID == own.StudyInstanceUID
    assert stranger.PatientID != own.PatientID and stranger.StudyInstanceUID != own.StudyInstanceUID
    assert len({file.SOPInstanceUID for file in (own, sibling, stranger, raw)}) == 4
    assert len({file.SeriesInstanceUID for file in (own, sibling, stranger, raw)}) == 4


def test_identifiers_are_valid():
    found = {unique_identifier("study", str(number)) for number in range(200)}
    assert len(found) == 200
    assert all(re.fullmatch(r"2\.25\.[1-9]\d{0,38}", name) and int(name[5:]) < 2**128 for name in found)


@pytest.mark.skipif(CHECKER is None, reason="dciodvfy is not installed (Debian's dicom3tools)")
@pytest.mark.parametrize("view", SIDES)
@pytest.mark.parametrize("kind", ["all", "nothing", "raw"])
def test_the_checker_of_the_standard_finds_nothing(tmp_path, view, kind):
    known = taken(view, source_detector_mm=1000.0) if kind == "nothing" else taken(view)
    if kind == "raw":
        write_raw_dx(tmp_path / "a.dcm", image(), acquisition=known, origin=ORIGIN)
        checked(tmp_path / "a.dcm")
        return
    for bits, polarity in ((8, "MONOCHROME2"), (12, "MONOCHROME1"), (16, "MONOCHROME2")):
        checked(written(tmp_path / "a.dcm", acquisition=known, bits=bits, polarity=polarity))


def checked(path) -> None:
    done = subprocess.run([CHECKER, str(path)], capture_output=True, text=True, timeout=60)
    lines = [line for line in (done.stdout + done.stderr).splitlines() if not ALLOWED.fullmatch(line.strip())]
    assert done.returncode == 0 and len(lines) == 1 and lines[0].startswith("DXImageFor"), lines


@pytest.fixture(scope="module")
def phantom():
    return thorax(0, spacing_mm=10.0).ct


def test_a_camera_a_beam_and_a_detector_make_a_header(tmp_path, phantom):
    names = {"pa": "PA", "ap": "AP", "lateral": "LL"}
    for name, view in names.items():
        camera = chest_camera(phantom, name, shape=(61, 47))
        beam = Beam() if name == "pa" else Beam(copper_mm=0.2)
        known = acquisition_of(camera, beam=beam, detector=Detector(), entrance_mm=1500.0)
        assert known.view == view and known.source_detector_mm == pytest.approx(1000.0 if name == "ap" else 1800.0)
        assert known.pixel_mm == tuple(camera.pixel_mm[0].tolist())
        path = written(tmp_path / f"{name}.dcm", acquisition=known)
        assert list(dcmread(path).PatientOrientation) == (["P", "F"] if name == "lateral" else ["L", "F"])
        if CHECKER:
            checked(path)
    turned = chest_camera(phantom, "oblique", shape=(61, 47), angle_deg=45.0)
    assert acquisition_of(turned).view == "LAO" and acquisition_of(turned).kvp is None


def test_magnification_is_that_of_the_isocentre(phantom):
    camera = chest_camera(phantom, "pa", shape=(61, 47))
    known = acquisition_of(camera)
    middle = (camera.isocentre - camera.source).norm()
    assert known.source_object_mm == pytest.approx(float(middle))
    places = {"source": camera.source, "detector_centre": camera.detector_centre}
    axes = {"image_right": camera.image_right, "image_down": camera.image_down}
    without = Camera(**places, **axes, shape=camera.shape, pixel_mm=camera.pixel_mm)
    assert acquisition_of(without).source_object_mm is None


def test_a_detector_off_the_axis_is_as_far_as_its_plane():
    vectors = ([0.0, -1500.0, 0.0], [100.0, 300.0, 50.0], [-1.0, 0.0, 0.0], [0.0, 0.0, -1.0])
    places = [torch.tensor([vector], dtype=torch.float64) for vector in vectors]
    assert acquisition_of(Camera(*places, shape=(4, 4), pixel_mm=(1.0, 1.0))).source_detector_mm == 1800.0


def test_exposure_gives_the_dose_that_is_asked_for():
    beam, panel = Beam(), Detector(dose_mgy=0.3)
    mas = exposure_mas(beam, panel, 2000.0)
    assert mas * air_kerma_ugy(spectrum(beam)) / 4 == pytest.approx(300.0)
    assert exposure_mas(beam, panel, 1000.0) == pytest.approx(mas / 4)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"bits": 11}, UsageError, "a radiograph of 11 bits; expected one of 8, 10, 12, 14, 16"),
        ({"polarity": "RGB"}, UsageError, "polarity is 'RGB'; expected one of MONOCHROME2, MONOCHROME1"),
        ({"image": image()[None]}, DataError, r"has shape \(1, 61, 47\); expected \(H, W\)"),
        ({"image": image() * 255}, DataError, "has values from .* expected 0 to 1: develop it first"),
        ({"image": np.full((4, 4), np.nan)}, DataError, "holds values that are not finite"),
    ],
)
def test_what_cannot_be_written_is_told_in_a_line(tmp_path, options, error, message):
    with pytest.raises(error, match=message) as told:
        written(tmp_path / "a.dcm", **options)
    assert "\n" not in str(told.value) and not list(tmp_path.iterdir())


def test_a_negative_signal_is_refused(tmp_path):
    with pytest.raises(DataError, match="goes down to -0.5; expected at least 0"):
        write_raw_dx(tmp_path / "a.dcm", image() - 0.55, acquisition=taken(), origin=ORIGIN)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"beam": (0, 2, 0)}, GeometryError, "beam of an acquisition is .* expected a unit vector"),
        ({"image_right": (0, 0.6, -0.8)}, GeometryError, "are not perpendicular"),
        ({"pixel_mm": (0.4, 0.0)}, GeometryError, r"pixel_mm of an acquisition is \(0.4, 0.0\); expected above 0"),
        ({"source_detector_mm": float("nan")}, GeometryError, "source_detector_mm of an acquisition is nan"),
        ({"kvp": -1.0}, UsageError, "kvp of an acquisition is -1.0; expected a number of at least 0"),
    ],
)
def test_an_acquisition_that_cannot_be_is_refused(change, error, message):
    beam, right = SIDES["PA"]
    given = {"beam": beam, "image_right": right, "image_down": (0, 0, -1), "pixel_mm": (0.4, 0.4), **change}
    with pytest.raises(error, match=message):
        Acquisition(**given)


def test_an_origin_that_tells_nothing_apart_is_refused(phantom):
    with pytest.raises(UsageError, match="record of a radiograph's origin is empty"):
        Origin("a CT", " ", "nerp")
    with pytest.raises(UsageError, match="a camera of 2 views; expected one"):
        acquisition_of(chest_camera(phantom, shape=(4, 4)).repeat(2))


def test_training_reads_it_as_any_radiograph(tmp_path):
    path = written(tmp_path / "a.dcm", image=image(64, 64), polarity="MONOCHROME1")
    found = read_radiograph(path, (64, 64))[0].numpy()
    low, high = np.quantile(image(64, 64), [0.005, 0.995])
    assert found == pytest.approx(((image(64, 64) - low) / (high - low)).clip(0, 1), abs=1e-3)


def test_a_collimated_border_is_cut_off_as_of_any_radiograph(tmp_path):
    film = np.pad(image(), 5)
    for polarity in POLARITIES:
        path = written(tmp_path / "a.dcm", image=film, polarity=polarity, bits=16)
        assert read_grey(path) == pytest.approx(image(), abs=1e-5)
        assert dcmread(path).pixel_array.shape == film.shape


def test_the_edges_of_the_collimator_are_those_of_the_film(phantom):
    camera = chest_camera(phantom, "pa", shape=(61, 47))
    pixel_mm = (float(camera.pixel_mm[0, 0]), float(camera.pixel_mm[0, 1]))
    border_mm = 4.2 * pixel_mm[0]
    left, right, top, bottom = acquisition_of(camera, border_mm=border_mm).collimated
    is_open = collimator(camera.shape, border_mm, pixel_mm) > 0.5
    expected = torch.zeros_like(is_open)
    expected[top - 1 : bottom, left - 1 : right] = True
    assert torch.equal(is_open, expected) and acquisition_of(camera).collimated is None
