"""nerp evaluate quality: planted faults are found with their reasons, good pairs pass, and what is kept is written."""

import json
import shutil
import warnings

import numpy as np
import pytest
import torch
from lung_pictures import SHAPE, lungs, write_lungs, write_picture
from pair_records import pair_record

from nerp.data.chosen_pairs import write_chosen
from nerp.data.folders import find_pairs
from nerp.data.masked_images import find_masked_images, shrunk
from nerp.data.pair_facts import facts_of
from nerp.data.pairs import read_dataset, read_pair, read_records
from nerp.errors import ConfigError, DataError, UsageError
from nerp.evaluation.faults import faults_of
from nerp.evaluation.outliers import neighbour_distances, outlier_limit
from nerp.evaluation.pair_settings import Limits, QualityConfig
from nerp.evaluation.plausibility import image_measures, mask_measures
from nerp.evaluation.probing import shifted
from nerp.evaluation.quality import evaluate_quality
from nerp.files import sha256

N_GOOD = 8


def looked_through(folder, **settings):
    return evaluate_quality(QualityConfig(n_resamples=50, pairs=str(folder), **settings))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Good pairs, to be read only."""
    return write_lungs(tmp_path_factory.mktemp("pictures"), N_GOOD)


def sprinkled(mask):
    return mask | (np.random.default_rng(0).random(mask.shape) < 0.03)


def one_side(mask):
    kept = mask.copy()
    kept[:, mask.shape[1] // 2 :] = False
    return kept


def widened(mask):
    """A single lung, 46 % of the image wide."""
    kept = np.zeros_like(mask)
    kept[20:80, : round(0.46 * mask.shape[1])] = True
    return np.roll(kept, 5, axis=1)


def pushed(part):
    return np.roll(part, SHAPE[1] // 4, axis=1)


PLANTED = {
    "blank": (lambda image: np.full_like(image, 0.5), lambda mask: mask, "blank image"),
    "two_values": (lambda image: (image > 0.5) * 0.5, lambda mask: mask, "blank image"),
    "black": (lambda image: image * (np.arange(SHAPE[1]) > 0.7 * SHAPE[1]), lambda mask: mask, "near-empty view"),
    "white": (lambda image: (2.5 * image).clip(0, 1), lambda mask: mask, "saturated image"),
    "no_mask": (lambda image: image, np.zeros_like, "empty mask"),
    "all_mask": (lambda image: image, np.ones_like, "implausible area"),
    "speck": (lambda image: image, lambda mask: np.pad(mask[40:50, 25:32], ((40, 46), (25, 80))), "implausible area"),
    "pieces": (lambda image: image, sprinkled, "mask in pieces"),
    "one_lung": (lambda image: image, one_side, "one lung"),
    "wide_lung": (lambda image: image, widened, "one lung"),
    "cut": (pushed, pushed, "cut by the border"),
    "off": (lambda image: image, lambda mask: shifted(mask, 5, 3), "misaligned mask"),
    "mirrored": (lambda image: image, lambda mask: mask[:, ::-1], "mirrored mask"),
    "inverted": (lambda image: 1 - image, lambda mask: mask, "misaligned mask"),
    "noise": (lambda image: np.random.default_rng(0).random(SHAPE), lambda mask: mask, "misaligned mask"),
}
"""Name to what is done to image and mask, and what it is to be called."""


@pytest.fixture(scope="module")
def faulty(tmp_path_factory):
    """Good pairs, and one of each fault."""
    folder = write_lungs(tmp_path_factory.mktemp("faulty"), N_GOOD)
    for name, (of_image, of_mask, _) in PLANTED.items():
        image, mask = lungs(N_GOOD)
        write_picture(folder / "images" / f"{name}.png", of_image(image))
        write_picture(folder / "masks" / f"{name}.png", of_mask(mask))
    (folder / "images" / "torn.png").write_bytes((folder / "images" / "000.png").read_bytes()[:300])
    shutil.copy(folder / "masks" / "000.png", folder / "masks" / "torn.png")
    return folder


@pytest.fixture(scope="module")
def found(faulty):
    return looked_through(faulty)


def test_good_pairs_pass(pictures):
    found = looked_through(pictures)
    assert found["kind"] == "quality" and found["n_rejected"] == 0 and found["pairs"] == [] and found["checks"] == {}
    assert found["rejected"] == {"value": 0.0, "ci95": [0.0, 0.0], "n": N_GOOD}
    assert found["structure"] == "lungs" and "judged as lungs" in found["warnings"][0]
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize("name", [*PLANTED, "torn"])
def test_a_planted_fault_is_found_and_named(found, name):
    told = {one["file_name"]: one["faults"] for one in found["pairs"]}
    expected = "unreadable" if name == "torn" else PLANTED[name][2]
    assert expected in [fault["check"] for fault in told[f"images/{name}.png"]]


def test_only_the_planted_ones_are_rejected(found):
    names = {one["file_name"] for one in found["pairs"]}
    assert names == {f"images/{name}.png" for name in (*PLANTED, "torn")}
    assert found["n"] == N_GOOD + len(names) and found["n_rejected"] == len(names)
    assert found["skipped"] == ["torn.png"] and found["checks"]["empty mask"] == 1
    assert all(fault["reason"] for one in found["pairs"] for fault in one["faults"])


def test_what_is_kept_is_a_set_that_others_read(faulty, tmp_path):
    before = {path: path.read_bytes() for path in faulty.rglob("*") if path.is_file()}
    looked_through(faulty, reject=str(tmp_path / "kept"))
    pairs, unmatched = find_pairs(tmp_path / "kept")
    assert [image.name for image, _ in pairs] == [f"{index:03d}.png" for index in range(N_GOOD)] and unmatched == []
    assert pairs[0][0].read_bytes() == before[faulty / "images" / "000.png"]
    assert {path: path.read_bytes() for path in faulty.rglob("*") if path.is_file()} == before
    assert looked_through(tmp_path / "kept", structure="lungs")["n_rejected"] == 0
    with pytest.raises(DataError, match="is not empty; give a new folder"):
        looked_through(faulty, reject=str(tmp_path / "kept"))


def test_what_is_kept_is_listed_in_an_index_that_makes_readers_choose(faulty, tmp_path):
    copied = shutil.copytree(faulty, tmp_path / "pairs")
    looked_through(copied, reject=str(tmp_path / "kept.jsonl"))
    lines = [json.loads(line) for line in (tmp_path / "kept.jsonl").read_text().splitlines()]
    assert lines[0] == {"file_name": "images/000.png", "mask_file_name": "masks/000.png"} and len(lines) == N_GOOD
    shutil.copy(tmp_path / "kept.jsonl", copied / "metadata.jsonl")
    assert len(find_pairs(copied)[0]) == N_GOOD
    with pytest.raises(DataError, match="is the set's own list"):
        looked_through(copied, reject=str(copied / "metadata.jsonl"))
    with pytest.raises(DataError, match=r"lies in .*outside of it"):
        looked_through(copied, reject=str(copied / "kept"))


@pytest.fixture
def rendered(tmp_path):
    """A set with records: three good pairs, one that its record tells to be cut, one of a lateral view."""
    folder = write_lungs(tmp_path / "set", 5)
    changes = [{}, {}, {}, {"mask_outside_fraction": 0.4}, {"view": "lateral"}]
    names = {"label_names": {"10": "lung_left", "11": "lung_right"}}
    records = [pair_record(f"{index:03d}", **names, **change) for index, change in enumerate(changes)]
    (folder / "metadata.jsonl").write_bytes(b"".join(record.to_line() for record in records))
    (folder / "dataset.json").write_text(json.dumps({"settings": {"mode": "drr"}, "counts": {"pairs": 5, "cts": 1}}))
    write_picture(folder / "masks" / "002.png", one_side(lungs(2)[1]))
    write_picture(folder / "masks" / "004.png", one_side(lungs(4)[1]))
    return folder


def test_records_tell_views_and_what_the_detector_misses(rendered):
    found = looked_through(rendered)
    told = {one["file_name"]: [fault["check"] for fault in one["faults"]] for one in found["pairs"]}
    assert told["images/003.png"] == ["cut by the border"] and "one lung" in told["images/002.png"]
    assert "one lung" not in told.get("images/004.png", [])
    assert found["structure"] == "lungs" and found["warnings"] == []


def test_a_kept_set_has_the_records_of_its_pairs_and_says_how_it_was_chosen(rendered, tmp_path):
    target = tmp_path / "kept"
    looked_through(rendered, reject=str(target))
    records = read_records(target / "metadata.jsonl")
    assert [record.id for record in records][:2] == ["000", "001"]
    assert all(read_pair(target, record)[0].shape == SHAPE for record in records)
    dataset, chosen = read_dataset(target), read_dataset(target)["settings"]["chosen"]
    assert dataset["counts"] == {"pairs": len(records), "cts": 1} == facts_of(records)["counts"]
    assert dataset["masks"] == facts_of(records)["masks"] and dataset["label_names"] == facts_of(records)["label_names"]
    assert chosen["rejected"] == 5 - len(records) and chosen["limits"]["cut_most"] == Limits().cut_most
    assert chosen["of"]["pairs"] == 5 and chosen["of"]["records_sha256"] == sha256(rendered / "metadata.jsonl")
    assert dataset["rejected"]["images/003.png"] == ["cut by the border"]
    assert len(dataset["rejected"]) == chosen["rejected"]


def test_nothing_is_written_where_no_pair_is_good(rendered, tmp_path):
    found = looked_through(rendered, reject=str(tmp_path / "kept"), limits=Limits(spread_least=1.0))
    assert found["n_rejected"] == 5 and "nothing was written to kept" in " ".join(found["warnings"])
    assert not (tmp_path / "kept").exists()
    with pytest.raises(DataError, match=r"no pair of .* is chosen: nothing is written"):
        write_chosen(tmp_path / "kept", [], source=rendered, records={}, why={}, facts={})


def test_intervals_are_drawn_by_patients_that_an_index_tells(faulty, tmp_path):
    images = sorted((faulty / "images").iterdir())
    lines = [f"{path.name},{'good' if path.name[0] == '0' else 'planted'}" for path in images]
    index = tmp_path / "patients.csv"
    index.write_text("\n".join(["file,patient_id", *lines]) + "\n")
    alone, together = looked_through(faulty), looked_through(faulty, patients=str(index))
    assert (together["patients"], together["patients_by"]) == (2, "index")
    assert (alone["patients"], alone["patients_by"]) == (len(images), "nothing")
    assert together["rejected"]["ci95"] == [0.0, 1.0] and together["rejected"]["value"] == alone["rejected"]["value"]
    assert "nothing tells the patients" in alone["warnings"][-1]
    assert not any("patients" in text for text in together["warnings"])
    index.write_text("file,patient_id\nother.png,1\n")
    with pytest.raises(DataError, match=r"patients.csv lists none of the images of"):
        looked_through(faulty, patients=str(index))


def test_a_kept_set_is_written_whole_or_not_at_all(rendered, tmp_path):
    found = find_masked_images(rendered)
    found.pairs[-1][0].unlink()
    with pytest.raises(FileNotFoundError):
        write_chosen(tmp_path / "kept", found.pairs, source=rendered, records=found.records, why={}, facts={})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["set"]


def test_other_structures_are_judged_by_fewer_checks(pictures, tmp_path):
    shutil.copytree(pictures, tmp_path, dirs_exist_ok=True)
    write_picture(tmp_path / "masks" / "000.png", one_side(lungs(0)[1]))
    assert looked_through(tmp_path)["n_rejected"] == 1
    assert looked_through(tmp_path, structure="other")["n_rejected"] == 0
    assert looked_through(tmp_path, mask_name="heart")["structure"] == "other"


def test_a_common_shift_is_left_out_of_account_or_held_against_all(pictures, tmp_path):
    shutil.copytree(pictures / "images", tmp_path / "images")
    for index in range(N_GOOD):
        write_picture(tmp_path / "masks" / f"{index:03d}.png", shifted(lungs(index)[1], 3, -3))
    mild, strict = (looked_through(tmp_path, limits=Limits(common_most=most)) for most in (6, 2))
    assert mild["n_rejected"] == 0 and strict["n_rejected"] == N_GOOD
    assert "left out of account" in mild["warnings"][-2] and "held against them" in strict["warnings"][-2]


LIMITS = {
    "limits.spread_least": ({"spread": 0.5}, 0.6, 0.4),
    "limits.entropy_least": ({"entropy": 5.0}, 6.0, 4.0),
    "limits.black_most": ({"black": 0.5}, 0.4, 0.6),
    "limits.white_most": ({"white": 0.5}, 0.4, 0.6),
    "limits.lungs_area": ({"area": 0.3}, (0.1, 0.2), (0.1, 0.4)),
    "limits.parts_most": ({"parts": 4.0}, 3, 5),
    "limits.crumbs_most": ({"crumbs": 0.5}, 0.4, 0.6),
    "limits.balance_least": ({"balance": 0.5}, 0.6, 0.4),
    "limits.width_least": ({"width": 0.5}, 0.6, 0.4),
    "limits.lone_width_least": ({"lone_width": 0.5}, 0.6, 0.4),
    "limits.cut_most": ({"cut": 0.5}, 0.4, 0.6),
    "limits.outside_most": ({"outside": 0.5}, 0.4, 0.6),
    "limits.alignment_least": ({"alignment": 0.5}, 0.6, 0.4),
}
"""Limit to measures, a value that rejects them, and one that lets them pass."""


@pytest.mark.parametrize("limit", LIMITS)
def test_each_limit_decides(limit):
    measures, rejecting, passing = LIMITS[limit]
    limit = limit.removeprefix("limits.")
    assert len(faults_of(measures, Limits(**{limit: rejecting}), lungs=True, frontal=True)) == 1
    assert faults_of(measures, Limits(**{limit: passing}), lungs=True, frontal=True) == []


def test_limits_of_other_structures_and_ranges():
    assert faults_of({"area": 0.3}, Limits(other_area=(0.4, 0.5)), lungs=False, frontal=True)
    with pytest.raises(ConfigError, match=r"limits\.black_most is 2; expected a number from 0 to 1"):
        Limits(black_most=2)


def test_measures_of_images_in_closed_form():
    ramp = np.tile(np.arange(256) / 255, (8, 1))
    found = image_measures(ramp)
    assert found["entropy"] == pytest.approx(8) and found["spread"] == pytest.approx(0.98, abs=0.01)
    assert found["black"] == found["white"] == pytest.approx(2 / 256)
    assert image_measures(np.zeros((8, 8))) == {"black": 1, "white": 0, "spread": 0, "entropy": 0}


def test_measures_of_masks_in_closed_form():
    mask = np.zeros((20, 40), bool)
    mask[5:15, 5:10] = mask[5:15, 25:35] = True
    mask[0, 0] = True
    found = mask_measures(mask)
    assert found["area"] == pytest.approx(151 / 800) and found["parts"] == 3
    assert found["crumbs"] == pytest.approx(1 / 151) and found["balance"] == pytest.approx(0.5)
    assert found["width"] == pytest.approx(30 / 40) and found["cut"] == pytest.approx(2 / (4 + 30 + 40))
    joined = np.zeros((20, 40), bool)
    joined[:, 10:30] = joined[:10, 30:36] = True
    found = mask_measures(joined)
    assert found["lone_width"] == pytest.approx(26 / 40) and "width" not in found
    assert found["balance"] == pytest.approx((7 * 20 + 6 * 10) / (13 * 20))
    assert mask_measures(np.zeros((4, 4), bool)) == {"area": 0}


def test_distances_to_neighbours_against_a_plain_sort(generator):
    features = torch.randn(40, 7, generator=generator, dtype=torch.float64)
    expected = [sorted((features - one).norm(dim=1).tolist())[5] for one in features]
    assert neighbour_distances(features).tolist() == pytest.approx(expected)


def test_the_limit_of_outliers_has_its_false_alarm_rate(generator):
    ordinary = (0.3 * torch.randn(200_000, generator=generator, dtype=torch.float64)).exp()
    for rate in (0.01, 0.001):
        beyond = float((ordinary > outlier_limit(ordinary, rate)).double().mean())
        assert beyond == pytest.approx(rate, rel=0.25)
    with_outliers = torch.cat([ordinary[:900], torch.full((100,), 1e3, dtype=torch.float64)])
    assert outlier_limit(with_outliers, 0.001) < 10
    assert outlier_limit(torch.zeros(9, dtype=torch.float64), 0.01) == float("inf")


def script(folder):
    """A TorchScript network whose features are an image's mean and spread of grey, in parts."""

    class Network(torch.nn.Module):
        def forward(self, images):
            parts = torch.nn.functional.avg_pool2d(images.mean(1, keepdim=True), 56)
            return parts.flatten(1)

    path = folder / "network.pt"
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="`torch.jit.")
        torch.jit.script(Network()).save(str(path))
    return str(path)


