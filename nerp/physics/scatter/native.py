"""What crosses to the compiled transport: the structures of `native/task.h`, made of tensors."""

from __future__ import annotations

from ctypes import Structure, c_double, c_int32, c_int64, c_uint64, c_void_p
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from nerp.errors import UsageError
from nerp.physics.beam import Spectrum
from nerp.physics.grid import Grid, passage
from nerp.physics.scatter.setting import Arrangement, Matter
from nerp.physics.scatter.tables import HIGHEST_KEV, N_ENERGIES, STEP_KEV, PhotonTables, energies_kev
from nerp.projection.backends.cpu import library

MEASURES = ("counts", "energy", "response")
LOWEST_PHOTON_KEV = 5.0
BLOCK = 8
"""Voxels along each side of the blocks that the exact transport takes the largest densities of."""


class MatterTask(Structure):
    """`NerpMatter`."""

    _fields_ = [
        ("shape", c_int32 * 3),
        ("n_materials", c_int32),
        ("n_energies", c_int32),
        ("n_transfers", c_int32),
        ("to_index", c_double * 12),
        ("densities", c_void_p),
        ("total", c_void_p),
        ("coherent", c_void_p),
        ("incoherent", c_void_p),
        ("coherent_norm", c_void_p),
        ("incoherent_norm", c_void_p),
        ("form_cumulative", c_void_p),
        ("binding", c_void_p),
        ("largest", c_void_p),
        ("block", c_int32),
    ]


class RadiationTask(Structure):
    """`NerpRadiation`."""

    _fields_ = [
        ("source", c_double * 3),
        ("centre", c_double * 3),
        ("right", c_double * 3),
        ("down", c_double * 3),
        ("size", c_double * 2),
        ("field", c_double * 4),
        ("parallel", c_int32),
        ("rows", c_int32),
        ("columns", c_int32),
        ("n_lines", c_int32),
        ("line_kev", c_void_p),
        ("line_cumulative", c_void_p),
        ("line_weight", c_void_p),
        ("response", c_void_p),
    ]


class StripsTask(Structure):
    """`NerpStrips`."""

    _fields_ = [
        ("pitch_mm", c_double),
        ("lead_mm", c_double),
        ("height_mm", c_double),
        ("focus_mm", c_double),
        ("lead", c_void_p),
        ("interspace", c_void_p),
        ("glow", c_void_p),
    ]


class TallyTask(Structure):
    """`NerpTally`."""

    _fields_ = [
        ("n_photons", c_int64),
        ("seed", c_uint64),
        ("reference_kev", c_double),
        ("relative", c_void_p),
        ("threads", c_int32),
        ("n_groups", c_int32),
        ("sums", c_void_p),
        ("groups", c_void_p),
        ("derivatives", c_void_p),
    ]


class Kept:
    """A structure and the tensors that its addresses point into, kept alive together.

    Args:
        task: the structure.
        kept: (...) tensors of any shape.
    """

    def __init__(self, task: Structure, *kept: Tensor) -> None:
        self.task, self.kept = task, kept


def matter_task(matter: Matter, tables: PhotonTables, *, with_blocks: bool = True) -> Kept:
    """The volume and its tables.

    Args:
        matter:      densities (M, D, H, W), g/cm³.
        tables:      of its materials.
        with_blocks: whether the exact transport is to walk through it.
    """
    n_materials, n_transfers = tables.binding.shape
    voxels = matter.densities.detach().to("cpu", torch.float32).permute(1, 2, 3, 0).contiguous()
    largest = largest_of_blocks(matter.densities) if with_blocks else None
    to_index = torch.linalg.inv(matter.affine.to("cpu", torch.float64))[:3].flatten().tolist()
    by_energy = [tables.total, tables.coherent, tables.incoherent, tables.coherent_norm, tables.incoherent_norm]
    by_transfer = [tables.form_cumulative, tables.binding]
    task = MatterTask(
        (c_int32 * 3)(*matter.shape),
        n_materials,
        N_ENERGIES,
        n_transfers,
        (c_double * 12)(*to_index),
        library.floats(voxels, *matter.shape, n_materials),
        *(library.doubles(part, n_materials, N_ENERGIES) for part in by_energy),
        *(library.doubles(part, n_materials, n_transfers) for part in by_transfer),
        None if largest is None else library.floats(largest, *largest.shape),
        BLOCK,
    )
    return Kept(task, voxels, *([] if largest is None else [largest]), *by_energy, *by_transfer)


