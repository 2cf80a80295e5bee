"""Materials of a CT: codes of its HU, and what labels tell of them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nerp.arguments import label_values
from nerp.errors import GeometryError, UsageError, VolumeError
from nerp.physics.tissues import CT_KEV, TISSUES, kind_of, knot_densities, knots_hu
from nerp.projection.materials import MaterialVolume
from nerp.volume import Volume

_log = logging.getLogger(__name__)

BODY, REST = "body", "rest"
"""The one group of all voxels, and the group of those that belong to none of several."""

LEAST_HU, MOST_HU = -32768.0, 32767.0
CUT_OFF_HU, MOST_CUT_OFF_HU, FEW_VOXELS = 2800.0, 4200.0, 8
"""Where more voxels than a few have the highest HU of all, and it lies between, metal is cut off at it."""

ENHANCED_HU = 150.0
"""An organ or vessel above holds a contrast agent."""
RIM_SLOT = 1
"""After slot 0, of voxels that no label tells of, where any label tells of an organ."""
MOST_GROUPS = 60

CHUNK = 2**17
"""Voxels that are coded at a time, so that they stay in the cache."""


@dataclass(frozen=True)
class _Slots:
    """Which slot each label belongs to, and what slots mean.

    Args:
        of_label: (L,) uint8, slot of every label value; 0 for those that say nothing.
        groups:   names of the groups.
        kinds:    S of `KINDS`.
        group_of: S places in `groups`.
    """

    of_label: Tensor
    groups: tuple[str, ...]
    kinds: tuple[str, ...]
    group_of: tuple[int, ...]


def material_volume(
    ct: Volume,
    labels: Volume | None = None,
    *,
    names: Mapping[int, str] | None = None,
    groups: Mapping[str, Sequence[int]] | None = None,
    energy_kev: float = CT_KEV,
) -> MaterialVolume:
    """What every voxel of a CT is made of.

    HU alone tell air, lung, fat, soft tissue, bone and metal by the knots of `nerp.physics.tissues`, without steps.
    Where labels have names, these decide first: lungs and organs are never bone, what is dense in them is taken for
    iodine; bones hold marrow and bone. A voxel at the rim of an enhanced organ, labelled by nothing, goes with it.

    Args:
        ct:         `(1, D, H, W)` HU; below air's they count as air.
        labels:     `(C, D, H, W)` on the CT's own grid; where channels overlap, the first that says something counts.
        names:      what label values are called; those without a name go by that of their group, or by their HU.
        groups:     label values of each group that is to be told apart; all else is the group `rest`, the last one.
        energy_kev: at which the CT's HU hold, its effective energy; 72 at 120 kVp.

    Returns:
        The materials `TISSUES`, iodine among them only where labels tell of organs. Differentiable in the HU.

    Raises:
        VolumeError:   HU that cannot be.
        GeometryError: another unit, several channels, or labels on another grid.
        UsageError:    groups or names without labels, a label in two groups, or an energy that no CT has.
    """
    _check_ct(ct)
    slots = _slots(labels, names or {}, groups)
    tables = knot_densities(slots.kinds, energy_kev)
    present = [n for n, name in enumerate(TISSUES) if name != "iodine" or bool(tables[..., n].any())]
    codes = codes_of(ct.values[0], knots_hu(energy_kev))
    parts = tuple(TISSUES[n] for n in present), slots.groups
    group_map = None if labels is None else _slot_map(ct, labels, slots)
    return MaterialVolume(codes, tables[..., present].to(codes), ct.affine, *parts, group_map, slots.group_of)


def codes_of(hu: Tensor, knots: Tensor) -> Tensor:
    """The place of each HU between knots.

    Args:
        hu:    of any shape, HU.
        knots: (N,) HU, ascending.

    Returns:
        Of that shape, 0 at and below the first knot to N - 1 at and above the last. Differentiable in the HU.
    """
    ends = knots.tolist()
    if hu.requires_grad:
        parts = [((hu - low) / (high - low)).clamp(0, 1) for low, high in zip(ends, ends[1:], strict=False)]
        return torch.stack(parts).sum(dim=0)
    codes = torch.empty_like(hu, memory_format=torch.contiguous_format)
    for part, to in zip(hu.reshape(-1).split(CHUNK), codes.view(-1).split(CHUNK), strict=True):
        _code_chunk(part, ends, to)
    return codes


def _code_chunk(hu: Tensor, knots: list[float], codes: Tensor) -> None:
    part = torch.empty_like(hu)
    codes.zero_()
    for low, high in zip(knots, knots[1:], strict=False):
        torch.sub(hu, low, out=part)
        codes.add_(part.mul_(1 / (high - low)).clamp_(0, 1))


def _check_ct(ct: Volume) -> None:
    if ct.unit != "hu" or len(ct.values) != 1:
        found = f"{len(ct.values)} channels in {ct.unit!r}"
        raise GeometryError(f"material_volume() needs a CT of one channel in 'hu', found {found}; use read_volume")
    low, high = (float(end) for end in torch.aminmax(ct.values.detach()))
    if not (low >= LEAST_HU and high <= MOST_HU):
        raise VolumeError(
            f"the CT's values run from {low:g} to {high:g}; expected HU within {LEAST_HU:g} to {MOST_HU:g}"
        )
    if CUT_OFF_HU <= high <= MOST_CUT_OFF_HU and (n_voxels := int((ct.values == high).count_nonzero())) > FEW_VOXELS:
        _log.warning(
            "the CT's HU end at %g, where %d voxels lie: metal is cut off there and will pass too much", high, n_voxels
        )


def _slots(labels: Volume | None, names: Mapping[int, str], groups: Mapping[str, Sequence[int]] | None) -> _Slots:
    if labels is None:
        if groups or names:
            raise UsageError("groups or names of labels were given without labels; give the label map as well")
        return _Slots(torch.zeros(1, dtype=torch.uint8, device="cpu"), (BODY,), ("any",), (0,))
    group_names, group_of_label = _grouped(groups or {})
    rest = len(group_names) - 1
    labelled = sorted({*names, *group_of_label} - {0})
    meanings = {}
    for label in labelled:
        group = group_of_label.get(label, rest)
        meanings[label] = group, kind_of(names.get(label, group_names[group]))
    rims = [(rest, "organ")] if any(kind == "organ" for _, kind in meanings.values()) else []
    pairs = list(dict.fromkeys([(rest, "any"), *rims, *meanings.values()]))
    of_label = torch.zeros(max(labelled, default=0) + 1, dtype=torch.uint8, device="cpu")
    for label, meaning in meanings.items():
        of_label[label] = pairs.index(meaning)
    return _Slots(of_label, group_names, tuple(kind for _, kind in pairs), tuple(group for group, _ in pairs))


def _grouped(groups: Mapping[str, Sequence[int]]) -> tuple[tuple[str, ...], dict[int, int]]:
    """Names of the groups, and the place of each label's group among them."""
    if not groups:
        return (BODY,), {}
    places: dict[int, int] = {}
    for place, (name, labels) in enumerate(groups.items()):
        for label in label_values(labels):
            if places.setdefault(label, place) != place:
                first = list(groups)[places[label]]
                raise UsageError(f"label {label} is in the groups {first!r} and {name!r}; expected one group for each")
    if REST in groups or BODY in groups or len(groups) > MOST_GROUPS or min(places) < 1:
        raise UsageError(
            f"{len(groups)} groups {', '.join(groups)}; expected at most {MOST_GROUPS}, none of them called {BODY} or "
            f"{REST}, of labels of 1 or more"
        )
    return (*groups, REST), places