def test_outliers_in_feature_space_are_found(tmp_path):
    folder = write_lungs(tmp_path / "pairs", 31)
    image, mask = lungs(31)
    write_picture(folder / "images" / "odd.png", 0.5 * image)
    write_picture(folder / "masks" / "odd.png", mask)
    steps = []
    config = QualityConfig(pairs=str(folder), extractor=script(tmp_path), device="cpu", n_resamples=10)
    found = evaluate_quality(config, progress=lambda done, total: steps.append((done, total)))
    told = {one["file_name"]: [fault["check"] for fault in one["faults"]] for one in found["pairs"]}
    assert told == {"images/odd.png": ["outlier"]} and steps[-1] == (64, 64)
    assert looked_through(folder, extractor=script(tmp_path), limits=Limits(false_alarms=1e-6))["n_rejected"] == 1


def test_few_images_have_no_outliers(pictures):
    found = looked_through(pictures, extractor="efficientnet-lite0", structure="lungs")
    assert found["warnings"][0] == "outliers in feature space were not sought: 8 images, expected 30 or more"


def test_folders_that_are_no_pairs_are_refused(tmp_path):
    with pytest.raises(UsageError, match="no pairs to look through"):
        evaluate_quality(QualityConfig())
    with pytest.raises(DataError, match=r"no folder at .*images"):
        looked_through(tmp_path)
    (tmp_path / "images").mkdir()
    with pytest.raises(DataError, match=r"no image in .*images"):
        looked_through(tmp_path)


