"""Planted copies are flagged, strangers are not, and the rate of false alarms is what is stated."""

import csv
import io
import json

import numpy as np
import pytest
import torch
from PIL import Image
from textures import texture, write_textures

from nerp.errors import EvaluationError
from nerp.evaluation.copies import copy_threshold
from nerp.evaluation.likeness import flattened, likeness, read_small
from nerp.evaluation.memorisation import evaluate_memorisation
from nerp.evaluation.nearest import cosine_distance, nearest, part_below, picture_distance
from nerp.evaluation.set_settings import MemorisationConfig


def score(fake, real, **settings):
    kind = {"n_resamples": 50, "extractor": "none"} | {
        name: str(value) for name, value in settings.items() if name in ("held_out", "patients")
    }
    return evaluate_memorisation(MemorisationConfig(fake=str(fake), real=str(real), **(settings | kind)))


def opened(path):
    with Image.open(path) as image:
        return np.array(image.convert("L"))


def as_jpeg(pixels, quality):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="JPEG", quality=quality)
    return opened(buffer)


def resized(pixels, *shape):
    return np.asarray(Image.fromarray(pixels).resize(shape, Image.Resampling.BICUBIC))


def noisy(pixels, levels):
    source = np.random.default_rng(0)
    return (pixels + source.normal(0, levels, pixels.shape)).clip(0, 255).round().astype(np.uint8)


COPIES = {
    "exact": lambda pixels: pixels,
    "halved": lambda pixels: resized(pixels, 128, 128),
    "squeezed": lambda pixels: resized(pixels, 200, 180),
    "doubled": lambda pixels: resized(pixels, 512, 512),
    "jpeg": lambda pixels: as_jpeg(pixels, 50),
    "coarse_jpeg": lambda pixels: as_jpeg(pixels, 30),
    "noisy": lambda pixels: noisy(pixels, 5),
    "noisier": lambda pixels: noisy(pixels, 12),
    "gamma": lambda pixels: (255 * (pixels / 255) ** 0.7).round().astype(np.uint8),
    "window": lambda pixels: ((pixels.astype(float) - 20) * 1.15).clip(0, 255).astype(np.uint8),
    "mirrored": lambda pixels: pixels[:, ::-1],
    "shifted": lambda pixels: np.roll(pixels, (pixels.shape[0] // 32, -pixels.shape[1] // 32), (0, 1)),
}


def write_copies(sources, folder):
    """Each way of copying, of another image each."""
    folder.mkdir()
    for path, (name, change) in zip(sources, COPIES.items(), strict=False):
        Image.fromarray(np.ascontiguousarray(change(opened(path)))).save(folder / f"{name}.png")
    return folder


def small(count, *, seed=0):
    source = np.random.default_rng(seed)
    return torch.from_numpy(np.stack([texture(source, side=32, grain=0, smooth=1.5) for _ in range(count)])).float()


def test_growing_functions_of_grey_levels_do_not_count():
    images = small(4)
    assert torch.equal(flattened(images), flattened((images / 255) ** 0.4))
    assert torch.equal(flattened(images), flattened(3 * images - 7))
    assert flattened(torch.full((1, 32, 32), 9.0)).abs().max() < 1e-6


def test_likeness_is_one_of_the_same_picture_and_small_of_others():
    images = flattened(small(20))
    found = likeness(images, images)
    assert torch.allclose(found.diagonal(), torch.ones(20), atol=1e-5)
    assert (found - torch.eye(20)).max() < 0.5
    assert torch.allclose(likeness(images.flip(-1), images), found, atol=1e-5)
    assert likeness(torch.roll(images, (1, -1), (1, 2)), images).diagonal().min() > 0.99
    assert likeness(torch.zeros(1, 32, 32), images).abs().max() == 0


def test_likeness_is_numpys_correlation():
    first, second = flattened(small(1)), flattened(small(1, seed=1))
    inner = second[0, 1:-1, 1:-1].flatten().numpy()
    laid = [
        turned[0, down : down + 30, across : across + 30].flatten().numpy()
        for turned in (first, first.flip(-1))
        for down in range(3)
        for across in range(3)
    ]
    expected = max(np.corrcoef(one, inner)[0, 1] for one in laid)
    assert float(likeness(first, second)) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("distance", [picture_distance, cosine_distance])
def test_neighbours_are_those_of_a_plain_search(distance):
    if distance is picture_distance:
        first, second = flattened(small(7)), flattened(small(9, seed=1))
    else:
        generator = torch.Generator().manual_seed(0)
        first, second = (torch.randn(count, 5, generator=generator, dtype=torch.float64) for count in (300, 9))
    groups = [n % 3 for n in range(len(first))], [n % 3 for n in range(9)]
    table = distance(first, second)
    for row in range(len(first)):
        others = [column for column in range(9) if groups[1][column] != groups[0][row]]
        found = nearest(first, second, distance, groups=groups)
        best = min(others, key=lambda column: float(table[row, column]))
        assert int(found.indices[row]) == best
        assert float(found.distances[row]) == pytest.approx(float(table[row, best]), abs=1e-6)
        if row > 10:
            break
    assert torch.allclose(nearest(first, second, distance).distances, table.min(1).values.double(), atol=1e-6)


def test_pairs_of_different_patients_are_counted_once():
    features = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.1], [0.0, 1.0]], dtype=torch.float64)
    assert part_below(features, cosine_distance, 0.5, groups=["a", "b", "b", "c"]) == (2, 5)


