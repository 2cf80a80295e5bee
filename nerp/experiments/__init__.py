"""Trainings that are done to be scored: what a set of pairs, or a choice, is worth."""
