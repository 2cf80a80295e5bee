"""What people name is found: radiographs in folders, images with their masks, public sets by name."""

import json

import numpy as np
import pytest
from ellipses import write_pairs
from PIL import Image

from nerp.data.checking import Bad, check_inputs, write_skipped
from nerp.data.folders import find_pairs, find_radiographs
from nerp.data.images import read_mask
from nerp.errors import DataError, UsageError
from nerp.experiments.settings import SegmentationConfig
from nerp.experiments.utility import evaluate_segmentation

GREY = np.tile(np.arange(16, dtype=np.uint8) * 10, (16, 1))


def picture(path, columns=slice(0, 0)):
    values = GREY.copy()
    if columns != slice(0, 0):
        values = np.zeros((16, 16), np.uint8)
        values[:, columns] = 255
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def montgomery(root):
    """Two radiographs as their owners publish them: a left and a right mask each."""
    home = root / "MontgomerySet"
    for name in ("MCUCXR_0001_0.png", "MCUCXR_0002_1.png"):
        picture(home / "CXR_png" / name)
        picture(home / "ManualMask" / "leftMask" / name, slice(0, 4))
        picture(home / "ManualMask" / "rightMask" / name, slice(10, 14))
    return home


def names(paths):
    return [path.name for path in paths]


def test_radiographs_of_sub_folders_are_found_without_masks(tmp_path):
    for name in ("images_001/images/a.png", "images_002/images/a.png", "masks/a.png", ".cache/a.png"):
        picture(tmp_path / name)
    found = find_radiographs(tmp_path)
    assert [str(path.relative_to(tmp_path)) for path in found] == [
        "images_001/images/a.png",
        "images_002/images/a.png",
    ]


def test_an_empty_tree_is_refused(tmp_path):
    (tmp_path / "masks").mkdir()
    with pytest.raises(DataError, match="no image in .* in it or below"):
        find_radiographs(tmp_path)


@pytest.mark.parametrize("mask", ["a_mask.png", "a-mask.png", "mask_a.png", "a_seg.png", "a_label.png", "a.png"])
def test_masks_are_matched_by_usual_names(tmp_path, mask):
    picture(tmp_path / "images" / "a.png")
    picture(tmp_path / "masks" / mask, slice(0, 4))
    assert find_pairs(tmp_path) == ([(tmp_path / "images/a.png", (tmp_path / "masks" / mask,))], [])


def test_an_exact_name_comes_first_and_two_additions_are_asked_about(tmp_path):
    picture(tmp_path / "images" / "a.png")
    for name in ("a_mask.png", "a_seg.png"):
        picture(tmp_path / "masks" / name, slice(0, 4))
    with pytest.raises(DataError, match=r"image a fits a_mask\.png and a_seg\.png; tell which by a pattern"):
        find_pairs(tmp_path)
    assert names(find_pairs(tmp_path, pattern="{name}_seg.png")[0][0][1]) == ["a_seg.png"]
    picture(tmp_path / "masks" / "a.png", slice(0, 4))
    assert names(find_pairs(tmp_path)[0][0][1]) == ["a.png"]
    with pytest.raises(UsageError, match="expected {name} in it"):
        find_pairs(tmp_path, pattern="a_seg.png")


def test_one_of_several_masks_is_chosen(tmp_path):
    picture(tmp_path / "images" / "a.png")
    picture(tmp_path / "masks" / "lungs" / "a.png", slice(0, 4))
    assert names(find_pairs(tmp_path)[0][0][1]) == ["a.png"]
    picture(tmp_path / "masks" / "heart" / "a.png", slice(0, 4))
    with pytest.raises(UsageError, match=r"has several masks, heart, lungs; choose one \(--mask-name"):
        find_pairs(tmp_path)
    assert find_pairs(tmp_path, mask="heart")[0][0][1] == (tmp_path / "masks" / "heart" / "a.png",)
    with pytest.raises(UsageError, match="has no masks 'ribs'; it has heart, lungs"):
        find_pairs(tmp_path, mask="ribs")


