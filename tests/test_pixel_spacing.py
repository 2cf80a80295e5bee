"""Distances in mm where a file or a person states the pixels' size, and in pixels where none does."""

import json

import numpy as np
import pytest
from ellipses import write_pairs

from nerp.cli.options import pixel_spacing
from nerp.data.pixel_spacing import JSRT_MM, spacing_finder, spacing_on, stated_spacings
from nerp.errors import DataError, UsageError
from nerp.evaluation.overlap import DISTANCES
from nerp.evaluation.segmentation import mean_of, score, score_structures
from nerp.experiments.utility import SegmentationConfig, evaluate_segmentation, spacing_warnings
from nerp.networks.segmenter import Segmenter, save_segmenter


def write_records(folder, names, pixel_mm=((0.5, 0.25),), shape=(40, 60)):
    rows = [{"file_name": f"images/{name}.png", "camera": {"pixel_mm": pixel_mm, "shape": shape}} for name in names]
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_dicom(path, **tags):
    import pydicom
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, SecondaryCaptureImageStorage
    data = pydicom.dataset.FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
    data.Modality, data.PhotometricInterpretation, data.SamplesPerPixel = "DX", "MONOCHROME2", 1
    data.Rows, data.Columns, data.BitsAllocated, data.BitsStored, data.HighBit = 4, 6, 8, 8, 7
    data.PixelRepresentation, data.PixelData = 0, bytes(range(24))
    for name, value in tags.items():
        setattr(data, name, value)
    data.save_as(path)
    return path


@pytest.fixture
def segmenter():
    return Segmenter("tu-resnet10t", 32).eval()


def test_records_of_pairs_state_the_detectors_pixels(tmp_path):
    write_pairs(tmp_path, 2)
    write_records(tmp_path, ["00", "01"])
    images = sorted((tmp_path / "images").iterdir())
    assert stated_spacings(images) == dict.fromkeys(images, ((0.5, 0.25), (40, 60)))


@pytest.mark.parametrize("camera", [None, {}, {"pixel_mm": [[0, 1]], "shape": [2, 2]}, {"pixel_mm": 3, "shape": 1}])
def test_a_record_that_states_no_size_is_of_none(tmp_path, camera):
    write_pairs(tmp_path, 1)
    (tmp_path / "metadata.jsonl").write_text(json.dumps({"file_name": "images/00.png", "camera": camera}) + "\n")
    assert stated_spacings([tmp_path / "images" / "00.png"]) == {}


def test_records_that_are_none_are_refused(tmp_path):
    write_pairs(tmp_path, 1)
    (tmp_path / "metadata.jsonl").write_text("{\n")
    with pytest.raises(DataError, match=r"metadata.jsonl has a line that is no JSON"):
        stated_spacings([tmp_path / "images" / "00.png"])


def test_dicom_states_the_detectors_size_before_the_patients(tmp_path):
    both = write_dicom(tmp_path / "a.dcm", ImagerPixelSpacing=["0.2", "0.3"], PixelSpacing=["0.1", "0.1"])
    one = write_dicom(tmp_path / "b.dcm", PixelSpacing=["0.1", "0.15"])
    none = write_dicom(tmp_path / "c.dcm", PixelAspectRatio=["1", "1"])
    assert stated_spacings([both, one, none]) == {both: ((0.2, 0.3), (4, 6)), one: ((0.1, 0.15), (4, 6))}


def test_raw_jsrt_files_have_their_published_size(tmp_path):
    path = tmp_path / "JPCLN001.IMG"
    np.zeros((2048, 2048), ">u2").tofile(path)
    assert stated_spacings([path]) == {path: ((JSRT_MM, JSRT_MM), (2048, 2048))}


def test_a_smaller_mask_of_the_same_field_has_larger_pixels():
    assert spacing_on(((0.2, 0.3), (100, 60)), (50, 30)) == pytest.approx((0.4, 0.6))
    assert spacing_on(((0.2, 0.3), (100, 60)), (50, 50)) is None


def test_what_is_stated_by_hand_counts(tmp_path):
    write_pairs(tmp_path, 1)
    write_records(tmp_path, ["00"])
    image = tmp_path / "images" / "00.png"
    assert spacing_finder([image], (0.7, 0.8))(image, (9, 9)) == (0.7, 0.8)
    assert spacing_finder([image])(image, (20, 30)) == pytest.approx((1.0, 0.5))
    assert spacing_finder([])(image, (20, 30)) is None