def largest_of_blocks(densities: Tensor) -> Tensor:
    """The largest density of each material in each block of `BLOCK` voxels along each side.

    Args:
        densities: (M, D, H, W) g/cm³.

    Returns:
        (d, h, w, M) g/cm³, float32.
    """
    found = functional.max_pool3d(densities.detach().to("cpu", torch.float32)[None], BLOCK, ceil_mode=True)[0]
    return found.permute(1, 2, 3, 0).contiguous()


def radiation_task(arrangement: Arrangement, spectrum: Spectrum, response: Tensor, raster: tuple[int, int]) -> Kept:
    """Source, detector and spectrum, each photon of which counts for one.

    Args:
        arrangement: source and detector, mm.
        spectrum:    energies (E,), keV, and photons (E,).
        response:    (`N_ENERGIES`,) what the detector makes of a photon of each energy of `energies_kev()`.
        raster:      rows and columns of the tally.
    """
    kev = spectrum.energies_kev.detach().to("cpu", torch.float64).contiguous()
    check_energies(kev)
    share = spectrum.photons.detach().to("cpu", torch.float64)
    return radiation_task_of(arrangement, kev, share, torch.ones_like(share), response, raster)


def radiation_task_of(
    arrangement: Arrangement,
    kev: Tensor,
    drawn: Tensor,
    weight: Tensor,
    response: Tensor,
    raster: tuple[int, int],
) -> Kept:
    """Source, detector, and how energies are drawn.

    Args:
        arrangement: source and detector, mm.
        kev:         (E,) energies, keV.
        drawn:       (E,) how often each is drawn, to any scale.
        weight:      (E,) what a photon of it counts for.
        response:    (`N_ENERGIES`,) of the detector.
        raster:      rows and columns of the tally.
    """
    cumulative = (drawn.cumsum(0) / drawn.sum()).contiguous()
    weight, response = weight.contiguous(), response.to("cpu", torch.float64).contiguous()
    vectors = (arrangement.source, arrangement.centre, arrangement.right, arrangement.down)
    task = RadiationTask(
        *((c_double * 3)(*part.tolist()) for part in vectors),
        (c_double * 2)(*arrangement.size_mm),
        (c_double * 4)(*arrangement.field),
        int(arrangement.parallel),
        *raster,
        len(kev),
        *(library.doubles(part, len(kev)) for part in (kev, cumulative, weight)),
        library.doubles(response, N_ENERGIES),
    )
    return Kept(task, kev, cumulative, weight, response)


@lru_cache(maxsize=8)
def strips_task(grid: Grid) -> Kept:
    """The grid in front of the detector; its strips run along `down` and are focused some mm before the centre."""
    how = passage(grid, energies_kev())
    rows = [part.contiguous() for part in (how.lead, how.interspace, how.glow)]
    sizes = (grid.pitch_mm, grid.lead_um / 1000, grid.height_mm, grid.focus_mm or 0.0)
    return Kept(StripsTask(*sizes, *(library.doubles(part, N_ENERGIES) for part in rows)), *rows)


def tally_task(n_photons: int, seed: int, sums: Tensor) -> TallyTask:
    """Where a transport adds up.

    Args:
        n_photons: sent out.
        seed:      of their random numbers.
        sums:      (..., 3, h, w) float64, that is added to.
    """
    address = library.doubles(sums, *sums.shape)
    return TallyTask(n_photons, seed % (1 << 64), 0.0, None, torch.get_num_threads(), 0, address, None, None)


def check_energies(kev: Tensor) -> None:
    """Refuse, with a UsageError, energies (E,) in keV that the tables do not hold."""
    if not bool(((kev >= LOWEST_PHOTON_KEV) & (kev <= HIGHEST_KEV)).all()):
        found = f"{float(kev.min()):g} to {float(kev.max()):g} keV"
        raise UsageError(f"scatter is asked for at {found}; expected {LOWEST_PHOTON_KEV:g} to {HIGHEST_KEV:.0f} keV")


def response_table(spectrum_response: Tensor | None) -> Tensor:
    """What the detector makes of a photon of each energy of the tables.

    Args:
        spectrum_response: `N_ENERGIES` numbers at `energies_kev()`, or None for a detector that adds up keV.

    Returns:
        As many, float64.

    Raises:
        UsageError: another number of energies.
    """
    if spectrum_response is None:
        return energies_kev()
    if spectrum_response.numel() != N_ENERGIES:
        raise UsageError(
            f"the response has {spectrum_response.numel()} energies; expected {N_ENERGIES}, one each {STEP_KEV:g} keV"
        )
    return spectrum_response.detach().to("cpu", torch.float64).reshape(-1)
