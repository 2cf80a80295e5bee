"""Other projectors on the same workload, where they are installed.

Each is used as its own documentation recommends for plain use, on the geometry of `workload`. They are
optional: a peer that cannot be imported is left out, with its reason.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from benchmark.cases import Call, with_gradient, without_gradient
from benchmark.workload import (
    PIXEL_MM,
    PIXELS,
    SAMPLES,
    SOURCE_CENTRE_MM,
    SOURCE_DETECTOR_MM,
    ap_axes,
    body,
    grid,
    rotation,
    view,
)

Runs = dict[str, Call]


def peers() -> tuple[Runs, dict[str, str]]:
    """The cases of every peer that imports, and why the others do not run; ITK's on one thread."""
    runs: Runs = {}
    reasons: dict[str, str] = {}
    for name, make in (("itk", _itk), ("diffdrr", _diffdrr), ("nanodrr", _nanodrr), ("flashdrr", _flashdrr)):
        try:
            runs |= make()
        except ImportError as reason:
            reasons[name] = str(reason)
    return runs, reasons


def in_our_units(name: str, picture: np.ndarray) -> np.ndarray:
    """A peer's picture as ours would be.

    Args:
        name:    the case, which begins with the peer's name.
        picture: (H, W) as the peer gives it.

    Returns:
        (H, W) line integrals, unitless, in the row order of the workload's camera.
    """
    if name.startswith("flashdrr"):
        return picture * 10  # it measures in cm
    if name.startswith("itk"):  # it integrates over the fraction of the way from source to pixel, rows upwards
        camera = view(ap_axes())
        return picture[::-1] * (camera.pixels()[0] - camera.source[0]).norm(dim=-1).numpy()
    return picture


def _pose(*columns: np.ndarray) -> Tensor:
    """(1, 4, 4) matrix from these axes and the source's position."""
    pose = np.eye(4)
    pose[:3, :3] = np.stack(columns, axis=1)
    pose[:3, 3] = -SOURCE_CENTRE_MM * rotation()[:, 2]
    return torch.tensor(pose, dtype=torch.float32)[None]


def _itk() -> Runs:
    """ITK's Siddon-Jacobs ray caster, in the one pose it knows, and RTK's Joseph projector with its adjoint."""
    import itk

    itk.MultiThreaderBase.SetGlobalMaximumNumberOfThreads(1)
    itk.MultiThreaderBase.SetGlobalDefaultNumberOfThreads(1)
    volume = _itk_image(body().numpy().transpose(2, 1, 0))
    return {**_rtk(itk, volume), "itk siddon-jacobs ap": _siddon_jacobs(itk)}


def _itk_image(array: np.ndarray, spacing=(1.0, 1.0, 1.0), *, centred=(True, True, True)):
    import itk

    image = itk.image_from_array(np.ascontiguousarray(array, dtype=np.float32))
    sizes = array.shape[::-1]
    image.SetSpacing(list(spacing))
    origin = [-(n - 1) / 2 * s if c else 0.0 for n, s, c in zip(sizes, spacing, centred, strict=True)]
    image.SetOrigin(origin)
    return image


def _rtk(itk, volume) -> Runs:
    from itk import RTK as rtk

    right, down, ahead = rotation().T
    geometry = rtk.ThreeDCircularProjectionGeometry.New()
    source = -SOURCE_CENTRE_MM * ahead
    ends = (source, source + SOURCE_DETECTOR_MM * ahead, right, down)
    geometry.AddProjection(*([float(x) for x in vector] for vector in ends))
    kind = [itk.Image[itk.F, 3]] * 2
    flat = (PIXEL_MM, PIXEL_MM, 1.0), (True, True, False)
    blank = _itk_image(np.zeros((1, PIXELS, PIXELS)), flat[0], centred=flat[1])
    ones = _itk_image(np.ones((1, PIXELS, PIXELS)), flat[0], centred=flat[1])
    empty = _itk_image(np.zeros((256, 256, 256)))
    forward, back = (
        rtk.JosephForwardProjectionImageFilter[tuple(kind)],
        rtk.JosephBackProjectionImageFilter[tuple(kind)],
    )
    return {
        "rtk joseph": lambda: _filter(forward, geometry, blank, volume),
        "rtk adjoint": lambda: _filter(back, geometry, empty, ones),
    }


def _filter(kind, geometry, first, second):
    """Runs an RTK filter on copies: its filters overwrite their input unless told not to."""
    work = kind.New()
    work.InPlaceOff()
    work.SetInput(0, first)
    work.SetInput(1, second)
    work.SetGeometry(geometry)
    work.Update()
    return work.GetOutput()