def test_the_threshold_keeps_its_rate_on_new_draws(generator):
    """Split conformal: over many sets, the mean part of new draws below the threshold is k / (n + 1)."""
    below = []
    for _ in range(3000):
        drawn = torch.rand(199, generator=generator, dtype=torch.float64)
        below.append(copy_threshold(drawn, 0.05))  # of uniform draws, the part below it is the threshold itself
    assert np.mean(below) == pytest.approx(10 / 200, abs=0.001)
    assert copy_threshold(torch.tensor([3.0, 1.0, 2.0]), 0.01) == 1.0
    assert copy_threshold(torch.tensor([]), 0.01) == 0.0


def test_planted_copies_are_flagged_and_strangers_are_not(tmp_path):
    real = write_textures(tmp_path / "real", 60, side=128)
    fake = write_copies(sorted(real.iterdir()), tmp_path / "fake")
    write_textures(fake, 20, seed=5, side=128, name="new{0}.png")
    result = score(fake, real, listed=3)
    copied = [one for one in result["nearest"] if one["flagged_by"]]
    originals = dict(zip(COPIES, (path.name for path in sorted(real.iterdir())), strict=False))
    assert {one["file"].removesuffix(".png"): one["pixels"]["nearest"] for one in copied} == originals
    assert result["copies"]["count"] == result["spaces"]["pixels"]["copies"] == len(COPIES)
    assert result["copies"]["value"] == pytest.approx(12 / 32) and result["copies"]["ci95"][0] > 0.15
    assert result["false_alarm"]["real"]["value"] <= 0.01 and result["false_alarm"]["pairs"]["value"] <= 0.01
    assert result["extractor"] is None and result["kind"] == "memorisation"
    assert any("60 real images cannot promise a false-alarm rate of 0.01" in text for text in result["warnings"])
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_privacy_is_a_half_of_new_images_and_one_of_copies(tmp_path):
    real = write_textures(tmp_path / "real", 80)
    new = write_textures(tmp_path / "new", 60, seed=1)
    held_out = write_textures(tmp_path / "held_out", 60, seed=2)
    found = score(new, real, held_out=held_out)["spaces"]["pixels"]["privacy"]
    assert found["beside"] == "held_out"
    low, high = found["nearer"]["ci95"]
    assert low <= 0.5 <= high and found["nearer"]["n"] == 60
    assert score(new, real)["spaces"]["pixels"]["privacy"]["beside"] == "real"
    copied = score(real, real, held_out=held_out)
    assert copied["spaces"]["pixels"]["privacy"]["nearer"]["value"] == 1.0
    assert copied["spaces"]["pixels"]["privacy"]["very_near"]["value"] == 1.0
    assert copied["copies"]["value"] == 1.0
    assert any("the two sets may be the same images" in text for text in copied["warnings"])
    assert copied["false_alarm"]["held_out"]["n"] == 60


def test_twins_of_another_patient_do_not_hide_copies(tmp_path):
    """Images that stand twice in the real set would make every threshold nothing."""
    real = write_textures(tmp_path / "real", 30, side=128)
    for number, path in enumerate(sorted(real.iterdir())[:3]):
        Image.fromarray(opened(path)).save(real / f"{90000000 + number:08d}_000.png")
    fake = write_copies(sorted(real.iterdir())[10:], tmp_path / "fake")
    result = score(fake, real)
    assert result["copies"]["count"] == len(COPIES)
    assert any("6 real images show the same picture as another patient's" in text for text in result["warnings"])
    assert result["false_alarm"]["real"]["value"] == pytest.approx(6 / 33)


