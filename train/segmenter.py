"""Teach a segmenter on a folder of pairs; run again, it goes on where it stopped.

python train/segmenter.py train=PAIRS out=runs/segmenter segmenter.minutes=5
"""

import json
import sys

from nerp.cli import guarded
from nerp.config import read_settings
from nerp.training.segmentation import train_segmenter
from nerp.training.settings import SegmenterConfig


def main() -> None:
    """Train by the `key=value` arguments, the first may be a YAML file; print the numbers of the training as JSON."""
    given = sys.argv[1:]
    source = given.pop(0) if given and "=" not in given[0] else None
    print(json.dumps(train_segmenter(read_settings(SegmenterConfig, source, given)).record(), indent=2))


if __name__ == "__main__":
    sys.exit(guarded(main))
