"""What a run leaves behind to look at: metrics.jsonl, TensorBoard events and pictures."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from nerp.data.images import png_bytes
from nerp.files import write_bytes, write_text
from nerp.runs import RunFolder

if TYPE_CHECKING:
    from PIL import Image

TILE, MARGIN, HEADING, GAP = 192, 88, 28, 4
"""Of a picture, in pixels: shorter side of its images at least, room for names, for numbers, between images."""


class RunLog:
    """Appends to the run's metrics, in `metrics.jsonl` and for TensorBoard.

    Args:
        run:  the run's folder.
        step: steps already done: later lines, which an interrupted run may have left, are removed.
    """

    def __init__(self, run: RunFolder, step: int):
        from torch.utils.tensorboard import SummaryWriter

        trim_metrics(run.metrics, step)
        self._file = run.metrics.open("a", encoding="utf-8")
        self._events = SummaryWriter(str(run.events), purge_step=step + 1)

    def __enter__(self) -> RunLog:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()
        self._events.close()

    def write(self, step: int, metrics: dict[str, float]) -> None:
        """One line for one step.

        Args:
            step:    its number.
            metrics: name to number.
        """
        self._file.write(json.dumps({"step": step, **metrics}) + "\n")
        self._file.flush()
        for name, value in metrics.items():
            self._events.add_scalar(name, value, step)

    def flush(self) -> None:
        """Bring all lines to the disk: called before a checkpoint, after which they are not written again."""
        os.fsync(self._file.fileno())
        self._events.flush()


def trim_metrics(path: Path, step: int) -> None:
    """Drop the lines of later steps, and a line cut short; whole or not at all.

    Args:
        path: a `metrics.jsonl`, which need not exist.
        step: the last one whose line stays.
    """
    if path.is_file():
        lines = path.read_text(encoding="utf-8").splitlines()
        kept = [line for line in lines if _step_of(line) <= step]
        write_text(path, "".join(f"{line}\n" for line in kept))


def _step_of(line: str) -> float:
    try:
        return json.loads(line)["step"]
    except (json.JSONDecodeError, KeyError, TypeError):
        return float("inf")


def write_picture(path: Path, rows: dict[str, Tensor]) -> None:
    """Write rows of display images as tiles of at least `TILE` pixels, rows named at the left, columns numbered above.

    Args:
        path: the PNG.
        rows: name to (B, 1, H, W) in 0 to 1; all of one shape.
    """
    from PIL import Image, ImageDraw, ImageFont

    tiles = [[_tile(image) for image in images[:, 0]] for images in rows.values()]
    width, height = tiles[0][0].size
    size = (MARGIN + len(tiles[0]) * (width + GAP), HEADING + len(tiles) * (height + GAP))
    picture, font = Image.new("L", size, 0), ImageFont.load_default(18)
    draw = ImageDraw.Draw(picture)
    for row, (name, band) in enumerate(zip(rows, tiles, strict=True)):
        top = HEADING + row * (height + GAP)
        draw.text((MARGIN / 2, top + height / 2), name, fill=255, font=font, anchor="mm")
        for column, tile in enumerate(band):
            left = MARGIN + column * (width + GAP)
            draw.text((left + width / 2, HEADING / 2), str(column + 1), fill=255, font=font, anchor="mm")
            picture.paste(tile, (left, top))
    write_bytes(path, png_bytes(np.asarray(picture)))


def _tile(image: Tensor) -> Image.Image:
    """A picture of (H, W) in 0 to 1, enlarged by a whole number until its shorter side has `TILE` pixels."""
    from PIL import Image

    bytes_ = (image.detach().cpu().float().clamp(0, 1) * 255).round().to(torch.uint8)
    tile = Image.fromarray(bytes_.numpy())
    factor = -(-TILE // min(tile.size))
    return tile.resize((factor * tile.width, factor * tile.height), Image.Resampling.BICUBIC)
