"""A classifier learns from images with findings."""
