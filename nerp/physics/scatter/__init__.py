"""Scattered photons: an exact transport to judge by, and a fast one to use."""
