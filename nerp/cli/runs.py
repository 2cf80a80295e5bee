"""Commands about runs and this machine: train, info."""

from __future__ import annotations

from typing import Annotated

import typer

from nerp import __version__
from nerp.cli import options as o
from nerp.cli.output import answer, bars, print_settings

DEFAULT_PRESET = "chest"


def train(
    config: Annotated[
        str, typer.Argument(help="YAML file, or the name of a preset: chest, demo, paper, code, real_cpu.")
    ] = DEFAULT_PRESET,
    overrides: o.Overrides = None,
    seed: Annotated[int | None, typer.Option(help="Same as seed=N.")] = None,
    device: o.OnDevice = None,
    dry_run: o.DryRun = False,
) -> None:
    """Train mapper and discriminator; run again, it resumes by itself."""
    from nerp.config import read_settings
    from nerp.training.config import Config

    if "=" in config:  # no preset is named: it is the first override
        config, overrides = DEFAULT_PRESET, [config, *(overrides or [])]
    settings = read_settings(Config, config, overrides or [], options=o.stated(seed=seed, device=device))
    if dry_run:
        print_settings(settings)
        return
    from nerp.training.adversarial import train as train_run

    with bars() as move:
        print(train_run(settings, progress=move))


def info(as_json: o.AsJson = False) -> None:
    """Show versions, devices, and which projection backends are live and why."""
    import platform

    import torch

    from nerp.devices import choose_device
    from nerp.projection import available_backends

    facts = {
        "nerp": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "device": choose_device("auto").type,
        "cuda": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())],
        "backends": available_backends(),
    }
    lines = [f"{name:8} {value}" for name, value in facts.items() if name != "backends"]
    answer(facts, as_json, lines + [f"backend  {name}: {why}" for name, why in available_backends().items()])
