"""Scores: fidelity, overlap, and their intervals."""
