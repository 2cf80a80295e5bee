"""Losses, trainers and checkpoints."""
