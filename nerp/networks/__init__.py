"""Mapper, viewer, discriminator and segmenter."""