def test_distances_scale_with_the_spacing_and_overlaps_do_not(tmp_path, segmenter):
    write_pairs(tmp_path, 2)
    pairs = [(tmp_path / "images" / f"{n}.png", (tmp_path / "masks" / f"{n}.png",)) for n in ("00", "01")]
    pixels = score(segmenter, pairs)
    scaled = score(segmenter, pairs, spacing_mm=lambda image, shape: (0.25, 0.25))
    assert (pixels.unit, scaled.unit) == ("px", "mm")
    for stem, row in pixels.scores.items():
        for metric, value in row.items():
            factor = 0.25 if metric in DISTANCES else 1.0
            assert scaled.scores[stem][metric] == pytest.approx(factor * value)


def test_structures_have_one_unit_and_an_image_is_seen_once(tmp_path, monkeypatch):
    write_pairs(tmp_path, 3)
    network = Segmenter("tu-resnet10t", 32, structures=("lungs", "heart")).eval()
    names = [("00", "01"), ("01", "02"), ("02", "00")]
    outlined = [
        (tmp_path / "images" / f"{one}.png", tuple((tmp_path / "masks" / f"{name}.png",) for name in (one, other)))
        for one, other in names
    ]
    seen, segment = [], network.segment
    monkeypatch.setattr(network, "segment", lambda image: seen.append(1) or segment(image))
    known = [(0.5, 0.5)] * 5 + [None]
    scored = score_structures(
        network, outlined, network.structures, predictions=None, spacing_mm=lambda image, shape: known.pop(0)
    )
    assert len(seen) == 3
    assert {name: (one.unit, one.unknown_spacing) for name, one in scored.items()} == {
        "lungs": ("px", 0),
        "heart": ("px", 1),
    }
    told = spacing_warnings(mean_of(list(scored.values())), 3)
    assert len(told) == 1 and "the pixel spacing of 1 of 3 masks is not known" in told[0]


def test_each_image_has_its_own_spacing(tmp_path, segmenter):
    write_pairs(tmp_path, 2)
    pairs = [(tmp_path / "images" / f"{n}.png", (tmp_path / "masks" / f"{n}.png",)) for n in ("00", "01")]
    of = {"00": (0.5, 0.5), "01": (2.0, 2.0)}
    pixels = score(segmenter, pairs).scores
    scaled = score(segmenter, pairs, spacing_mm=lambda image, shape: of[image.stem]).scores
    for stem, (factor, _) in of.items():
        assert scaled[stem]["asd"] == pytest.approx(factor * pixels[stem]["asd"])


def evaluated(folder, **more):
    save_segmenter(folder / "segmenter.safetensors", Segmenter("tu-resnet10t", 32))
    weights = str(folder / "segmenter.safetensors")
    return evaluate_segmentation(SegmentationConfig(test=str(folder), weights=weights, device="cpu", **more))


def test_the_unit_is_told_and_a_set_known_in_part_is_in_pixels(tmp_path):
    write_pairs(tmp_path, 2)
    assert evaluated(tmp_path)["distance_unit"] == "px"
    assert evaluated(tmp_path, spacing_mm=(0.5, 0.5))["distance_unit"] == "mm"
    write_records(tmp_path, ["00", "01"])
    assert evaluated(tmp_path)["distance_unit"] == "mm"
    write_records(tmp_path, ["00", "01"], pixel_mm=None)
    some = tmp_path / "metadata.jsonl"
    rows = [json.loads(line) for line in some.read_text().splitlines()]
    rows[0]["camera"]["pixel_mm"] = [[0.5, 0.5]]
    some.write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = evaluated(tmp_path)
    assert result["distance_unit"] == "px"
    assert any("the pixel spacing of 1 of 2 masks is not known" in text for text in result["warnings"])


def test_the_option_is_one_number_or_two():
    assert (pixel_spacing("0.2"), pixel_spacing("0.2,0.25"), pixel_spacing(None)) == ([0.2, 0.2], [0.2, 0.25], None)
    for text in ("x", "0", "1,2,3", "inf", ""):
        with pytest.raises(UsageError, match="--spacing-mm is .*expected mm between rows"):
            pixel_spacing(text)
