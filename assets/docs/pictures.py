"""The pictures of the pages, drawn from a phantom.

Beside the pages they can be drawn alone: python assets/docs/pictures.py FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib
import numpy as np
import torch

from nerp import Fields, Volume, attenuation, chest_camera, project_labels, siddon
from nerp.display import display_image
from nerp.phantom import LUNG_LABELS, OBSCURING_LABELS, Phantom, thorax
from nerp.projection import MaskRule, obscuring_tissue, project_mask

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

SEED, SPACING_MM, SHAPE = 2, 4.0, (256, 256)
VIEWS = {"pa": 0.0, "ap": 0.0, "lateral": 0.0, "oblique": 30.0}
COLOURS = {"pa": "#1f6fb2", "ap": "#d1495b", "lateral": "#2e8b57", "oblique": "#b8860b"}
OUTLINE = "#ff7043"
COLUMN_0 = {"pa": "right", "ap": "right", "lateral": "anterior", "oblique": "right"}
PATH_MM = np.arange(1.0, 512.0, 2.0)


def draw(out: Path) -> None:
    """Draw every picture as a PNG of the folder `out`."""
    phantom = thorax(SEED, spacing_mm=SPACING_MM)
    world(phantom.ct, out / "world.png")
    cameras(phantom.ct, out / "cameras.png")
    views(phantom.ct, out / "views.png")
    masks(phantom, out / "masks.png")
    march(out / "march.png")


def camera_of(ct: Volume, view: str):
    """The preset of a view, 256 x 256 pixels."""
    return chest_camera(ct, view, shape=SHAPE, angle_deg=VIEWS[view])


def radiograph(ct: Volume, view: str) -> np.ndarray:
    """(256, 256) DRR as displayed, 0 to 1."""
    return display_image(siddon(attenuation(ct), camera_of(ct, view)))[0, 0].numpy()


def world(ct: Volume, out: Path) -> None:
    """Three slices through the middle of a CT, with the world's axes, mm."""
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.9), layout="constrained")
    names = ("x: right, mm", "y: anterior, mm", "z: superior, mm")
    titles = ("axial, seen from the feet", "coronal, seen from the front", "sagittal, seen from the left")
    middle = ct.to_world((torch.tensor(ct.shape) - 1) / 2)
    for axis, (across, along), title in zip(axes, ((0, 1), (0, 2), (1, 2)), titles, strict=True):
        (through,) = {0, 1, 2} - {across, along}
        corners = ct.corners_mm()
        low, high = corners.amin(0).tolist(), corners.amax(0).tolist()
        values = ct.values[0].select(through, ct.shape[through] // 2).T
        extent = (low[across], high[across], low[along], high[along])
        axis.imshow(values, cmap="gray", vmin=-1000, vmax=600, origin="lower", extent=extent)
        axis.invert_xaxis()  # the patient's right is on the left, anterior on the left
        start = (float(middle[across]), float(middle[along]))
        for step, colour in (((70, 0), "#ffb300"), ((0, 70), "#29b6f6")):
            end = (start[0] + step[0], start[1] + step[1])
            axis.annotate("", xy=end, xytext=start, arrowprops={"arrowstyle": "-|>", "color": colour, "linewidth": 2})
        axis.set(xlabel=names[across], ylabel=names[along], title=title)
    figure.savefig(out, dpi=110)
    plt.close(figure)


def cameras(ct: Volume, out: Path) -> None:
    """The presets from above: sources, detectors, and the rays between their ends, mm."""
    figure, axes = plt.subplots(1, 4, figsize=(11, 4.0), layout="constrained", sharey=True)
    corners = ct.corners_mm()
    low, high = corners.amin(0).tolist(), corners.amax(0).tolist()
    extent = (low[0], high[0], low[1], high[1])
    for axis, view in zip(axes, VIEWS, strict=True):
        camera, colour = camera_of(ct, view), COLOURS[view]
        axis.imshow(
            ct.values[0, :, :, ct.shape[2] // 2].T, cmap="gray", vmin=-1000, vmax=600, origin="lower", extent=extent
        )
        source = camera.source[0, :2].tolist()
        ends = camera.pixels()[0, SHAPE[0] // 2, [0, -1], :2]
        for end in ends.tolist():
            axis.plot([source[0], end[0]], [source[1], end[1]], color=colour, linewidth=1)
        axis.plot(*ends.T.tolist(), color=colour, linewidth=3)
        axis.plot(*source, "o", color=colour)
        axis.plot(*camera.isocentre[0, :2].tolist(), "+", color="white", markersize=9)
        _column_0(axis, ends[0].tolist(), colour, above=view != "ap")
        axis.set(xlim=(1750, -600), ylim=(-1850, 1000), title=view, xlabel="x: right, mm")
        axis.set_aspect("equal")
    axes[0].set_ylabel("y: anterior, mm")
    figure.savefig(out, dpi=110)
    plt.close(figure)


def _column_0(axis, place: list[float], colour: str, *, above: bool) -> None:
    """Point at the detector's first column."""
    arrow = {"arrowstyle": "-|>", "color": colour}
    away = 260 if above else -330
    axis.annotate("column 0", xy=place, xytext=(place[0], place[1] + away), ha="center", fontsize=9, arrowprops=arrow)


def views(ct: Volume, out: Path) -> None:
    """The four presets' radiographs, with where rows and columns begin."""
    figure, axes = plt.subplots(1, 4, figsize=(11, 3.2), layout="constrained")
    for axis, view in zip(axes, VIEWS, strict=True):
        axis.imshow(radiograph(ct, view), cmap="gray")
        arrow = {"arrowstyle": "-|>", "color": "#ffb300", "linewidth": 1.6}
        axis.annotate("", xy=(80, 8), xytext=(8, 8), arrowprops=arrow)
        axis.annotate("", xy=(8, 80), xytext=(8, 8), arrowprops=arrow)
        axis.text(84, 14, "columns", color="#ffb300", fontsize=8)
        axis.text(14, 84, "rows", color="#ffb300", fontsize=8)
        axis.set_title(f"{view}; column 0: {COLUMN_0[view]}", fontsize=9)
        axis.axis("off")
    figure.savefig(out, dpi=110)
    plt.close(figure)


def masks(phantom: Phantom, out: Path) -> None:
    """Millimetres of lung on each ray, and what each rule makes of them."""
    camera, image = camera_of(phantom.ct, "pa"), radiograph(phantom.ct, "pa")
    lengths_mm = project_labels(phantom.labels, camera, LUNG_LABELS).sum(1)[0]
    figure, axes = plt.subplots(1, 5, figsize=(12, 2.9), layout="constrained")
    shown = axes[0].imshow(lengths_mm, cmap="magma")
    figure.colorbar(shown, ax=axes[0], shrink=0.7)
    axes[0].set_title("lung on the ray, mm", fontsize=9)
    for axis, rule in zip(axes[1:], ("any", "thickness", "visible", "rendered"), strict=True):
        axis.imshow(image, cmap="gray")
        axis.contour(mask_of(phantom, camera, rule), [0.5], colors=OUTLINE, linewidths=1.2)
        axis.set_title(rule, fontsize=9)
    for axis in axes:
        axis.axis("off")
    figure.savefig(out, dpi=110)
    plt.close(figure)


def mask_of(phantom: Phantom, camera, rule: str) -> np.ndarray:
    """(256, 256) mask of the lungs by a rule with its default numbers."""
    obscuring = obscuring_tissue(phantom.labels, LUNG_LABELS, OBSCURING_LABELS)
    opacity = attenuation(phantom.ct).values
    fields = Fields(torch.ones_like(opacity), opacity, phantom.ct.affine)
    options = {"obscuring": obscuring, "fields": fields}
    return project_mask(MaskRule(rule), phantom.labels, camera, LUNG_LABELS, **options)[0, 0].float().numpy()


def march(out: Path) -> None:
    """What a march adds up along one ray: opacity, transmittance, emission weights."""
    from nerp.projection import emission_weights, transmittance

    opacity = np.where((PATH_MM > 150) & (PATH_MM < 350), 0.004, 0.0) + np.where(abs(PATH_MM - 300) < 12, 0.01, 0.0)
    values, step_mm = torch.tensor(opacity), torch.tensor(2.0, dtype=torch.float64)
    figure, axes = plt.subplots(1, 3, figsize=(11, 2.6), layout="constrained")
    shown = {
        "opacity, 1/mm": values,
        "transmittance T": transmittance(values, step_mm),
        "emission weight w": emission_weights(values, step_mm),
    }
    for axis, (title, line) in zip(axes, shown.items(), strict=True):
        axis.plot(PATH_MM, line, color="#1f6fb2")
        axis.set(title=title, xlabel="from the source's side, mm", ylim=(0, None))
    figure.savefig(out, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    draw(Path(sys.argv[1]))