def test_a_single_pair_is_judged_and_an_unreadable_one_is_refused(tmp_path):
    folder = write_lungs(tmp_path, 1)
    assert looked_through(folder)["n"] == 1
    write_picture(folder / "masks" / "000.png", np.ones((5, 5), bool))
    with pytest.raises(DataError, match="the mask has 5x5 pixels, its image 96x112; expected equal sizes"):
        looked_through(folder)


def test_the_command_lists_reasons(nerp, faulty, tmp_path):
    kept, save = tmp_path / "kept.jsonl", tmp_path / "evaluation_quality.json"
    options = ("--structure", "lungs", "--inside", "dark", "--reject", kept, "--save", save, "--seed", "2")
    code, out, _ = nerp("evaluate", "quality", faulty, *options, "n_resamples=20")
    assert code == 0 and f"{len(PLANTED) + 1} of {N_GOOD + len(PLANTED) + 1} pairs are rejected" in out
    assert "images/mirrored.png: misaligned mask: its score is" in out and "mirrored mask: the mask fits better" in out
    assert json.loads(save.read_text())["n_rejected"] == len(PLANTED) + 1 and kept.is_file()
    given = ("limits.cut_most=0.5", "limits.false_alarms=0.01", "limits.other_area=[0.1,0.5]", "limits.common_most=2")
    code, out, _ = nerp("evaluate", "quality", faulty, "--dry-run", *given, "--extractor", "x")
    assert code == 0 and "cut_most: 0.5" in out and "false_alarms: 0.01" in out and "extractor: x" in out


def test_images_are_shrunk_and_never_enlarged():
    image, mask = lungs(0)
    assert shrunk(image, mask, 112)[2] == 1
    small, inside, factor = shrunk(image, mask, 56)
    assert small.shape == inside.shape == (48, 56) and factor == 2
    assert small.mean() == pytest.approx(image.mean(), abs=0.01)
    assert inside.mean() == pytest.approx(mask.mean(), abs=0.01)
