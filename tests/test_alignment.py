"""nerp evaluate alignment: the score of a folder, what is left over, probes, bad input; and lungs left uncovered."""

import json
import shutil

import numpy as np
import pytest
import torch
from lung_pictures import lungs, write_lungs, write_picture
from small_chests import SETTINGS, chest

from nerp.cli import main
from nerp.errors import ConfigError, DataError, EvaluationError, UsageError
from nerp.evaluation.alignment import evaluate_alignment
from nerp.evaluation.pair_settings import AlignmentConfig
from nerp.evaluation.probing import shifted
from nerp.evaluation.uncovered import detector_pixels, uncovered_fraction
from nerp.projection import project_labels
from nerp.synthesis import synthesize


def scored(folder, **settings):
    return evaluate_alignment(AlignmentConfig(n_resamples=50, pairs=str(folder), **settings))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Six pairs, to be read only."""
    return write_lungs(tmp_path_factory.mktemp("pictures"), 6)


def moved(source, target, rows, columns):
    """A folder whose masks lie off."""
    shutil.copytree(source / "images", target / "images")
    for index in range(6):
        write_picture(target / "masks" / f"{index:03d}.png", shifted(lungs(index)[1], rows, columns))
    return target


def test_pairs_that_fit_score_high(pictures):
    found = scored(pictures)
    assert found["kind"] == "alignment" and found["inside"] == "dark"
    assert found["alignment"]["value"] > 0.95 and found["alignment"]["n"] == 6
    low, high = found["alignment"]["ci95"]
    assert low <= found["alignment"]["value"] <= high
    assert abs(found["dx"]["value"]) < 0.5 and abs(found["dy"]["value"]) < 0.5
    assert found["mirrored"]["value"] == 0 and len(found["warnings"]) == 1 and found["skipped"] == []
    assert found["warnings"][0].startswith("nothing tells the patients of the 6 images: each is taken for one")
    assert set(found["per_image"]) == {f"{index:03d}" for index in range(6)}
    assert found["separation"] is None
    assert found["uncovered"] == {"value": None, "reason": "no CT and labels are given (--ct, --labels)"}
    json.dumps(found, allow_nan=False)


def test_a_common_shift_is_told(pictures, tmp_path):
    found = scored(moved(pictures, tmp_path, 3, -2))
    assert found["dy"]["value"] == pytest.approx(-3, abs=0.5) and found["dx"]["value"] == pytest.approx(2, abs=0.5)
    assert "masks lie off in common" in found["warnings"][0] and "+2" in found["warnings"][0]
    about = scored(tmp_path, about="set", probe_px=4)
    assert found["alignment"]["value"] < 0.7 and about["alignment"]["value"] > 0.95
    assert about["about"] == [about["dx"]["value"], about["dy"]["value"]] and about["separation"]["up"]["value"] > 0.95


def test_probes_tell_that_shifts_and_mirrors_are_found(pictures):
    found = scored(pictures, probe_px=4)["separation"]
    assert found["px"] == 4
    for name in ("shifted", "left", "down-right", "mirrored"):
        assert found[name]["value"] >= 0.95 and found[name]["n"] == 6
        assert found[name]["ci95"][0] <= found[name]["value"]


def test_mirrored_masks_are_told(tmp_path):
    for index in range(4):
        image, mask = lungs(index)
        write_picture(tmp_path / "images" / f"{index}.png", image[:, ::-1])
        write_picture(tmp_path / "masks" / f"{index}.png", mask)
    found = scored(tmp_path)
    assert found["mirrored"]["value"] == 1 and found["alignment"]["value"] < 0.5
    assert "flipped left to right" in " ".join(found["warnings"])


def test_bright_structures_are_recognised(tmp_path):
    for index in range(3):
        image, mask = lungs(index)
        write_picture(tmp_path / "images" / f"{index}.png", 1 - image)
        write_picture(tmp_path / "masks" / f"{index}.png", mask)
    assert scored(tmp_path)["inside"] == "bright"
    assert scored(tmp_path)["alignment"]["value"] > 0.95
    assert scored(tmp_path, inside="dark")["alignment"]["value"] < 0.3


def test_large_images_are_compared_small_and_told_in_their_own_pixels(tmp_path):
    image, mask = (np.kron(part, np.ones((4, 4))) for part in lungs(0))
    write_picture(tmp_path / "images" / "a.png", image)
    write_picture(tmp_path / "masks" / "a.png", shifted(mask > 0, 0, 16))
    found = scored(tmp_path, side=112)
    assert found["dx"]["value"] == pytest.approx(-16, abs=2)


def test_the_tolerance_says_how_much_a_shift_costs(pictures, tmp_path):
    folder = moved(pictures, tmp_path, 0, 3)
    strict, mild = (scored(folder, tolerance_px=tolerance)["alignment"]["value"] for tolerance in (2, 50))
    assert strict < 0.5 < mild


def test_a_mask_beyond_reach_is_not_found_and_scores_low(pictures, tmp_path):
    assert scored(moved(pictures, tmp_path, 0, 14), reach_px=4)["alignment"]["value"] < 0.3


def test_pairs_of_one_ct_are_resampled_together(chests, tmp_path):
    ct, labels = chests
    synthesize(ct, labels, out=tmp_path / "pairs", settings=SETTINGS)
    found = scored(tmp_path / "pairs", reach_px=2)
    assert found["n_groups"] == 2 and found["alignment"]["n"] == 6


def test_what_is_left_over_is_listed(pictures, tmp_path):
    shutil.copytree(pictures, tmp_path, dirs_exist_ok=True)
    (tmp_path / "masks" / "000.png").unlink()
    (tmp_path / "images" / "001.png").unlink()
    write_picture(tmp_path / "masks" / "002.png", np.zeros((96, 112), bool))
    found = scored(tmp_path)
    assert found["images_without_mask"] == ["000"] and found["masks_without_image"] == ["001"]
    assert found["unscored"] == ["002"] and found["alignment"]["n"] == 3
    text = " ".join(found["warnings"])
    assert "1 images have no mask" in text and "1 masks have no image" in text and "1 masks are empty" in text


def test_bad_pairs_are_refused_together_or_skipped(pictures, tmp_path, caplog):
    shutil.copytree(pictures, tmp_path, dirs_exist_ok=True)
    (tmp_path / "images" / "000.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    write_picture(tmp_path / "masks" / "001.png", np.ones((10, 12), bool))
    with pytest.raises(DataError, match=r"1 of 12 images and masks cannot be used: .*000.png.*--skip-bad"):
        scored(tmp_path)
    found = scored(tmp_path, skip_bad=True)
    assert found["skipped"] == ["000.png", "001.png"] and found["alignment"]["n"] == 4
    assert "10x12 pixels, its image 96x112" in caplog.text


@pytest.mark.parametrize(
    ("made", "error", "message"),
    [
        ((), DataError, "no folder at .*images: expected a folder of images"),
        (("images",), DataError, "no folder at .*masks"),
        (("masks",), DataError, "no folder at .*images"),
        (("images", "masks"), DataError, "no image in .* has a mask of its name"),
    ],
)
def test_folders_that_are_no_pairs_are_refused(tmp_path, made, error, message):
    for kind in made:
        write_picture(tmp_path / kind / f"of_{kind}.png", lungs(0)[0] > 0.5)
    with pytest.raises(error, match=message):
        scored(tmp_path)


def test_a_single_pair_is_scored_and_warned_of(tmp_path):
    found = scored(write_lungs(tmp_path, 1))
    assert found["alignment"]["n"] == 1 and "intervals say nothing of others" in found["warnings"][0]
    write_picture(tmp_path / "masks" / "000.png", np.zeros((96, 112), bool))
    with pytest.raises(EvaluationError, match="no mask of .* has a border"):
        scored(tmp_path)
    write_picture(tmp_path / "masks" / "000.png", np.ones((96, 100), bool))
    with pytest.raises(DataError, match="expected equal sizes"):
        scored(tmp_path)


def test_settings_are_checked():
    with pytest.raises(UsageError, match="no pairs to score"):
        evaluate_alignment(AlignmentConfig())
    with pytest.raises(ConfigError, match="inside is 'grey'"):
        AlignmentConfig(inside="grey")


def test_the_command_prints_saves_and_previews(nerp, pictures, tmp_path):
    save = tmp_path / "evaluation_alignment.json"
    options = ("--inside", "dark", "--probe", "4", "--seed", "1", "n_resamples=20", "--save", save)
    code, out, _ = nerp("evaluate", "alignment", pictures, *options)
    assert code == 0 and "alignment  0.9" in out and "AUROC of masks shifted on purpose: 1.0" in out
    assert json.loads(save.read_text())["settings"]["probe_px"] == 4
    code, out, _ = nerp("evaluate", "alignment", pictures, "--dry-run", "--mask-name", "lungs")
    assert code == 0 and "mask_name: lungs" in out
    code, out, _ = nerp("evaluate", "alignment", pictures, "--masks-pattern", "{name}.png", "--skip-bad", "--json")
    assert code == 0 and json.loads(out)["kind"] == "alignment"
    code, _, said = nerp("evaluate", "alignment", pictures, "--ct", "x")
    assert code == 2 and "both --ct and --labels" in said and said.count("\n") == 1


@pytest.fixture(scope="module")
def view():
    """A chest's labels, and a camera that sees all of its lungs."""
    ct, labels = chest()
    return labels, SETTINGS.base_camera(ct)


