"""Datasets, public catalogues, and labelled pairs on disk."""
