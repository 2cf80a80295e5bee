"""A whole phantom: the patient drawn, the grid laid, the organs painted from the outside in."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from nerp.phantom import lungs, organs
from nerp.phantom.bones import SIDES, paint_bones
from nerp.phantom.canvas import Canvas, leaning
from nerp.phantom.chest import Chest, breasts
from nerp.phantom.labels import LABEL_OF
from nerp.phantom.patient import Patient, draw_patient, stream
from nerp.phantom.shapes import smooth_union
from nerp.phantom.shoulders import arms, paint_shoulders
from nerp.phantom.tissue import add_texture, lattice_noise
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


@dataclass(frozen=True)
class Noise:
    """Unit noise of a few millimetres and of some centimetres, (D, H, W) each."""

    fine: Tensor
    coarse: Tensor

    @staticmethod
    def on(canvas: Canvas, seed: int) -> Noise:
        return Noise(lattice_noise(canvas, 5.0, stream(seed, "fine")), lattice_noise(canvas, 22.0, stream(seed, "coarse")))


def thorax(seed: int, *, spacing_mm: float = 2.0, findings=()) -> Phantom:
    patient = draw_patient(seed)
    chest = Chest(patient)
    canvas = lay_canvas(patient, spacing_mm)
    noise = Noise.on(canvas, seed)
    paint_trunk(canvas, chest, noise)
    paint_inside(canvas, chest, noise)
    paint_bones(canvas, chest)
    for side, sign in SIDES.items():
        paint_shoulders(canvas, chest, side, sign)
    add_texture(canvas, noise.fine, stream(seed, f"scanner {spacing_mm}"))
    record = asdict(patient)
    ct = Volume(canvas.hu[None], canvas.affine, "hu")
    return Phantom(ct, Volume(canvas.labels[None].float(), canvas.affine, "label"), record)


def lay_canvas(patient: Patient, spacing_mm: float) -> Canvas:
    low = [a * s for a, s in zip(LOW_MM, patient.scale, strict=True)]
    high = [a * s for a, s in zip(HIGH_MM, patient.scale, strict=True)]
    return Canvas(low, high, spacing_mm, patient.scale, leaning(patient.yaw_rad, patient.lean))


def paint_trunk(canvas: Canvas, chest: Chest, noise: Noise):
    """Skin, fat, breasts and the muscles with the fat between them."""
    x, y, z = canvas.points
    muscle = chest.body(x, y, z)
    box, limb = canvas.sweep(arms(chest.patient))
    muscle[box] = smooth_union(muscle[box], limb, 30.0)
    skin = muscle - chest.patient.fat_mm
    if chest.patient.breast_mm:
        bust = breasts(chest, x, y, z)
        skin = smooth_union(skin, bust, 14.0)
    canvas.paint("skin", 20.0, skin - 2.0)
    canvas.paint("fat", -100.0, skin)
    if chest.patient.breast_mm:
        canvas.paint("breast", -45.0 + 60.0 * noise.coarse.clamp(-1.0, 1.0), torch.maximum(bust, skin + 4.0))
    planes = (1.0 - noise.coarse.abs() / 0.16).clamp(0.0, 1.0) * (muscle + 14.0).clamp(-8.0, 0.0) / -8.0
    canvas.paint("muscle", 54.0 - 70.0 * planes, muscle)


def paint_inside(canvas: Canvas, chest: Chest, noise: Noise):
    """Everything within the rib cage."""
    x = canvas.points[0]
    walls = chest.walls(canvas.points)
    below = torch.maximum(walls.wall, walls.above)
    canvas.paint("mediastinum", -55.0, torch.maximum(walls.wall, chest.cupola(*canvas.points) - 6.0))
    canvas.paint("diaphragm", 48.0, below)
    canvas.paint("abdomen", -5.0 + 35.0 * noise.coarse, below + 4.0)
    organs.paint_abdomen(canvas, chest, below)
    heart = lungs.heart_room(chest, canvas.points, walls)
    lung = lungs.pleural_space(canvas, chest, walls, heart)
    canvas.paint("lung_left", lungs.parenchyma(canvas, noise.coarse), lung)
    canvas.labels.masked_fill_((canvas.labels == LABEL_OF["lung_left"]) & (x > 0), LABEL_OF["lung_right"])
    canvas.paint("heart", 44.0, heart)
    made = lungs.trees(chest, lambda points: lungs.pleural_space_at(chest, points))
    organs.paint_vessels(canvas, chest)
    lungs.paint_trees(canvas, made, lung)
