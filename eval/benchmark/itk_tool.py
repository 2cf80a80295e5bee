"""ITK's own filter, called as the tool that made DRR-RATE calls it; needs the wheel itk-twoprojectionregistration."""

import math
import warnings

import numpy as np


def itk_or_none():
    """The package, where it has the filter."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import itk

            return itk if hasattr(itk, "SiddonJacobsRayCastInterpolateImageFunction") else None
    except ImportError:
        return None


def drr_by_itk(itk, hu: np.ndarray, spacing_mm, view: str, *, pixels: int = 512) -> tuple[np.ndarray, np.ndarray]:
    """The projector's whole numbers and the tool's 8-bit image, both (H, W) with the head up."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _projected(itk, hu, spacing_mm, view, pixels)


def write_drr(itk, ct: str, out: str, *, pixels: int = 512) -> None:
    """A CT's file to an AP image's, nothing but ITK between; the image as the tool flips it."""
    image = itk.imread(ct, itk.SS)
    image.SetOrigin([0.0, 0.0, 0.0])
    image.SetDirection(itk.matrix_from_array(np.eye(3)))
    shown = _filtered(itk, image, "ap", pixels)[1]
    flat = itk.ExtractImageFilter[itk.Image[itk.UC, 3], itk.Image[itk.UC, 2]].New(shown)
    region = shown.GetLargestPossibleRegion()
    region.SetSize([pixels, pixels, 0])
    flat.SetExtractionRegion(region)
    flat.SetDirectionCollapseToSubmatrix()
    itk.imwrite(itk.flip_image_filter(flat.GetOutput(), flip_axes=(False, True)), out)


def _projected(itk, hu, spacing_mm, view, pixels):
    image = itk.image_from_array(np.ascontiguousarray(hu.astype(np.int16).T))
    image.SetSpacing([float(size) for size in spacing_mm])
    return tuple(itk.array_from_image(one)[0][::-1].copy() for one in _filtered(itk, image, view, pixels))


def _filtered(itk, image, view, pixels):
    """The projector's image and the tool's."""
    shorts, bytes_ = itk.Image[itk.SS, 3], itk.Image[itk.UC, 3]
    degree, pixel_mm = math.atan(1.0) * 4 / 180, float(np.float32(0.51))
    transform = itk.Euler3DTransform[itk.D].New()
    transform.SetComputeZYX(True)
    transform.SetTranslation([0.0, 300.0, 0.0])
    transform.SetRotation(0.0, 0.0, degree * (-90.0 if view == "lateral" else 0.0))
    size, spacing_mm = image.GetLargestPossibleRegion().GetSize(), image.GetSpacing()
    transform.SetCenter([float(spacing_mm[axis]) * float(size[axis]) / 2.0 for axis in range(3)])
    caster = itk.SiddonJacobsRayCastInterpolateImageFunction[shorts, itk.D].New()
    caster.SetProjectionAngle(0.0)
    caster.SetFocalPointToIsocenterDistance(1000.0)
    caster.SetThreshold(-100.0)
    caster.SetTransform(transform)
    caster.Initialize()
    resample = itk.ResampleImageFilter[shorts, shorts].New()
    resample.SetInput(image)
    resample.SetInterpolator(caster)
    resample.SetSize([pixels, pixels, 1])
    resample.SetOutputSpacing([pixel_mm, pixel_mm, 1.0])
    resample.SetOutputOrigin([-pixel_mm * (pixels - 1) / 2, -pixel_mm * (pixels - 1) / 2, -1000.0])
    resample.Update()
    rescale = itk.RescaleIntensityImageFilter[shorts, bytes_].New()
    rescale.SetOutputMinimum(0)
    rescale.SetOutputMaximum(255)
    rescale.SetInput(resample.GetOutput())
    rescale.Update()
    return resample.GetOutput(), rescale.GetOutput()