def test_pixels_of_the_detector_lie_where_they_are(view):
    _, camera = view
    rows, columns = (torch.arange(size, dtype=torch.float64) for size in camera.shape)
    expected = torch.stack(torch.meshgrid(rows, columns, indexing="ij"), dim=-1).reshape(-1, 2)
    halfway = camera.source[0] + 0.5 * (camera.pixels()[0].reshape(-1, 3) - camera.source[0])
    assert torch.allclose(detector_pixels(halfway, camera), expected, atol=1e-9)


def test_what_masks_leave_out_agrees_with_path_lengths(view):
    labels, camera = view
    lengths = project_labels(labels, camera, [10, 11])[0].sum(0)
    assert uncovered_fraction(labels, [10, 11], camera, lengths > 0) < 0.02
    assert uncovered_fraction(labels, [10, 11], camera, lengths < 0) == 1
    assert uncovered_fraction(labels, [99], camera, lengths > 0) is None
    mask = lengths > float(lengths.max()) / 2
    by_paths = float(lengths[~mask].sum() / lengths.sum())
    assert uncovered_fraction(labels, [10, 11], camera, mask) == pytest.approx(by_paths, abs=0.03)


def test_the_labels_of_a_set_are_found_and_compared(chests, tmp_path, capsys):
    ct, labels = chests
    synthesize(ct, labels, out=tmp_path / "pairs", settings=SETTINGS)
    names = {"10": "lung_left", "11": "lung_right"}
    path = tmp_path / "pairs" / "metadata.jsonl"
    records = [json.loads(line) | {"label_names": names} for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    options = ["--json", "reach_px=2", "n_resamples=20", "--ct", str(ct), "--labels", str(labels)]
    assert main(["evaluate", "alignment", str(tmp_path / "pairs"), *options]) == 0
    found = json.loads(capsys.readouterr().out)["uncovered"]
    assert found["lungs"]["n"] == 6 and 0 <= found["lungs"]["value"] < 0.6
    assert found["radiologists"] == {"lungs": 0.273, "right": 0.228, "left": 0.329}
    parts = [found[side]["value"] for side in ("left", "right")]
    assert min(parts) <= found["lungs"]["value"] <= max(parts)
    assert main(["evaluate", "alignment", str(tmp_path / "pairs"), *options[:-1], str(ct)]) == 1
    assert "no labels of SHA-256" in capsys.readouterr().err
