"""Labelled radiographs from CTs, single and in sets, each with the record that renders it again."""

from nerp.synthesis.dataset import synthesize
from nerp.synthesis.run import Run, load_run, run_settings
from nerp.synthesis.settings import PairSettings
from nerp.synthesis.single import render, replay
from nerp.synthesis.synthesiser import Pair, Synthesiser

__all__ = ["Pair", "PairSettings", "Run", "Synthesiser", "load_run", "render", "replay", "run_settings", "synthesize"]
