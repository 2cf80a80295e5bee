"""A whole phantom: the patient drawn, the grid laid, the organs painted from the outside in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from nerp.errors import UsageError
from nerp.phantom import lungs, organs
from nerp.phantom.bones import SIDES, paint_bones
from nerp.phantom.canvas import Canvas, leaning
from nerp.phantom.chest import Chest, Walls, axilla, breasts
from nerp.phantom.findings import check_findings, draw_consolidation, draw_nodules, paint_consolidation, paint_nodules
from nerp.phantom.labels import FINDINGS, LABEL_OF
from nerp.phantom.patient import Patient, draw_patient, stream
from nerp.phantom.pleura import Case, Effusion, Pneumothorax, draw_pleural, paint_pleural
from nerp.phantom.settings import SPACING_LIMITS_MM
from nerp.phantom.shapes import smooth_union
from nerp.phantom.shoulders import arms, paint_shoulders
from nerp.phantom.tissue import Noise, add_texture
from nerp.volume import Volume

LOW_MM = (-204.0, -150.0, -226.0)
HIGH_MM = (204.0, 138.0, 156.0)


@dataclass(frozen=True)
class Phantom:
    """A CT and what is in it.

    Args:
        ct:       (1, D, H, W) HU.
        labels:   (1, D, H, W) values of `LABELS`, same grid.
        findings: the patient's numbers, and for each of `FINDINGS` whether it is there.
    """

    ct: Volume
    labels: Volume
    findings: dict


def thorax(seed: int, *, spacing_mm: float = 2.0, findings: str | Iterable[str] = ()) -> Phantom:
    """One phantom: the same seed is the same patient at every spacing, and the same bytes at the same spacing.

    The bytes depend on no number of threads, but may on the processor's vector instructions.

    Args:
        seed:       any integer >= 0; decides sex, size, heart, breath, posture, vessels, texture.
        spacing_mm: distance between voxel centres, 0.5 to 10 mm. About 200 x 150 x 180 voxels at 2 mm.
        findings:   names of `FINDINGS`; their side, size and place follow from the seed.

    Returns:
        CT in whole HU (-1000 to 3000), labels on the same grid, and the record that `describe` gives.

    Raises:
        UsageError: a seed, spacing or finding that cannot be.
    """
    check_request(seed, spacing_mm)
    names = check_findings(findings)
    patient = draw_patient(seed, large_heart="large_heart" in names)
    chest = Chest(patient)
    canvas = lay_canvas(patient, spacing_mm)
    noise = Noise.on(canvas, seed)
    paint_trunk(canvas, chest, noise)
    paint_inside(canvas, chest, noise, names)
    paint_bones(canvas, chest)
    for side, sign in SIDES.items():
        paint_shoulders(canvas, chest, side, sign)
    add_texture(canvas, noise.fine, stream(seed, f"scanner {spacing_mm}"))
    ct = Volume(canvas.hu[None].round(), canvas.affine, "hu")
    labels = Volume(canvas.labels[None].float(), canvas.affine, "label")
    return Phantom(ct, labels, describe(seed, findings=names))


def check_request(seed: int, spacing_mm: float) -> None:
    """Refuse what no phantom can have.

    Args:
        seed:       has to be 0 or more.
        spacing_mm: has to be within `SPACING_LIMITS_MM`.

    Raises:
        UsageError: it is not.
    """
    if seed < 0:
        raise UsageError(f"seed is {seed}; expected an integer of 0 or more")
    low, high = SPACING_LIMITS_MM
    if not low <= spacing_mm <= high:
        raise UsageError(f"phantom spacing is {spacing_mm:g} mm; expected {low:g} to {high:g} mm")


def describe(seed: int, *, findings: tuple[str, ...] = ()) -> dict:
    """The record of a phantom without making it: the patient's numbers, each finding as a bool, and their sides.

    Args:
        seed:     of the phantom.
        findings: names from `check_findings`.
    """
    patient = asdict(draw_patient(seed, large_heart="large_heart" in findings))
    scale = dict(zip(("scale_x", "scale_y", "scale_z"), patient.pop("scale"), strict=True))
    case = draw_pleural(seed, findings)
    sides = {name: getattr(case, name) for name in ("effusion", "pneumothorax")}
    return {
        **patient,
        **scale,
        **{name: name in findings for name in FINDINGS},
        **{f"{name}_side": _side(part) for name, part in sides.items()},
    }


def _side(part: Effusion | Pneumothorax | None) -> str:
    if part is None:
        return ""
    return "right" if part.side > 0 else "left"


def lay_canvas(patient: Patient, spacing_mm: float) -> Canvas:
    """The empty grid round a patient, from the upper belly to the neck; wide shoulders are cut as by a scanner.

    Args:
        patient:    whose size and posture it takes.
        spacing_mm: between voxel centres.
    """
    low = [a * s for a, s in zip(LOW_MM, patient.scale, strict=True)]
    high = [a * s for a, s in zip(HIGH_MM, patient.scale, strict=True)]
    posture = leaning(patient.yaw_rad, patient.lean)
    return Canvas(low, high, spacing_mm=spacing_mm, scale=patient.scale, posture=posture)


def paint_trunk(canvas: Canvas, chest: Chest, noise: Noise) -> None:
    """Skin, fat, breasts and the muscles with the fat between them.

    Args:
        canvas: painted on.
        chest:  the patient's.
        noise:  on the same grid.
    """
    x, y, z = canvas.points
    muscle = chest.body(x, y, z)
    box, limb = canvas.sweep(arms(chest.patient), 36.0)
    muscle[box] = smooth_union(muscle[box], limb, 30.0)
    skin = muscle - chest.patient.fat_mm
    if chest.patient.breast_mm:
        bust = breasts(chest, x, y, z)
        skin = smooth_union(skin, bust, 14.0)
    canvas.paint("skin", 20.0, skin - 2.0)
    canvas.paint("fat", -100.0, skin)
    if chest.patient.breast_mm:
        canvas.paint("breast", -45.0 + 32.0 * noise.coarse.clamp(-1.5, 1.5), torch.maximum(bust, skin + 4.0))
    planes = (1.0 - noise.coarse.abs() / 0.16).clamp(0.0, 1.0) * (muscle + 14.0).clamp(-8.0, 0.0) / -8.0
    canvas.paint("muscle", 54.0 - 70.0 * planes, muscle)
    hollow = torch.maximum(axilla(x, y, z), muscle + 8.0)
    canvas.paint("fat", -95.0, torch.maximum(hollow, 14.0 - chest.wall(x, y, z)))


def paint_inside(canvas: Canvas, chest: Chest, noise: Noise, findings: tuple[str, ...]) -> None:
    """Everything within the rib cage.

    Args:
        canvas:   painted on.
        chest:    the patient's.
        noise:    on the same grid.
        findings: names from `check_findings`.
    """
    walls = chest.walls(canvas.points)
    below = torch.maximum(walls.wall, walls.above)
    canvas.paint("mediastinum", -80.0, torch.maximum(walls.wall, chest.cupola(*canvas.points) - 6.0))
    canvas.paint("diaphragm", 48.0, below)
    canvas.paint("abdomen", -5.0 + 35.0 * noise.coarse, below + 4.0)
    organs.paint_abdomen(canvas, chest, below)
    heart = lungs.heart_room(chest, canvas.points, walls)
    space = lungs.pleural_space(canvas, chest, walls, heart)
    case = draw_pleural(chest.patient.seed, findings)
    lung = paint_lungs(canvas, chest, noise, (walls, space, case))
    canvas.paint("heart", 44.0, heart)
    organs.paint_vessels(canvas, chest)
    paint_within_lungs(canvas, chest, noise, (findings, case, lung))


def paint_lungs(canvas: Canvas, chest: Chest, noise: Noise, pleura: tuple[Walls, Tensor, Case]) -> Tensor:
    """Parenchyma, and the fluid or air that takes its place.

    Args:
        canvas: painted on.
        chest:  the patient's.
        noise:  on the same grid.
        pleura: the walls of the canvas's points, (D, H, W) mm to the pleural spaces, and what lies in them.

    Returns:
        (D, H, W) distance to the aerated lung, mm, negative inside.
    """
    walls, space, case = pleura
    canvas.paint("lung_left", lungs.parenchyma(canvas, noise.coarse), space)
    canvas.labels.masked_fill_(
        (canvas.labels == LABEL_OF["lung_left"]) & (canvas.points[0] > 0), LABEL_OF["lung_right"]
    )
    paint_pleural(canvas, chest, case, walls, space)
    return case.aerated(chest, canvas.points, walls, space)


def paint_within_lungs(
    canvas: Canvas, chest: Chest, noise: Noise, contents: tuple[tuple[str, ...], Case, Tensor]
) -> None:
    """Clouds first, then the trees through them, then nodules.

    Args:
        canvas:   painted on.
        chest:    the patient's.
        noise:    on the same grid.
        contents: names of the findings, fluid and air, and (D, H, W) mm to the aerated lung.
    """
    findings, case, lung = contents
    seed = chest.patient.seed

    def room(points: Tensor) -> Tensor:
        """Distance to the aerated lung, mm."""
        return lungs.aerated_at(chest, case, points)

    if "consolidation" in findings:
        paint_consolidation(canvas, draw_consolidation(seed, room), lung, noise.coarse)
    lungs.paint_trees(canvas, lungs.trees(chest, room), lung)
    if "nodule" in findings:
        paint_nodules(canvas, draw_nodules(seed, room), noise.fine)
