"""Adversarial training from a config or preset: `python train/gan.py demo trainer.steps=100` is `nerp train`."""

import argparse
import sys

from nerp.config import load_config
from nerp.errors import NerpError
from nerp.training.adversarial import train


def main(arguments: list[str] | None = None) -> int:
    """Train, or resume; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", help="YAML file, or the name of a preset such as demo")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="such as trainer.steps=100")
    options = parser.parse_args(arguments)
    try:
        print(train(load_config(options.config, options.overrides)))
    except NerpError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