def test_held_out_images_of_known_patients_are_left_out(tmp_path):
    real = write_textures(tmp_path / "real", 10)
    held_out = write_textures(tmp_path / "held_out", 6, seed=1)
    for path in sorted(real.iterdir())[:4]:
        (held_out / path.name.replace("_000", "_001")).symlink_to(path)
    result = score(real, real, held_out=held_out)
    assert result["held_out"]["images"] == 6
    assert any("4 held-out images are left out" in text for text in result["warnings"])
    with pytest.raises(EvaluationError, match="10 of 10 held-out images are of patients whose images are among"):
        score(real, real, held_out=real)


def test_files_of_one_name_are_not_taken_for_one_patient(tmp_path):
    real = write_textures(tmp_path / "real", 6, name="film{0}.png")
    held_out = write_textures(tmp_path / "held_out", 6, name="film{0}.png", grain=9.0)
    assert score(real, real, held_out=held_out)["held_out"]["images"] == 6


def test_the_command(tmp_path, nerp):
    real, fake = write_textures(tmp_path / "real", 8), write_textures(tmp_path / "fake", 5, seed=1)
    index = tmp_path / "index.csv"
    with open(index, "w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["Image Index", "Patient ID"])
        rows.writerows((path.name, number // 2) for number, path in enumerate(sorted(real.iterdir())))
    options = ["--patients", index, "--extractor", "none", "--seed", 1, "--device", "cpu"]
    keys = ["false_alarm=0.3", "listed=2", "n_resamples=20"]
    saved = tmp_path / "saved.json"
    code, said, _ = nerp("evaluate", "memorisation", fake, real, *options, *keys, "--json", "--save", saved)
    assert code == 0
    result = json.loads(said)
    assert json.loads(saved.read_text()) == result
    assert (result["real"]["patients"], result["real"]["patients_by"], result["real"]["images"]) == (4, "index", 8)
    assert result["false_alarm"]["asked"] == 0.3 and len(result["nearest"]) >= 2
    assert set(result["copies"]) == {"count", "value", "ci95", "n"} and result["skipped"] == []
    code, said, _ = nerp("evaluate", "memorisation", fake, real, *options, *keys)
    assert code == 0 and said.startswith("copies   ") and "nearer than real images are" in said
    more = ["--held-out", real, "--weights", "w.pth", "--skip-bad", "--dry-run"]
    code, said, _ = nerp("evaluate", "memorisation", fake, real, *options, *more)
    assert code == 0 and f"held_out: {real}" in said and "weights: w.pth" in said and "skip_bad: true" in said


def test_bad_input_is_one_clear_line(tmp_path, nerp):
    good = write_textures(tmp_path / "good", 4)
    lone = write_textures(tmp_path / "lone", 1)
    one_patient = write_textures(tmp_path / "one", 3, name="00000001_{0:03d}.png")
    (tmp_path / "empty").mkdir()
    for fake, real, message in [
        (tmp_path / "absent", good, "no folder at"),
        (good, tmp_path / "empty", "no image in"),
        (good, lone, "has 1 real image; expected 2 or more"),
        (good, one_patient, "are of one patient; expected 2 or more"),
    ]:
        code, said, told = nerp("evaluate", "memorisation", fake, real, "--extractor", "none")
        assert code == 1 and said == "" and message in told and told.count("\n") == 1
    code, _, told = nerp("evaluate", "memorisation", good, good, "--extractor", "no_such")
    assert code == 2 and "'no_such' is unknown" in told
    (good / "00000002_000.png").write_bytes(b"no picture")
    code, _, told = nerp("evaluate", "memorisation", good, good, "--extractor", "none")
    assert code == 1 and "00000002_000.png cannot be read" in told
    assert score(good, good, skip_bad=True, n_resamples=0)["skipped"] == ["00000002_000.png"] * 2


def test_planted_copies_of_real_films_are_flagged_and_new_patients_are_not(real_data, tmp_path):
    """Thresholds of half of the patients, tried on the other half."""
    images = sorted((real_data / "cxr-nih" / "images").iterdir())
    patients = sorted({path.name[:8] for path in images})[:300]
    real, new = tmp_path / "real", tmp_path / "new"
    for number, folder in enumerate((real, new)):
        folder.mkdir()
        for path in images:
            if path.name[:8] in patients[number::2]:
                (folder / path.name).symlink_to(path)
    fake = write_copies(sorted(real.iterdir())[::10], tmp_path / "fake")
    result = score(fake, real, held_out=new, n_resamples=0)
    assert result["copies"]["count"] == len(COPIES)
    assert result["false_alarm"]["held_out"]["value"] <= 0.02
    assert result["false_alarm"]["pairs"]["value"] <= 0.0001
    assert read_small(sorted(fake.iterdir())).shape == (len(COPIES), 32, 32)
