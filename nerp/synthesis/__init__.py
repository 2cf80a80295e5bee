"""Labelled radiographs from CTs, single and in sets, each with the record that renders it again."""

from nerp.synthesis.dataset import synthesize
from nerp.synthesis.generator import TrainedGenerator, load_generator
from nerp.synthesis.settings import MaskSettings, PairSettings
from nerp.synthesis.single import render, replay
from nerp.synthesis.synthesiser import Pair, Synthesiser

__all__ = [
    "MaskSettings",
    "Pair",
    "PairSettings",
    "Synthesiser",
    "TrainedGenerator",
    "load_generator",
    "render",
    "replay",
    "synthesize",
]