@pytest.mark.parametrize("source", ["montgomery:{}", "Montgomery:{}/MontgomerySet", "{}/MontgomerySet"])
def test_a_public_set_is_found_by_name_or_by_its_layout(tmp_path, source):
    montgomery(tmp_path)
    pairs, unmatched = find_pairs(source.format(tmp_path))
    assert len(pairs) == 2 and unmatched == []
    mask = read_mask(pairs[0][1])[0, 0].numpy()
    assert mask[:, :4].all() and mask[:, 10:14].all() and mask.sum() == 8 * 16
    assert len(find_radiographs(source.format(tmp_path))) == 2


def test_sets_that_are_not_there_or_not_known_are_refused(tmp_path):
    with pytest.raises(UsageError, match="'montgommery' is no set that nerp knows; expected one of shenzhen, montgome"):
        find_pairs(f"montgommery:{tmp_path}")
    with pytest.raises(UsageError, match="MosMed holds CTs"):
        find_radiographs(f"mosmed:{tmp_path}")
    with pytest.raises(DataError, match="nothing of JSRT is in"):
        find_radiographs(f"jsrt:{tmp_path}")


def test_parts_of_a_mask_of_other_sizes_are_refused(tmp_path):
    picture(tmp_path / "a.png", slice(0, 4))
    Image.fromarray(np.eye(8, dtype=np.uint8)).save(tmp_path / "b.png")
    with pytest.raises(DataError, match="have 16x16, 8x8 pixels"):
        read_mask([tmp_path / "a.png", tmp_path / "b.png"])


def refuse_odd(path):
    if int(path.name) % 2:
        raise DataError(f"{path}: is odd")


def test_all_bad_inputs_are_told_at_once_or_left_out(caplog):
    done = []
    with pytest.raises(DataError, match=r"2 of 4 numbers cannot be used: 1: is odd; 3: is odd; repair .*skip_bad"):
        check_inputs("0123", refuse_odd, what="numbers")
    good, bad = check_inputs(
        "0123", refuse_odd, what="numbers", skip_bad=True, progress=lambda *counts: done.append(counts)
    )
    assert names(good) == ["0", "2"] and [one.path.name for one in bad] == ["1", "3"] and done[-1] == (4, 4)
    assert "skipped: 2 of 4 numbers cannot be used" in caplog.text
    with pytest.raises(DataError, match="2 of 2"):
        check_inputs("13", refuse_odd, what="numbers", skip_bad=True)
    with pytest.raises(DataError, match="^1: is odd$"):
        check_inputs("1", refuse_odd, what="numbers", skip_bad=True)
    many = [str(2 * number + 1) for number in range(12)] + ["0"]
    with pytest.raises(DataError, match="; and 2 more; repair"):
        check_inputs(many, refuse_odd, what="numbers")


def test_a_list_of_what_was_skipped_comes_and_goes(tmp_path):
    path = tmp_path / "skipped.csv"
    write_skipped(path, [Bad(tmp_path / "a.png", 'a.png: is "cut", at 3')])
    assert path.read_text().splitlines() == ["path,reason", f'{tmp_path}/a.png,"a.png: is ""cut"", at 3"']
    write_skipped(path, [])
    assert not path.exists()


def segmentation(tmp_path, **more):
    tiny = {"epochs": 1, "side": 32, "encoder": "tu-resnet10t"}
    from nerp.training.settings import SegmenterSettings

    return evaluate_segmentation(
        SegmentationConfig(train=str(tmp_path / "pairs"), segmenter=SegmenterSettings(**tiny), device="cpu", **more)
    )


