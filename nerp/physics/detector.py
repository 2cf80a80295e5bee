"""The detector: which photons it takes up, and how noise, blur and its own limits change what it shows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from nerp.physics.attenuation import composition, mass_attenuation_cm2_per_g
from nerp.physics.beam import Spectrum
from nerp.physics.dose import air_kerma_ugy
from nerp.settings import Settings, number

CERTAIN = 100.0
"""Photons of a pixel from which their number is drawn from a normal distribution, and is differentiable."""
PSF_REACH_MM = 2.0
"""How far the blur reaches, beyond which it is below a millionth."""


@dataclass(frozen=True)
class Detector(Settings):
    """A flat panel of caesium iodide on amorphous silicon.

    Args:
        csi_um:          thickness of the scintillator.
        packing:         part of that thickness which its columns fill.
        swank:           how evenly photons of one energy are converted: the square of the mean over the mean square.
        mtf_half_per_mm: spatial frequency at which the modulation transfer is one half.
        dose_mgy:        air kerma where the beam enters the patient, without what the patient scatters back; the
                         default is the UK's reference level of a PA chest.
        readout_photons: standard deviation of the read-out noise of a panel pixel, in photons of mean response.
        line_photons:    likewise of the part that a whole row has in common.
        panel_pixel_mm:  side of a panel pixel.
        saturation_ugy:  air kerma at the detector beyond which it tells no difference.
        bad_pixels:      fraction of the image's pixels that are dead or stuck.

    Raises:
        ConfigError: a value that no panel has.

    Source: Marshall et al. 2011, Phys. Med. Biol. 56:2201 (modulation transfer, noise power); Hart, Hillier & Shrimpton
    2012, HPA-CRCE-034 (dose); thickness and packing as published for panels of chest stands.
    """

    SECTION: ClassVar[str] = "detector"

    csi_um: float = number(550.0, 50, 2000)
    packing: float = number(0.75, 0.1, 1)
    swank: float = number(0.8, 0.1, 1)
    mtf_half_per_mm: float = number(1.29, 0.1, 20)
    dose_mgy: float = number(0.15, 1e-4, 100)
    readout_photons: float = number(1.5, 0, 1000)
    line_photons: float = number(0.15, 0, 1000)
    panel_pixel_mm: float = number(0.148, 0.01, 2)
    saturation_ugy: float = number(60.0, 0.01, 1e6)
    bad_pixels: float = number(0.0, 0, 0.1)

    def absorbed_fraction(self, energies_kev: Tensor) -> Tensor:
        """(E,) part of the photons that the scintillator takes up, 0 to 1; energies (E,) keV.

        Fluorescence that leaves it is counted as staying; `swank` holds what it costs in noise.
        """
        areal = composition("csi").density_g_per_cm3 * self.packing * self.csi_um * 1e-4
        return -torch.expm1(-areal * mass_attenuation_cm2_per_g("csi", energies_kev))

    def response_kev(self, energies_kev: Tensor) -> Tensor:
        """(E,) mean signal of a photon of each energy, in keV taken up: E eta(E); energies (E,) keV."""
        return energies_kev.to(torch.float64) * self.absorbed_fraction(energies_kev)

    def square_kev2(self, energies_kev: Tensor) -> Tensor:
        """(E,) mean square signal of a photon of each energy, keV^2; energies (E,) keV.

        Source: compound Poisson process: the variance of the sum is Σ N(E) E^2 eta(E) / A, Swank 1973, J. Appl.
        Phys. 44:4199.
        """
        return energies_kev.to(torch.float64) ** 2 * self.absorbed_fraction(energies_kev) / self.swank

    def mtf(self, frequency_per_mm: Tensor) -> Tensor:
        """Presampled modulation transfer, 0 to 1, at spatial frequencies of any shape, 1/mm.

        Source: the form 1 / (1 + (f / f_half)^2) that indirect panels follow, with f_half of Marshall et al. 2011.
        """
        return 1 / (1 + (frequency_per_mm / self.mtf_half_per_mm) ** 2)


def photons_per_mm2(spectrum: Spectrum, detector: Detector, *, entrance_mm: float, detector_mm: float) -> Tensor:
    """(E,) photons of each energy that reach a mm² of the detector with nothing in the way, by the stated dose.

    Args:
        spectrum:    of the beam.
        detector:    its `dose_mgy`.
        entrance_mm: from the focus to where the beam enters the patient.
        detector_mm: from the focus to the detector.

    Source: inverse square law.
    """
    entering = spectrum.photons * (detector.dose_mgy * 1e3 / air_kerma_ugy(spectrum))
    return entering * (entrance_mm / detector_mm) ** 2


def exposed(
    mean: Tensor,
    square: Tensor,
    detector: Detector,
    *,
    pixel_mm: tuple[float, float],
    per_photon: float,
    generator: torch.Generator | None,
) -> Tensor:
    """What the panel reads: quanta, blurred as the signal is, then the noise of reading.

    Args:
        mean:       (B, 1, H, W) expected signal of each pixel, keV taken up.
        square:     (B, 1, H, W) its variance without blur, keV^2: Σ N(E) of `Detector.square_kev2`.
        detector:   noise and blur.
        pixel_mm:   between rows, between columns.
        per_photon: mean signal of a photon, keV: what read-out noise is counted in.
        generator:  of the noise, on the CPU; None gives the expected signal, blurred.

    Returns:
        (B, 1, H, W) keV taken up. Differentiable in `mean` and `square` where a pixel has more than `CERTAIN` photons;
        elsewhere the gradient is that of the expected signal.

    Source: linear systems: quanta pass the modulation transfer, read-out noise does not (Cunningham 2000, Handbook of
    Medical Imaging, ch. 2).
    """
    if generator is None:
        return blurred(mean, detector, pixel_mm)
    quanta = blurred(mean + quantum_noise(mean, square, generator), detector, pixel_mm)
    return quanta + readout_noise(mean, detector, pixel_mm, per_photon=per_photon, generator=generator)


def quantum_noise(mean: Tensor, square: Tensor, generator: torch.Generator) -> Tensor:
    """Fluctuation of a compound Poisson signal about its mean, of the first two moments asked for.

    Args:
        mean:      (B, 1, H, W) expected signal, at least 0.
        square:    (B, 1, H, W) its variance.
        generator: on the CPU.

    Returns:
        (B, 1, H, W) in the unit of `mean`, of mean 0. Differentiable in the variance where normal.

    Source: the scaled Poisson distribution of equal mean and variance: gain `square / mean` times Poisson.
    """
    mean, square = mean.clamp_min(0.0), square.clamp_min(0.0)
    normal = torch.randn(mean.shape, generator=generator, dtype=mean.dtype, device="cpu").to(mean.device)
    smooth = (square + torch.finfo(mean.dtype).tiny).sqrt() * normal
    gain = square / mean.clamp_min(torch.finfo(mean.dtype).tiny)
    count = (mean / gain.clamp_min(torch.finfo(mean.dtype).tiny)).detach()
    few = (count < CERTAIN) & (square > 0)
    if not bool(few.any()):
        return smooth
    drawn = torch.poisson(torch.where(few, count, 0.0).cpu(), generator=generator).to(mean.device)
    return torch.where(few, gain.detach() * (drawn - count), smooth)


def readout_noise(
    like: Tensor, detector: Detector, pixel_mm: tuple[float, float], *, per_photon: float, generator: torch.Generator
) -> Tensor:
    """Noise of the electronics: of every pixel by itself, and of every row.

    Args:
        like:       (B, 1, H, W), whose shape, dtype and device are taken.
        detector:   its amount.
        pixel_mm:   between rows, between columns; a pixel of the image reads several of the panel's.
        per_photon: mean signal of a photon, keV.
        generator:  on the CPU.

    Returns:
        (B, 1, H, W) keV taken up.
    """
    read = math.prod(pixel_mm) / detector.panel_pixel_mm**2
    lines = pixel_mm[0] / detector.panel_pixel_mm
    across = read / lines
    kind: dict[str, Any] = {"generator": generator, "dtype": like.dtype, "device": "cpu"}
    own = torch.randn(like.shape, **kind) * (detector.readout_photons * math.sqrt(read))
    row = torch.randn((*like.shape[:-1], 1), **kind) * (detector.line_photons * across * math.sqrt(lines))
    return ((own + row) * per_photon).to(like.device)


def blurred(image: Tensor, detector: Detector, pixel_mm: tuple[float, float]) -> Tensor:
    """An image as the panel's modulation transfer leaves it; the mean stays.

    Args:
        image:    (B, 1, H, W), any unit.
        detector: its `mtf`.
        pixel_mm: between rows, between columns.

    Returns:
        (B, 1, H, W). Differentiable.
    """
    sides = [_padding(count, side) for count, side in zip(image.shape[2:], pixel_mm, strict=True)]
    padded = torch.nn.functional.pad(image, (*sides[1], *sides[0]), mode="reflect")
    transfer = _transfer(padded.shape[2:], pixel_mm, detector).to(device=image.device, dtype=image.dtype)
    whole = torch.fft.irfft2(torch.fft.rfft2(padded) * transfer, s=padded.shape[2:])
    return whole[:, :, sides[0][0] : sides[0][0] + image.shape[2], sides[1][0] : sides[1][0] + image.shape[3]]


def _padding(count: int, side_mm: float) -> tuple[int, int]:
    """Pixels before and behind a side, that the blur's reach fits and the whole has small prime factors."""
    before = min(math.ceil(PSF_REACH_MM / side_mm) + 1, count - 1)
    whole = count + 2 * before
    while whole < 2 * count - 1 + before and not _is_smooth(whole):
        whole += 1
    return before, whole - count - before


