"""Exact integrals, emission-absorption marching and label projection."""
