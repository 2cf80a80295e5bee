"""Whether labels can belong to a CT: their values, their place, and whether lungs are full of air."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nerp.label_maps.values import present_labels, where_labelled
from nerp.label_names import is_lung
from nerp.volume import Volume

AIR_HU = (-1000.0, -400.0)
"""What aerated lung has; the air about a patient lies at the lower end, or below."""
LEAST_AIR = 0.85
"""A smaller share of aerated voxels in the lungs is told: of ten CTs with their own labels the least had 0.96, the same
labels mirrored 0.39 to 0.85, another patient's 0.48; lungs of which one is opaque have 0.52, and are told, too."""
TISSUE_AIR = 0.15
"""Of a structure without a name, a share of air between this and `LEAST_AIR` is told: it is neither lung nor tissue."""
BETTER = 0.1
"""If so much more would be air in mirrored labels, it is said."""
MOST_OUTSIDE = 0.1
"""A larger share of a mask outside the CT is told."""


def check_labels_on_ct(
    ct: Volume,
    labels: Volume,
    values: Sequence[int],
    names: Mapping[int, str] | None = None,
    *,
    outside: Mapping[int, float] | None = None,
) -> list[str]:
    """What speaks against these labels being the CT's; nothing where all is well.

    Args:
        ct:      (1, D, H, W) HU.
        labels:  (M, D, H, W) on the CT's grid.
        values:  label values that the mask is made of.
        names:   of label values; those that mean lung are checked for air.
        outside: share of each label's voxels outside the CT, as `LabelMap.outside`.

    Returns:
        One line for each finding: a value that no voxel has, lungs without air, a mask outside the CT.
    """
    names = names or {}
    found = present_labels(labels) if values else set()
    absent = [value for value in values if value not in found]
    findings = [f"no voxel of the CT has the label {_listed(absent, names)}; check --mask"] if absent else []
    present = [value for value in values if value not in absent]
    return findings + _outside(present, names, outside or {}) + _air(ct, labels, present, names)


def _listed(values: Sequence[int], names: Mapping[int, str], most: int = 8) -> str:
    listed = [f"{value} ({names[value]})" if names.get(value) else str(value) for value in values[:most]]
    return ", ".join(listed) + (f" and {len(values) - most} more" if len(values) > most else "")


def _outside(values: Sequence[int], names: Mapping[int, str], outside: Mapping[int, float]) -> list[str]:
    far = [value for value in values if outside.get(value, 0.0) > MOST_OUTSIDE]
    if not far:
        return []
    worst = max(far, key=lambda value: outside[value])
    share = f"{100 * outside[worst]:.0f} % of label {_listed([worst], names)}"
    return [f"{share} lies outside the CT; check that labels and CT are of one patient and one scan"]


def _air(ct: Volume, labels: Volume, values: Sequence[int], names: Mapping[int, str]) -> list[str]:
    lungs = [value for value in values if is_lung(names.get(value, ""))]
    unnamed = [value for value in values if not names.get(value)]
    share = air_share(ct, labels, lungs or unnamed)
    if lungs and share < LEAST_AIR:
        found = f"only {100 * share:.0f} % of the lungs' voxels are air"
    elif unnamed and not lungs and TISSUE_AIR < share < LEAST_AIR:
        found = f"if the mask is lungs, only {100 * share:.0f} % of its voxels are air"
    else:
        return []
    mirrored = air_share(ct, _mirrored(labels), lungs or unnamed)
    fits = f" (mirrored, {100 * mirrored:.0f} % would be)" if mirrored > share + BETTER else ""
    return [f"{found}; check that the labels are this CT's and not mirrored{fits}"]


def _mirrored(labels: Volume) -> Volume:
    """The labels with their values exchanged between left and right, on the same grid."""
    axis = int((labels.affine[0, :3] / labels.affine[:3, :3].norm(dim=0)).abs().argmax())
    return Volume(labels.values.flip(axis + 1), labels.affine, "label")


def air_share(ct: Volume, labels: Volume, values: Sequence[int]) -> float:
    """The share of voxels of some labels that aerated lung could be, 0 to 1.

    Args:
        ct:     (1, D, H, W) HU.
        labels: (M, D, H, W) on the same grid.
        values: of the labels.
    """
    inside = ct.values[0].detach().cpu().numpy()[where_labelled(labels, values)]
    if not len(inside):
        return 0.0
    low, high = AIR_HU
    return float(((inside >= low) & (inside <= high)).mean())