def _is_smooth(count: int) -> bool:
    """Whether a Fourier transform of this length is fast."""
    for factor in (2, 3, 5):
        while count % factor == 0:
            count //= factor
    return count == 1


def noise_transfer(detector: Detector, shape: tuple[int, int], pixel_mm: tuple[float, float]) -> float:
    """The part of white noise's variance that the blur leaves: the mean square of the modulation transfer, 0 to 1.

    Args:
        detector: its `mtf`.
        shape:    (H, W) pixels.
        pixel_mm: between rows, between columns.
    """
    rows = torch.fft.fftfreq(shape[0], pixel_mm[0], dtype=torch.float64, device="cpu")
    columns = torch.fft.fftfreq(shape[1], pixel_mm[1], dtype=torch.float64, device="cpu")
    return float((detector.mtf(torch.hypot(rows[:, None], columns[None])) ** 2).mean())


def saturated(signal: Tensor, most: float) -> Tensor:
    """A signal cut at what the panel can hold.

    Args:
        signal: (B, 1, H, W), any unit.
        most:   the largest value read, in that unit.

    Returns:
        (B, 1, H, W). Differentiable below `most`.
    """
    return signal.clamp_max(most)


def with_bad_pixels(signal: Tensor, fraction: float, most: float, generator: torch.Generator) -> Tensor:
    """A signal some pixels of which are dead or stuck, half of them each.

    Args:
        signal:    (B, 1, H, W), any unit.
        fraction:  of the pixels, 0 to 1.
        most:      what a stuck pixel reads.
        generator: on the CPU.

    Returns:
        (B, 1, H, W).
    """
    drawn = torch.rand(signal.shape, generator=generator, dtype=torch.float64, device="cpu").to(signal.device)
    dead, stuck = drawn < fraction / 2, (drawn >= fraction / 2) & (drawn < fraction)
    return torch.where(dead, 0.0, torch.where(stuck, most, signal))


def _transfer(shape: tuple[int, ...], pixel_mm: tuple[float, float], detector: Detector) -> Tensor:
    """(H, W // 2 + 1) modulation transfer at the frequencies of `rfft2`."""
    rows = torch.fft.fftfreq(shape[0], pixel_mm[0], dtype=torch.float64, device="cpu")
    columns = torch.fft.rfftfreq(shape[1], pixel_mm[1], dtype=torch.float64, device="cpu")
    return detector.mtf(torch.hypot(rows[:, None], columns[None]))
