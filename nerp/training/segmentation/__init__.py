"""A segmenter learns from labelled pairs."""

from nerp.training.segmentation.run import TrainedSegmenter, train_segmenter

__all__ = ["TrainedSegmenter", "train_segmenter"]