def test_a_segmenter_is_tested_on_a_set_by_name_and_bad_files_are_skipped(tmp_path):
    write_pairs(tmp_path / "pairs", 4)
    montgomery(tmp_path)
    test = f"montgomery:{tmp_path}"
    assert segmentation(tmp_path, test=test)["dice"]["n"] == 2
    bad = tmp_path / "MontgomerySet" / "CXR_png" / "MCUCXR_0001_0.png"
    bad.write_bytes(bad.read_bytes()[:-20])
    with pytest.raises(DataError, match="1 of 6 images and masks cannot be used: .*MCUCXR_0001_0"):
        segmentation(tmp_path, test=test)
    result = segmentation(tmp_path, test=test, skip_bad=True, out=str(tmp_path / "run"))
    assert result["dice"]["n"] == 1 and result["skipped"] == ["MCUCXR_0001_0.png"]
    assert "MCUCXR_0001_0" in (tmp_path / "run" / "skipped.csv").read_text()


def test_fidelity_takes_sets_and_skips_bad_files(tmp_path):
    from fidelity_parts import means

    from nerp.evaluation.fidelity import evaluate_fidelity
    from nerp.evaluation.settings import FidelityConfig

    for number in range(4):
        picture(tmp_path / "fake" / f"{number}.png")
    montgomery(tmp_path)
    (tmp_path / "fake" / "3.png").write_bytes((tmp_path / "fake" / "3.png").read_bytes()[:-20])
    sets = tmp_path / "fake", f"montgomery:{tmp_path}"
    with pytest.raises(DataError, match="1 of 4 images cannot be used"):
        evaluate_fidelity(*sets, extractor=means())
    result = evaluate_fidelity(*sets, extractor=means(), settings=FidelityConfig(skip_bad=True, n_resamples=0))
    assert (result["n_fake"], result["n_real"], result["skipped"]) == (3, 2, ["3.png"])


def test_the_options_of_folders_reach_the_settings(nerp, tmp_path):
    stated = ["--train", "pairs", "--test", "jsrt:data", "--masks-pattern", "{name}_x.png", "--mask-name", "lungs"]
    code, out, _ = nerp("evaluate", "segmentation", *stated, "--skip-bad", "--dry-run")
    assert code == 0
    for line in ("test: jsrt:data", "masks_pattern: '{name}_x.png'", "mask_name: lungs", "skip_bad: true"):
        assert line in out
    code, out, _ = nerp("evaluate", "fidelity", "a", "b", "--skip-bad", "--dry-run")
    assert code == 0 and "skip_bad: true" in out


def test_pairs_with_records_list_their_images(tmp_path):
    write_pairs(tmp_path, 3)
    image = next((tmp_path / "images").iterdir())
    (tmp_path / "metadata.jsonl").write_text(json.dumps({"file_name": f"images/{image.name}"}) + "\n")
    assert [one for one, _ in find_pairs(tmp_path)[0]] == [image]


def test_the_settings_of_folders_are_read_by_key(nerp):
    keys = ["masks_pattern='{name}_x.png'", "mask_name=lungs", "skip_bad=true"]
    code, out, _ = nerp("evaluate", "segmentation", "train=a", "test=b", *keys, "--dry-run")
    assert code == 0 and "mask_name: lungs" in out
    code, out, _ = nerp("train", "demo", "data.skip_bad=true", "--dry-run")
    assert code == 0 and "skip_bad: true" in out


def test_bad_radiographs_and_cts_are_known_before_the_first_step(tmp_path, training_data):
    from nerp.training.adversarial.sources import open_sources
    from nerp.training.config import load_config

    config = load_config(None, training_data)
    folder = tmp_path / "radiographs"
    for number in range(3):
        picture(folder / f"{number}.png")
    (folder / "1.png").write_bytes((folder / "1.png").read_bytes()[:-20])
    config = load_config(None, [*training_data, f"data.radiographs_dir={folder}"])
    made = tmp_path / "made"
    with pytest.raises(DataError, match=r"1 of 3 radiographs cannot be used: .*1\.png"):
        open_sources(config.data, config.camera, shape=(16, 16), made=made)
    config = load_config(None, [*training_data, f"data.radiographs_dir={folder}", "data.skip_bad=true"])
    sources, bad = open_sources(config.data, config.camera, shape=(16, 16), made=made)
    assert len(sources.radiographs) == 2 and [one.path.name for one in bad] == ["1.png"]