def _slot_map(ct: Volume, labels: Volume, slots: _Slots) -> Tensor:
    """(D, H, W) uint8 slot of each voxel."""
    if labels.unit != "label" or labels.shape != ct.shape or not torch.allclose(labels.affine, ct.affine, atol=1e-3):
        raise GeometryError(
            f"labels in {labels.unit!r} of {labels.shape} voxels; expected 'label' on the grid of the CT, {ct.shape}: "
            "resample them to the CT"
        )
    found = torch.zeros(ct.shape, dtype=torch.uint8, device=ct.values.device)
    told = torch.cat([slots.of_label, slots.of_label.new_zeros(1)]).to(found.device)
    for channel in labels.values:
        values = channel.to(found.device).clamp(0, len(told) - 1).to(torch.int32).contiguous()
        more = told.index_select(0, values.flatten()).view_as(found)
        found = torch.where(found == 0, more, found) if len(labels.values) > 1 else more
    if "organ" in slots.kinds:
        found[_rims(found, ct.values[0].detach(), slots.kinds)] = RIM_SLOT
    return found


def _rims(found: Tensor, hu: Tensor, kinds: tuple[str, ...]) -> Tensor:
    """Voxels that no label tells of beside enhanced ones of organs: part of them is organ, and none is bone."""
    enhanced = _of_kind(found, kinds, "organ").logical_and_(hu > ENHANCED_HU)
    unknown = (found == 0).logical_and_(_grown(enhanced))
    return unknown.logical_and_(~_grown(_of_kind(found, kinds, "bone")))


def _of_kind(found: Tensor, kinds: tuple[str, ...], wanted: str) -> Tensor:
    mask = torch.zeros_like(found, dtype=torch.bool)
    for slot, kind in enumerate(kinds):
        if kind == wanted:
            mask.logical_or_(found == slot)
    return mask


def _grown(mask: Tensor) -> Tensor:
    """A mask (D, H, W) and its neighbours across faces."""
    grown = mask.clone()
    for axis in range(3):
        size = mask.shape[axis] - 1
        grown.narrow(axis, 0, size).logical_or_(mask.narrow(axis, 1, size))
        grown.narrow(axis, 1, size).logical_or_(mask.narrow(axis, 0, size))
    return grown
