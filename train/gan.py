"""Adversarial training from a config or preset: `python train/gan.py demo trainer.steps=100` is `nerp train`."""

import sys

from nerp.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
