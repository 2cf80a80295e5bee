"""Adversarial training of the mapper: rendered radiographs against real ones, tied to the DRR."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nerp.camera import Camera
from nerp.display import display_image
from nerp.networks import Discriminator, Mapper, Viewer
from nerp.projection import siddon
from nerp.randomness import choose, stream
from nerp.training import losses
from nerp.training.augment import sample_zoom_shift, zoom_shift
from nerp.training.checkpoint import pack_module, unpack_module
from nerp.training.forwards import FieldValues, Judging
from nerp.training.learner import Learner, Terms
from nerp.training.patients import Patient
from nerp.training.settings import LossSettings, OptimizerSettings, TrainerSettings
from nerp.volume import Fields

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from nerp.camera import CameraDistribution


@dataclass(frozen=True)
class Networks:
    """The generator in its two parts, and its judge."""

    mapper: Mapper
    viewer: Viewer
    discriminator: Discriminator


@dataclass(frozen=True)
class Sources:
    """Unpaired data, wherever it comes from, and the cameras to look with.

    Args:
        patients:    CTs on the mapper's grid, each with its base camera.
        radiographs: real display images, each (1, H, W) in 0 to 1.
        cameras:     what is drawn around a patient's base camera.
        real_name:   what the radiographs are called in pictures.
    """

    patients: Sequence[Patient]
    radiographs: Sequence[Tensor]
    cameras: CameraDistribution
    real_name: str = "real"


@dataclass(frozen=True)
class Recipe:
    """How to learn: the weights of the terms, the rates, and the numbers of a step.

    Args:
        zoom, shift: ranges of `augment.sample_zoom_shift`, of what the discriminator sees.
    """

    loss: LossSettings
    optimizer: OptimizerSettings
    trainer: TrainerSettings
    zoom: float = 0.0
    shift: float = 0.0


@dataclass(frozen=True)
class Views:
    """What one generator forward gives: display images (B, 1, H, W), and fields with their CTs."""

    vrr: Tensor
    drr: Tensor
    fields: list[Fields]
    ct01: list[Tensor]


class AdversarialTrainer:
    """Trains a mapper and a discriminator, one step at a time.

    Every random choice of step s follows from (seed, s, purpose, process): nothing else need be
    stored to continue a run. One generator forward serves both networks' updates.

    Args:
        networks: trained in place; moved to the fabric's device.
        sources:  unpaired CTs and radiographs.
        recipe:   weights, rates, counts.
        seed:     of every random choice.
        fabric:   Lightning Fabric, launched.
    """

    def __init__(self, networks: Networks, sources: Sources, *, recipe: Recipe, seed: int, fabric: Fabric):
        self.networks, self.sources, self.recipe = networks, sources, recipe
        self.seed, self.fabric = seed, fabric
        rates = recipe.optimizer
        self._mapper = Learner("mapper", FieldValues(networks.mapper), rate=rates.lr, settings=rates, fabric=fabric)
        judging = Judging(networks.discriminator)
        self._discriminator = Learner(
            "discriminator", judging, rate=rates.discriminator_lr, settings=rates, fabric=fabric
        )
        self.averaged = copy.deepcopy(networks.mapper).requires_grad_(False).eval()

    def step(self, step: int) -> dict[str, float]:
        """Do step `step`, counted from 1; returns every loss term, gradient norm, rate and mean logit.

        Raises:
            TrainingError: a loss term or a gradient is not finite; the step and the term are named,
                and that network's weights are left as they were.
        """
        views = self._render(step)
        real = self._radiographs(step, len(views.vrr))
        n = 2 * len(real)
        moves = sample_zoom_shift(n, self.recipe.zoom, self.recipe.shift, self._stream(step, "zoom_shift"))
        metrics = self._teach_discriminator(step, views.vrr.detach(), real, moves)
        metrics |= self._teach_mapper(step, views, moves)
        self._average(step)
        return metrics

    def state(self) -> dict[str, Tensor]:
        """Every tensor that the next step depends on."""
        return {
            **pack_module("mapper", self.networks.mapper),
            **pack_module("averaged", self.averaged),
            **pack_module("discriminator", self.networks.discriminator),
            **self._mapper.state(),
            **self._discriminator.state(),
        }

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Put back what `state` gave."""
        unpack_module("mapper", self.networks.mapper, tensors)
        unpack_module("averaged", self.averaged, tensors)
        unpack_module("discriminator", self.networks.discriminator, tensors)
        self._mapper.restore(tensors)
        self._discriminator.restore(tensors)

    @torch.no_grad()
    def picture(self, columns: int) -> dict[str, Tensor]:
        """Rows of the same few patients and cameras, always: averaged mapper's VRR, DRR, and real images."""
        n = min(columns, len(self.sources.patients))
        vrr, drr = [], []
        for index in range(n):
            patient = self._patient(index)
            camera = self.sources.cameras.sample(patient.camera, 1, stream(self.seed, index, "picture"))
            fields = self.averaged(patient.ct01, patient.attenuation.affine)
            vrr.append(display_image(self.networks.viewer(fields, camera.to(patient.ct01.device))))
            drr.append(self._drr(patient, camera))
        chosen = choose(n, len(self.sources.radiographs), stream(self.seed, 0, "picture of radiographs"))
        real = torch.stack([self.sources.radiographs[index] for index in chosen])
        return {"VRR": torch.cat(vrr), "DRR": torch.cat(drr), self.sources.real_name: real}

    def _stream(self, step: int, name: str) -> torch.Generator:
        return stream(self.seed, step, name, self.fabric.global_rank)

    def _patient(self, index: int) -> Patient:
        return self.sources.patients[index].to(self.fabric.device)

    def _render(self, step: int) -> Views:
        settings = self.recipe.trainer
        chosen = choose(settings.volumes_per_step, len(self.sources.patients), self._stream(step, "patients"))
        vrr, drr, fields, ct01 = [], [], [], []
        for place, index in enumerate(chosen):
            patient = self._patient(index)
            draw = self._stream(step, f"cameras {place}")
            camera = self.sources.cameras.sample(patient.camera, settings.views_per_volume, draw)
            fields.append(Fields(*self._mapper.module(patient.ct01), patient.attenuation.affine))
            vrr.append(display_image(self.networks.viewer(fields[-1], camera.to(patient.ct01.device))))
            drr.append(self._drr(patient, camera))
            ct01.append(patient.ct01)
        return Views(torch.cat(vrr), torch.cat(drr), fields, ct01)

    @torch.no_grad()
    def _drr(self, patient: Patient, camera: Camera) -> Tensor:
        image = siddon(patient.attenuation, camera.to(patient.ct01.device), backend=self.networks.viewer.backend)
        return display_image(image)

    def _radiographs(self, step: int, n: int) -> Tensor:
        chosen = choose(n, len(self.sources.radiographs), self._stream(step, "radiographs"))
        return torch.stack([self.sources.radiographs[index] for index in chosen]).to(self.fabric.device)

    def _teach_discriminator(self, step: int, fake: Tensor, real: Tensor, moves: tuple[Tensor, Tensor]) -> dict:
        weights, n = self.recipe.loss, len(real)
        penalised = weights.r1 > 0 and step % weights.r1_every == 0
        real = zoom_shift(real, moves[0][:n], moves[1][:n])
        fake = zoom_shift(fake, moves[0][n:], moves[1][n:])
        judged_real, judged_fake, penalty = self._discriminator.module(real, fake, penalised)
        form = losses.DISCRIMINATOR_LOSSES[weights.form]
        terms: Terms = {"discriminator": (1.0, losses.over_heads(form, judged_real, judged_fake))}
        if penalised:
            terms["r1"] = (weights.r1 * weights.r1_every, penalty)
        metrics = self._discriminator.update(step, terms)
        logits = {"logit_real": judged_real[1], "logit_fake": judged_fake[1]}
        return metrics | {name: whole.detach().mean().item() for name, whole in logits.items()}

    def _teach_mapper(self, step: int, views: Views, moves: tuple[Tensor, Tensor]) -> dict[str, float]:
        weights, n = self.recipe.loss, len(views.vrr)
        seen = zoom_shift(views.vrr, moves[0][n:], moves[1][n:])
        mapper = self.networks.mapper
        makers: dict[str, Callable[[], Tensor]] = {
            "adversarial": lambda: losses.over_heads(losses.GENERATOR_LOSSES[weights.form], self._judge(seen)),
            "l1": lambda: losses.l1(views.vrr, views.drr),
            "tv": lambda: _mean(losses.total_variation(f.opacity / mapper.opacity_max_per_mm) for f in views.fields),
            "matter_l1": lambda: _mean(
                losses.l1(f.matter, ct[:, 0]) for f, ct in zip(views.fields, views.ct01, strict=True)
            ),
        }
        used = {name: (getattr(weights, name), make) for name, make in makers.items() if getattr(weights, name)}
        terms = {name: (weight, make()) for name, (weight, make) in used.items()}
        return self._mapper.update(step, terms)

    def _judge(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The discriminator's judgement with its weights held fixed, past the DDP wrapper."""
        discriminator = self.networks.discriminator.requires_grad_(False)
        with self.fabric.autocast():
            judgement = discriminator(images)
        discriminator.requires_grad_(True)
        return judgement

    @torch.no_grad()
    def _average(self, step: int) -> None:
        """EMA of the weights, with a shorter memory in the first steps (Tarvainen & Valpola 2017)."""
        decay = min(self.recipe.trainer.ema_decay, step / (step + 9.0))
        for kept, new in zip(self.averaged.parameters(), self.networks.mapper.parameters(), strict=True):
            kept.lerp_(new, 1.0 - decay)


def _mean(terms) -> Tensor:
    return torch.stack(list(terms)).mean()
