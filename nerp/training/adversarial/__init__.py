"""Adversarial training: a mapper's radiographs against real ones."""

from nerp.training.adversarial.run import build_networks, train
from nerp.training.adversarial.trainer import AdversarialTrainer

__all__ = ["AdversarialTrainer", "build_networks", "train"]
