"""Adversarial training of the mapper: rendered radiographs against real ones, tied to the DRR."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nerp.camera import Camera
from nerp.display import display_image
from nerp.networks.discriminator import Discriminator
from nerp.networks.mapper import Mapper
from nerp.networks.viewer import Viewer
from nerp.projection import siddon
from nerp.randomness import choose, stream
from nerp.training.adversarial import losses
from nerp.training.adversarial.ddp_modules import FieldValues, LogitsOfBoth
from nerp.training.adversarial.discriminator_augmentation import sample_zoom_shift, zoom_shift
from nerp.training.adversarial.training_volumes import Items, TrainingVolume
from nerp.training.checkpoint import State, pack_module, unpack_module
from nerp.training.optimisation import OptimisationStep, Terms, rate_factor
from nerp.training.settings import LossSettings, OptimizerSettings, TrainerSettings
from nerp.volume import Fields

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from nerp.camera import CameraDistribution


@dataclass(frozen=True)
class Networks:
    """The generator in its two parts, and the discriminator.

    Args:
        mapper:        from a windowed CT to fields.
        viewer:        from fields and a camera to radiographs.
        discriminator: from radiographs to logits of being real.
    """

    mapper: Mapper
    viewer: Viewer
    discriminator: Discriminator


@dataclass(frozen=True)
class Sources:
    """Unpaired data, wherever it comes from, and the cameras to look with.

    Args:
        volumes:          CTs on the mapper's grid, each with its base camera.
        radiographs:      real display images, each (1, H, W) in 0 to 1.
        cameras:          what is drawn around a volume's base camera.
        radiographs_name: what the radiographs are called in pictures.
    """

    volumes: Items[TrainingVolume]
    radiographs: Items[Tensor]
    cameras: CameraDistribution
    radiographs_name: str = "real"


@dataclass(frozen=True)
class Recipe:
    """How to learn: the weights of the terms, the rates, and the numbers of a step.

    Args:
        loss:      weights of the terms.
        optimizer: of both networks.
        trainer:   counts of a step, memory of the average.
        zoom:      range of `sample_zoom_shift`, of what the discriminator sees.
        shift:     likewise, as a fraction of the image.
    """

    loss: LossSettings
    optimizer: OptimizerSettings
    trainer: TrainerSettings
    zoom: float = 0.0
    shift: float = 0.0


@dataclass(frozen=True)
class Views:
    """What one generator forward gives.

    Args:
        vrr:          (B, 1, H, W) display images, 0 to 1, with their graph.
        drr:          (B, 1, H, W) display images of the same cameras, 0 to 1.
        fields:       of each CT, with their graph.
        windowed_cts: of the same CTs, each (1, 1, D, H, W), 0 to 1.
    """

    vrr: Tensor
    drr: Tensor
    fields: list[Fields]
    windowed_cts: list[Tensor]


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
        self._mapper = OptimisationStep("mapper", FieldValues(networks.mapper), settings=rates, fabric=fabric)
        both = LogitsOfBoth(networks.discriminator)
        self._discriminator = OptimisationStep("discriminator", both, settings=rates, fabric=fabric)
        self.averaged = copy.deepcopy(networks.mapper).requires_grad_(False).eval()

    def step(self, step: int, /) -> dict[str, float]:
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

    def state(self) -> State:
        """Every tensor that the next step depends on."""
        return {
            **pack_module("mapper", self.networks.mapper),
            **pack_module("averaged", self.averaged),
            **pack_module("discriminator", self.networks.discriminator),
            **self._mapper.state(),
            **self._discriminator.state(),
        }

    def restore(self, tensors: State, /) -> None:
        """Put back what `state` gave."""
        unpack_module("mapper", self.networks.mapper, tensors)
        unpack_module("averaged", self.averaged, tensors)
        unpack_module("discriminator", self.networks.discriminator, tensors)
        self._mapper.restore(tensors)
        self._discriminator.restore(tensors)

    @torch.no_grad()
    def picture(self) -> dict[str, Tensor]:
        """Rows of the same few CTs and cameras, always: the averaged mapper's VRRs, DRRs, and real images.

        Returns:
            Name to (N, 1, H, W) display images, 0 to 1; N is `trainer.sample_columns`, or the number of CTs.
        """
        n = min(self.recipe.trainer.sample_columns, len(self.sources.volumes))
        vrr, drr = [], []
        for index in range(n):
            volume = self._volume(index)
            camera = self.sources.cameras.sample(volume.camera, 1, stream(self.seed, index, "picture"))
            fields = self.averaged(volume.windowed_ct, volume.attenuation.affine)
            vrr.append(self._vrr(fields, camera))
            drr.append(self._drr(volume, camera))
        chosen = choose(n, len(self.sources.radiographs), stream(self.seed, 0, "picture of radiographs"))
        real = torch.stack([self.sources.radiographs[index] for index in chosen])
        return {"VRR": torch.cat(vrr), "DRR": torch.cat(drr), self.sources.radiographs_name: real}

    def _stream(self, step: int, name: str) -> torch.Generator:
        return stream(self.seed, step, name, self.fabric.global_rank)

    def _volume(self, index: int) -> TrainingVolume:
        return self.sources.volumes[index].to(self.fabric.device)

    def _render(self, step: int) -> Views:
        settings = self.recipe.trainer
        # streams keep the names they were first drawn by: other names are other draws
        chosen = choose(settings.volumes_per_step, len(self.sources.volumes), self._stream(step, "patients"))
        vrr, drr, fields, windowed_cts = [], [], [], []
        for place, index in enumerate(chosen):
            volume = self._volume(index)
            draw = self._stream(step, f"cameras {place}")
            camera = self.sources.cameras.sample(volume.camera, settings.views_per_volume, draw)
            matter, opacity = self._mapper.module(volume.windowed_ct)
            fields.append(Fields(matter, opacity, volume.attenuation.affine))
            vrr.append(self._vrr(fields[-1], camera))
            drr.append(self._drr(volume, camera))
            windowed_cts.append(volume.windowed_ct)
        return Views(torch.cat(vrr), torch.cat(drr), fields, windowed_cts)

    def _vrr(self, fields: Fields, camera: Camera) -> Tensor:
        return display_image(self.networks.viewer(fields, camera.to(fields.matter.device)))

    @torch.no_grad()
    def _drr(self, volume: TrainingVolume, camera: Camera) -> Tensor:
        camera = camera.to(volume.windowed_ct.device)
        return display_image(siddon(volume.attenuation, camera, backend=self.networks.viewer.backend))

    def _radiographs(self, step: int, n: int) -> Tensor:
        chosen = choose(n, len(self.sources.radiographs), self._stream(step, "radiographs"))
        return torch.stack([self.sources.radiographs[index] for index in chosen]).to(self.fabric.device)

    def _teach_discriminator(
        self, step: int, fake: Tensor, real: Tensor, moves: tuple[Tensor, Tensor]
    ) -> dict[str, float]:
        weights, n = self.recipe.loss, len(real)
        penalised = weights.r1 > 0 and step % weights.r1_every == 0
        real = zoom_shift(real, moves[0][:n], moves[1][:n])
        fake = zoom_shift(fake, moves[0][n:], moves[1][n:])
        of_real, of_fake, penalty = self._discriminator.module(real, fake, penalised)
        form = losses.DISCRIMINATOR_LOSSES[weights.form]
        terms: Terms = {"discriminator": (1.0, losses.over_heads(form, of_real, of_fake))}
        if penalised:
            terms["r1"] = (weights.r1 * weights.r1_every, penalty)
        metrics = self._discriminator.update(step, terms, rate=self._rate(step, self.recipe.optimizer.discriminator_lr))
        logits = {"logit_real": of_real[1], "logit_fake": of_fake[1]}
        return metrics | {name: whole.detach().mean().item() for name, whole in logits.items()}

    def _teach_mapper(self, step: int, views: Views, moves: tuple[Tensor, Tensor]) -> dict[str, float]:
        weights, n = self.recipe.loss, len(views.vrr)
        seen = zoom_shift(views.vrr, moves[0][n:], moves[1][n:])
        bound = self.networks.mapper.opacity_max_per_mm
        makers: dict[str, Callable[[], Tensor]] = {
            "adversarial": lambda: losses.over_heads(losses.GENERATOR_LOSSES[weights.form], self._logits(seen)),
            "l1": lambda: losses.l1(views.vrr, views.drr),
            "tv": lambda: _mean(losses.total_variation(f.opacity / bound) for f in views.fields),
            "matter_l1": lambda: _mean(
                losses.l1(f.matter, ct[:, 0]) for f, ct in zip(views.fields, views.windowed_cts, strict=True)
            ),
        }
        used = {name: (getattr(weights, name), make) for name, make in makers.items() if getattr(weights, name)}
        terms: Terms = {name: (weight, make()) for name, (weight, make) in used.items()}
        return self._mapper.update(step, terms, rate=self._rate(step, self.recipe.optimizer.lr))

    def _rate(self, step: int, rate: float) -> float:
        return rate * rate_factor(step, self.recipe.optimizer)

    def _logits(self, images: Tensor) -> losses.Logits:
        """The discriminator's logits with its weights held fixed, past the DDP wrapper."""
        discriminator = self.networks.discriminator.requires_grad_(False)
        with self.fabric.autocast():
            logits = discriminator(images)
        discriminator.requires_grad_(True)
        return logits

    @torch.no_grad()
    def _average(self, step: int) -> None:
        """EMA of the weights, with a shorter memory in the first steps (Tarvainen & Valpola 2017)."""
        decay = min(self.recipe.trainer.ema_decay, step / (step + 9.0))
        for kept, new in zip(self.averaged.parameters(), self.networks.mapper.parameters(), strict=True):
            kept.lerp_(new, 1.0 - decay)


def _mean(terms: Iterable[Tensor]) -> Tensor:
    return torch.stack(list(terms)).mean()