def _siddon_jacobs(itk) -> Callable:
    """The ray caster wants the volume's origin at 0; unturned, it looks along y, as the AP view does."""
    kind = itk.Image[itk.F, 3]
    volume = _itk_image(body().numpy().transpose(2, 1, 0), centred=(False, False, False))
    transform = itk.Euler3DTransform[itk.D].New()
    transform.SetComputeZYX(True)
    transform.SetIdentity()
    transform.SetCenter([128.0] * 3)
    caster = itk.SiddonJacobsRayCastInterpolateImageFunction[kind, itk.D].New()
    caster.SetProjectionAngle(0.0)
    caster.SetFocalPointToIsocenterDistance(SOURCE_CENTRE_MM)
    caster.SetThreshold(0.0)
    caster.SetTransform(transform)
    caster.Initialize()

    def run():
        sampler = itk.ResampleImageFilter[kind, kind].New()
        sampler.SetInput(volume)
        sampler.SetTransform(transform)
        sampler.SetInterpolator(caster)
        sampler.SetSize([PIXELS, PIXELS, 1])
        sampler.SetOutputSpacing([PIXEL_MM, PIXEL_MM, 1.0])
        corner = -(PIXELS - 1) / 2 * PIXEL_MM
        sampler.SetOutputOrigin([corner, corner, -SOURCE_DETECTOR_MM])
        sampler.Update()
        return sampler.GetOutput()

    return run


def _diffdrr() -> Runs:
    from diffdrr.data import read
    from diffdrr.drr import DRR
    from diffdrr.pose import RigidTransform
    from torchio import ScalarImage

    values = body()
    subject = read(ScalarImage(tensor=values[None], affine=grid(256).numpy()), orientation=None, center_volume=True)
    right, down, ahead = rotation().T
    pose = _pose(-right, -down, ahead)

    def projector(renderer: str, **options):
        return DRR(subject, sdd=SOURCE_DETECTOR_MM, height=PIXELS, delx=PIXEL_MM, renderer=renderer, **options)

    exact, marched = projector("siddon", patch_size=64), projector("trilinear", patch_size=64)
    free = projector("trilinear")
    for drr in (exact, marched, free):  # its reader rescales what it takes for HU
        drr.density = values.clone()

    def of_volume(density):
        marched.density = density
        return marched(RigidTransform(pose), n_points=SAMPLES)

    return {
        "diffdrr siddon": without_gradient(lambda: exact(RigidTransform(pose))),
        "diffdrr trilinear": without_gradient(of_volume, values),
        "diffdrr trilinear volume": with_gradient(of_volume, values),
        "diffdrr trilinear camera": with_gradient(lambda p: free(RigidTransform(p), n_points=SAMPLES), pose),
    }


def _nanodrr() -> Runs:
    from nanodrr.data import Subject
    from nanodrr.drr import DRR
    from torchio import ScalarImage

    image = ScalarImage(tensor=body()[None], affine=grid(256).numpy())
    subject = Subject.from_images(image, convert_to_mu=False)
    projector = DRR.from_carm_intrinsics(SOURCE_DETECTOR_MM, PIXEL_MM, PIXEL_MM, 0.0, 0.0, PIXELS, PIXELS)
    pose = _pose(*rotation().T)
    return {
        "nanodrr trilinear": without_gradient(lambda: projector(subject, pose, n_samples=SAMPLES)),
        "nanodrr trilinear camera": with_gradient(lambda p: projector(subject, p, n_samples=SAMPLES), pose),
    }


def _flashdrr() -> Runs:
    from flashdrr.rendering import VolumeRaycaster

    values = body()[None, None]
    right, down, ahead = rotation().T
    pose, to_index = _pose(right, -down, ahead), torch.linalg.inv(grid(256)).float()
    angle_deg = float(np.rad2deg(2 * np.arctan((PIXELS - 1) / 2 * PIXEL_MM / SOURCE_DETECTOR_MM)))
    caster = VolumeRaycaster(ray_samples=SAMPLES, resolution=(PIXELS, PIXELS), fov=angle_deg, return_tau=True)
    return {
        "flashdrr trilinear": without_gradient(lambda: caster.eval()(values, pose, to_index)),
        "flashdrr trilinear volume": with_gradient(lambda v: caster.train()(v, pose, to_index), values),
        "flashdrr trilinear camera": with_gradient(lambda p: caster.train()(values, p, to_index), pose),
    }
