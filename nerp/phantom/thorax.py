"""A whole phantom: the patient drawn, the grid laid, the organs painted from the outside in."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from nerp.phantom import organs
from nerp.phantom.bones import paint_bones
from nerp.phantom.canvas import Canvas, turned
from nerp.phantom.chest import Chest, breasts
from nerp.phantom.patient import Patient, draw_patient
from nerp.phantom.shapes import Tubes, smooth_union, tube
from nerp.volume import Volume

LOW_MM = (-206.0, -150.0, -188.0)
HIGH_MM = (206.0, 150.0, 158.0)


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


def thorax(seed: int, *, spacing_mm: float = 2.0, findings=()) -> Phantom:
    patient = draw_patient(seed)
    chest = Chest(patient)
    canvas = lay_canvas(patient, spacing_mm)
    paint_trunk(canvas, chest)
    lung = paint_inside(canvas, chest)
    paint_bones(canvas, chest)
    record = asdict(patient)
    ct = Volume(canvas.hu[None], canvas.affine, "hu")
    return Phantom(ct, Volume(canvas.labels[None].float(), canvas.affine, "label"), record)


def lay_canvas(patient: Patient, spacing_mm: float) -> Canvas:
    low = [a * s for a, s in zip(LOW_MM, patient.scale, strict=True)]
    high = [a * s for a, s in zip(HIGH_MM, patient.scale, strict=True)]
    return Canvas(low, high, spacing_mm, patient.scale, turned(patient.yaw_rad, patient.tilt_rad))


def arms(patient: Patient) -> Tubes:
    side = 1.0
    if patient.arms_raised:
        points = [(120, -30, 84), (160, -20, 104), (186, -10, 140), (196, 0, 220)]
    else:
        points = [(116, -22, 92), (162, -18, 88), (196, -26, 40), (232, -40, -40)]
    points = torch.tensor(points, dtype=torch.float32)
    mirror = points * torch.tensor([-1.0, 1, 1])
    from nerp.phantom.shapes import join

    return join([tube(points, (36, 42, 42, 38), 14), tube(mirror, (36, 42, 42, 38), 14)])


def paint_trunk(canvas: Canvas, chest: Chest):
    x, y, z = canvas.points
    muscle = chest.body(x, y, z)
    box, limb = canvas.sweep(arms(chest.patient))
    muscle[box] = smooth_union(muscle[box], limb, 24.0)
    fat = chest.patient.fat_mm
    skin = muscle - fat
    if chest.patient.breast_mm:
        skin = smooth_union(skin, breasts(chest, x, y, z), 14.0)
    canvas.paint("skin", 20.0, skin - 2.0)
    canvas.paint("fat", -100.0, skin)
    canvas.paint("muscle", 52.0, muscle)


def paint_inside(canvas: Canvas, chest: Chest) -> Tensor:
    x, y, z = canvas.points
    wall = chest.wall(x, y, z)
    height = chest.diaphragm(x, y)
    below = torch.maximum(wall, z - height)
    cavity = torch.maximum(torch.maximum(wall, chest.cupola(x, y, z) - 6), height - z)
    canvas.paint("mediastinum", -40.0, cavity)
    canvas.paint("diaphragm", 48.0, below)
    canvas.paint("abdomen", 0.0, below + 4)
    organs.paint_abdomen(canvas, chest, below)
    lung = chest.lung(x, y, z)
    heart = torch.maximum(organs.heart(chest, canvas.points), height + 1 - z)
    heart = torch.maximum(heart, wall + 3)
    lung = torch.maximum(lung, 3.0 - heart)
    for tubes in (organs.aorta(chest), organs.vena_cava(chest), organs.pulmonary_trunk(chest)):
        box, d = canvas.sweep(tubes)
        lung[box] = torch.maximum(lung[box], 2.0 - d)
    canvas.paint("lung_left", -850.0, lung)
    canvas.labels.masked_fill_((canvas.labels == 7) & (x > 0), 6)
    canvas.paint("heart", 44.0, heart)
    organs.paint_vessels(canvas, chest)
    return lung
