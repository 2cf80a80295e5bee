"""Adversarial training of the mapper: rendered radiographs against real ones, tied to the DRR."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from nerp.display import display_image
from nerp.randomness import choose, stream
from nerp.training.adversarial import losses
from nerp.training.adversarial.ddp_modules import FieldValues
from nerp.training.adversarial.drawing import Draws
from nerp.training.adversarial.judging import Judge
from nerp.training.adversarial.parts import Networks, Recipe, Sources
from nerp.training.adversarial.rendering import Rendering, Views
from nerp.training.adversarial.selection import Selection
from nerp.training.adversarial.showing import Showing, draw_showings
from nerp.training.checkpoint import State, pack_module, unpack_module
from nerp.training.optimisation import OptimisationStep, Terms, rate_factor

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class AdversarialTrainer:
    """Trains a mapper and what judges it, one step at a time.

    Every random choice of step s follows from (seed, s, purpose), of which each process takes its part: nothing
    else need be stored to continue a run. One generator forward serves all networks' updates.

    Args:
        networks: trained in place; moved to the fabric's device.
        sources:  unpaired CTs and radiographs.
        recipe:   weights, rates, counts.
        seed:     of every random choice.
        fabric:   Lightning Fabric, launched.
    """

    def __init__(self, networks: Networks, sources: Sources, *, recipe: Recipe, seed: int, fabric: Fabric):
        self.networks, self.sources, self.recipe = networks, sources, recipe
        self._draws = Draws(seed, fabric.global_rank, fabric.world_size)
        self._device, rates = fabric.device, recipe.optimizer
        self._mapper = OptimisationStep("mapper", FieldValues(networks.mapper), settings=rates, fabric=fabric)
        learning: dict[str, Any] = {"loss": recipe.loss, "optimizer": rates, "fabric": fabric}
        self._whole = Judge(networks.discriminator, **learning)
        patched = networks.patch_discriminator
        self._patched = None if patched is None else Judge(patched, **learning, of="patch")
        self._rendering = Rendering(networks.viewer, sources, recipe=recipe, draws=self._draws, device=fabric.device)
        self.averaged = copy.deepcopy(networks.mapper).requires_grad_(False).eval()
        given: dict[str, Any] = {"sources": sources, "settings": recipe.trainer, "seed": seed}
        selects = recipe.trainer.select_every > 0
        self.selection = Selection(self.averaged, self._rendering, **given) if selects else None

    def step(self, step: int, /) -> dict[str, float]:
        """Do step `step`, counted from 1; returns every loss term, gradient norm, rate and mean logit.

        Raises:
            TrainingError: a loss term or a gradient is not finite; the step and the term are named,
                and that network's weights are left as they were.
        """
        views = self._rendering.step(step, self._mapper.module)
        fake = views.judged()
        real = self._radiographs(step, len(fake))
        showings = draw_showings(self.recipe.shown, len(fake), self._draws, step)
        metrics = self._teach_judges(step, real, fake.detach(), showings)
        metrics |= self._teach_mapper(step, views, fake, showings[1])
        self._average(step)
        if self.selection is not None and self._draws.rank == 0 and step % self.recipe.trainer.select_every == 0:
            metrics |= self.selection.judge(step, self.averaged)
        return metrics

    def state(self) -> State:
        """Every tensor that the next step depends on."""
        return {
            **pack_module("mapper", self.networks.mapper),
            **pack_module("averaged", self.averaged),
            **self._mapper.state(),
            **self._whole.state(),
            **({} if self._patched is None else self._patched.state()),
            **({} if self.selection is None else self.selection.state()),
        }

    def restore(self, tensors: State, /) -> None:
        """Put back what `state` gave."""
        unpack_module("mapper", self.networks.mapper, tensors)
        unpack_module("averaged", self.averaged, tensors)
        self._mapper.restore(tensors)
        self._whole.restore(tensors)
        if self._patched is not None:
            self._patched.restore(tensors)
        if self.selection is not None:
            self.selection.restore(tensors)

    @torch.no_grad()
    def picture(self) -> dict[str, Tensor]:
        """Rows of the same few CTs and cameras, always: the averaged mapper's VRRs, DRRs, and real images.

        Returns:
            Name to (N, 1, H, W) display images, 0 to 1; N is `trainer.sample_columns`, or the number of CTs.
        """
        n = min(self.recipe.trainer.sample_columns, len(self.sources.volumes))
        rows: dict[str, list[Tensor]] = {}
        for index in range(n):
            for name, image in self._columns(index).items():
                rows.setdefault(name, []).append(image)
        radiographs = self.sources.radiographs
        chosen = choose(n, len(radiographs), stream(self._draws.seed, 0, "picture of radiographs"))
        real = torch.stack([radiographs[index] for index in chosen])
        return {**{name: torch.cat(images) for name, images in rows.items()}, self.sources.radiographs_name: real}

    def _columns(self, index: int) -> dict[str, Tensor]:
        """What a picture shows of one CT, each (1, 1, H, W)."""
        volume = self._rendering.volume(index)
        camera = self.sources.cameras.sample(volume.camera, 1, stream(self._draws.seed, index, "picture"))
        fields = self.averaged(volume.windowed_ct, volume.attenuation.affine)
        drr = display_image(self._rendering.integrals(volume, camera))
        shown = {"VRR": self._rendering.vrr(fields, camera), "DRR": drr}
        if self.recipe.loss.l1_target == "physics":
            shown["physics"] = self._rendering.physical(index, camera)
        return shown

    def _radiographs(self, step: int, n: int) -> Tensor:
        radiographs = self.sources.radiographs
        chosen = self._draws.chosen(n, len(radiographs), self._draws.stream(step, "radiographs"))
        return torch.stack([radiographs[index] for index in chosen]).to(self._device)

    def _teach_judges(
        self, step: int, real: Tensor, fake: Tensor, showings: tuple[Showing, Showing]
    ) -> dict[str, float]:
        metrics: dict[str, float] = {}
        pair = list(zip((real, fake), showings, strict=True))
        if self.recipe.loss.whole:
            metrics |= self._whole.learn(step, *(showing.whole(images) for images, showing in pair))
        if self._patched is not None:
            metrics |= self._patched.learn(step, *(showing.patches(images) for images, showing in pair))
        return metrics

    def _teach_mapper(self, step: int, views: Views, fake: Tensor, showing: Showing) -> dict[str, float]:
        weights, bound = self.recipe.loss, self.networks.mapper.opacity_max_per_mm
        makers: dict[str, tuple[float, Callable[[], Tensor]]] = {
            "adversarial": (weights.adversarial * weights.whole, lambda: self._whole.verdict(showing.whole(fake))),
            "l1": (weights.l1, lambda: losses.l1(views.vrr, views.target)),
            "tv": (weights.tv, lambda: _mean(losses.total_variation(f.opacity / bound) for f in views.fields)),
            "matter_l1": (
                weights.matter_l1,
                lambda: _mean(
                    losses.l1(f.matter, ct[:, 0]) for f, ct in zip(views.fields, views.windowed_cts, strict=True)
                ),
            ),
        }
        if (judge := self._patched) is not None:
            of_patches = weights.adversarial * weights.patches
            makers["patch_adversarial"] = (of_patches, lambda: judge.verdict(showing.patches(fake)))
        terms: Terms = {name: (weight, make()) for name, (weight, make) in makers.items() if weight}
        rates = self.recipe.optimizer
        return self._mapper.update(step, terms, rate=rates.lr * rate_factor(step, rates))

    @torch.no_grad()
    def _average(self, step: int) -> None:
        """EMA of the weights, with a shorter memory in the first steps (Tarvainen & Valpola 2017)."""
        decay = min(self.recipe.trainer.ema_decay, step / (step + 9.0))
        for kept, new in zip(self.averaged.parameters(), self.networks.mapper.parameters(), strict=True):
            kept.lerp_(new, 1.0 - decay)


def _mean(terms: Iterable[Tensor]) -> Tensor:
    return torch.stack(list(terms)).mean()
