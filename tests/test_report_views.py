"""A recorded view in every mode: the CT found by its hash, the set's own mode byte for byte, each map what it says."""

import json

import numpy as np
import pytest
import torch
from pages import check_page
from small_chests import changed
from test_report import words

from nerp import read_labels, read_volume
from nerp.data.pairs import read_records
from nerp.errors import DataError, UsageError
from nerp.projection import project_labels, siddon
from nerp.report import ReportConfig, write_report
from nerp.synthesis import synthesize
from nerp.synthesis.views import views_of
from nerp.volume import attenuation


@pytest.fixture(scope="module")
def pairs(chests, tmp_path_factory):
    """Two DRRs of each of two chests."""
    folder = tmp_path_factory.mktemp("views") / "pairs"
    synthesize(*chests, out=folder, settings=changed(views=2))
    return folder


def test_a_view_is_seen_in_every_mode_by_the_same_rays(chests, pairs, run):
    record = read_records(pairs / "metadata.jsonl")[0]
    views = {one.mode: one for one in views_of(record, ct=chests[0], labels=chests[1], run=run, device="cpu")}
    assert list(views) == ["drr", "physics", "vrr", "thickness"]
    assert views["drr"].is_same is True and views["physics"].is_same is None
    assert all(one.image.shape == (24, 20) and one.image.dtype == np.uint8 for one in views.values())
    ct = next(path for path in sorted(chests[0].iterdir()) if sha(path) == record.ct_sha256)
    volume = read_volume(ct)
    labels = read_labels(chests[1] / ct.name, volume)
    camera = record.make_camera().to(torch.float64)
    lengths = project_labels(labels, camera, [10, 11]).sum(1)[0]
    assert views["thickness"].most_mm == pytest.approx(float(lengths.max()))
    expected = (255 * lengths / lengths.max()).round().numpy()
    assert np.abs(views["thickness"].image - expected).max() <= 1
    integrals = siddon(attenuation(volume), camera)[0, 0].numpy()
    order = np.corrcoef(integrals.ravel(), views["drr"].image.ravel())[0, 1]
    assert order > 0.95


def sha(path):
    from nerp.files import sha256

    return sha256(path)


def test_an_altered_set_is_told(chests, pairs):
    from dataclasses import replace

    record = replace(read_records(pairs / "metadata.jsonl")[0], image_sha256="0" * 64)
    assert views_of(record, ct=chests[0], labels=chests[1], device="cpu")[0].is_same is False


def test_the_page_shows_the_views_side_by_side(nerp, chests, pairs, run, tmp_path):
    out = tmp_path / "a.html"
    where = ("--ct", chests[0], "--labels", chests[1], "--run", run, "--views", "1", "--device", "cpu")
    code, _, complaint = nerp("report", pairs, *where, "--out", out, "pairs=2")
    assert code == 0, complaint
    text = words(out)
    page = check_page(text)
    assert "it equals the set&#39;s file byte for byte" in text
    for expected in ("as in the set", "line integrals (DRR)", "physical radiograph", "learned radiograph (VRR)"):
        assert expected in text, expected
    assert "thickness of the mask&#39;s labels, black 0 to white" in text
    assert len([alt for alt in page.alts if alt]) == 2 + 5
    assert text.count('class="mask"') == 2 + 5


def test_what_is_missing_for_views_is_said_before_anything_is_written(chests, pairs, tmp_path):
    out = str(tmp_path / "a.html")
    with pytest.raises(UsageError, match="has a mask; give its labels"):
        write_report(ReportConfig(folders=(str(pairs),), out=out, ct=str(chests[0])))
    with pytest.raises(DataError, match="no CT of SHA-256"):
        write_report(ReportConfig(folders=(str(pairs),), out=out, ct=str(chests[1]), labels=str(chests[1])))
    assert not list(tmp_path.iterdir())


def test_progress_counts_the_views(chests, pairs, tmp_path):
    told = []
    config = ReportConfig(
        folders=(str(pairs),),
        out=str(tmp_path / "a.html"),
        ct=str(chests[0]),
        labels=str(chests[1]),
        views=2,
        device="cpu",
    )
    write_report(config, progress=lambda *one: told.append(one))
    assert told == [(0, 2), (1, 2), (2, 2)]
    assert json.loads((pairs / "dataset.json").read_text())["complete"]
