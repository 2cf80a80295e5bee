"""From HU to tissues: what a voxel of a CT is made of, so that it attenuates as the CT says.

Which tissue an HU means is told at a few knots; between them, mass densities are linear. At each knot the density is
the one with which that tissue attenuates (1 + HU / 1000) times as much as water at the CT's effective energy, so the
HU is met there exactly, and between the knots too, since both are linear. The densities that come out are those of
ICRU Report 44 within 2 %, and rise with HU.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import torch
from torch import Tensor

from nerp.errors import UsageError
from nerp.label_names import is_lung, is_within_lung
from nerp.physics.attenuation import linear_attenuation_per_cm, mass_attenuation_cm2_per_g

TISSUES = ("air", "lung", "adipose", "soft_tissue", "bone", "iodine", "steel")
"""Materials of `nerp.physics.attenuation` that a CT is taken apart into."""

CT_KEV = 72.0
"""Effective energy of a CT at 120 kVp: ICRU 44's cortical bone has 1507 HU there, and 1524 in Schneider et al. 2000."""
LOWEST_KEV, HIGHEST_KEV = 40.0, 150.0

LUNG_HU, FAT_HU, MUSCLE_HU, SOFT_HU, BONE_HU, DENSEST_HU = -200.0, -100.0, 50.0, 100.0, 1550.0, 2800.0
"""Inflated lung and less; fat; muscle and organs; the last soft tissue; cortical bone; enamel, the densest of a body.

Between air and knot 1 lies lung, or the edge of anything; above the last is metal, taken for steel, until it is
steel alone. Source: the intervals of Schneider, Bortfeld & Schlegel 2000, Phys. Med. Biol. 45:459.
"""
N_KNOTS = 8

KINDS = ("any", "lung", "bone", "organ")
"""What a label can make of HU: nothing new; air and lung, never bone; marrow with bone; soft tissue, never bone."""

MARROW_HU = -25.0
"""Of marrow between yellow and red, half fat and half soft tissue, without the bone around it."""

BONE_WORDS = (
    *("rib", "vertebra", "spine", "sternum", "manubrium", "clavic", "scapul", "humer", "radius", "ulna", "carpal"),
    *("femur", "hip", "pelvi", "sacrum", "coccyx", "skull", "mandib", "maxill", "tooth", "teeth", "bone", "skelet"),
    *("cartilage", "calcif"),
)
"""How words begin of which the names of bones, and of what turns into bone, consist."""
ORGAN_WORDS = (
    *("heart", "atri", "ventric", "myocard", "pericard", "aort", "vena", "vein", "venous", "arter", "pulmonary"),
    *("vessel", "brachiocephalic", "subclavian", "carotid", "iliac", "portal", "trunk", "esophag", "oesophag"),
    *("trachea", "thym", "thyroid", "liver", "spleen", "stomach", "kidney", "gallbladder", "pancreas", "adrenal"),
    *("bowel", "colon", "duodenum", "bladder", "prostate", "muscle", "glute", "autochthon", "iliopsoas", "brain"),
    *("breast", "lymph", "fat", "effusion", "cord", "disc", "discs", "diaphragm"),
)
"""How words begin of the names of organs and vessels: where they are dense, it is by a contrast agent."""


def kind_of(name: str) -> str:
    """Which of `KINDS` a label's name means; `any` for a name that tells of no tissue."""
    if is_lung(name) or is_within_lung(name):
        return "lung"
    words = re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower())
    if any(word.startswith(BONE_WORDS) for word in words):
        return "bone"
    return "organ" if any(word.startswith(ORGAN_WORDS) for word in words) else "any"


def knots_hu(energy_kev: float = CT_KEV) -> Tensor:
    """(8,) HU of the knots, ascending, float64; the first is air's, the last steel's.

    Args:
        energy_kev: effective energy of the CT.

    Raises:
        UsageError: an energy that no CT has.
    """
    if not LOWEST_KEV <= energy_kev <= HIGHEST_KEV:
        raise UsageError(
            f"the CT's effective energy is {energy_kev:g} keV; expected {LOWEST_KEV:g} to {HIGHEST_KEV:g}, such as 72"
        )
    energy = torch.tensor([energy_kev], dtype=torch.float64, device="cpu")
    water = linear_attenuation_per_cm("water", energy)
    air, steel = (float(1000 * (linear_attenuation_per_cm(name, energy) / water - 1)) for name in ("air", "steel"))
    inner = (LUNG_HU, FAT_HU, MUSCLE_HU, SOFT_HU, BONE_HU, DENSEST_HU)
    return torch.tensor((air, *inner, steel), dtype=torch.float64, device="cpu")


def knot_densities(kinds: Iterable[str] = ("any",), energy_kev: float = CT_KEV) -> Tensor:
    """Densities at the knots, for each kind of tissue that a label may tell of.

    Args:
        kinds:      S of `KINDS`.
        energy_kev: effective energy of the CT.

    Returns:
        (S, 8, 7) g/cm³ of `TISSUES`, float64.

    Raises:
        UsageError: an energy that no CT has.
    """
    hu, rows = knots_hu(energy_kev), _at_water(energy_kev)
    makers = {"any": _any_tissue, "lung": _lung, "bone": _bone, "organ": _organ}
    return torch.stack([makers[kind](rows, hu) for kind in kinds])


def _at_water(energy_kev: float) -> dict[str, Tensor]:
    """(7,) g/cm³ of each tissue alone where it attenuates as water does, that is at 0 HU."""
    energy = torch.tensor([energy_kev], dtype=torch.float64, device="cpu")
    water = linear_attenuation_per_cm("water", energy)
    alone = torch.stack([water / mass_attenuation_cm2_per_g(name, energy) for name in TISSUES])
    return dict(zip(TISSUES, torch.diag(alone[:, 0]), strict=True))


def _share(hu: float | Tensor) -> float | Tensor:
    """Attenuation relative to water's."""
    return 1 + hu / 1000


def _any_tissue(rows: dict[str, Tensor], hu: Tensor) -> Tensor:
    names = ("air", "lung", "adipose", "soft_tissue", "soft_tissue", "bone", "bone", "steel")
    return torch.stack([_share(at) * rows[name] for name, at in zip(names, hu, strict=True)])


def _bone(rows: dict[str, Tensor], hu: Tensor) -> Tensor:
    """Marrow in a frame of bone, as much of either as the HU tells."""
    found = _any_tissue(rows, hu)
    marrow = _share(MARROW_HU) * (rows["adipose"] + rows["soft_tissue"]) / 2
    for knot in (3, 4):
        part = (hu[knot] - MARROW_HU) / (BONE_HU - MARROW_HU)
        found[knot] = (1 - part) * marrow + part * _share(BONE_HU) * rows["bone"]
    return found


def _organ(rows: dict[str, Tensor], hu: Tensor) -> Tensor:
    """Soft tissue, and what exceeds it iodine."""
    found = _any_tissue(rows, hu)
    for knot in (5, 6):
        found[knot] = found[4] + (hu[knot] - hu[4]) / 1000 * rows["iodine"]
    return found


def _lung(rows: dict[str, Tensor], hu: Tensor) -> Tensor:
    """Lung with more or less air in it, and what exceeds it iodine in its vessels."""
    found = _organ(rows, hu)
    for knot in (2, 3, 4):
        found[knot] = _share(hu[knot]) * rows["lung"]
    for knot in (5, 6):
        found[knot] = found[4] + (hu[knot] - hu[4]) / 1000 * rows["iodine"]
    return found
