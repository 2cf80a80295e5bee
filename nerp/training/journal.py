"""What a run leaves behind to look at: metrics.jsonl, TensorBoard events and pictures."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor

from nerp.files import replacing, write_text


class Journal:
    """Appends to the run's metrics, in `metrics.jsonl` and for TensorBoard.

    Args:
        run_dir: folder of the run.
        step:    steps already done: later lines, which an interrupted run may have left, are removed.
    """

    def __init__(self, run_dir: Path, step: int):
        from torch.utils.tensorboard import SummaryWriter

        self._path = run_dir / "metrics.jsonl"
        trim_metrics(self._path, step)
        self._file = self._path.open("a", encoding="utf-8")
        self._events = SummaryWriter(str(run_dir / "tensorboard"), purge_step=step + 1)

    def write(self, step: int, metrics: dict[str, float]) -> None:
        """One line for one step."""
        self._file.write(json.dumps({"step": step, **metrics}) + "\n")
        self._file.flush()
        for name, value in metrics.items():
            self._events.add_scalar(name, value, step)

    def close(self) -> None:
        """Flush and close both."""
        self._file.close()
        self._events.close()


def trim_metrics(path: Path, step: int) -> None:
    """Drop the lines of later steps than `step`, and a line cut short; whole or not at all."""
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
    """Write rows of display images, each named at its left.

    Args:
        path: the PNG.
        rows: name to (B, 1, H, W) in 0 to 1; one height, widths of the rows may differ in B.
    """
    from PIL import Image, ImageDraw

    height = next(iter(rows.values())).shape[-2]
    bands = [_side_by_side(images) for images in rows.values()]
    width = max(band.shape[1] for band in bands)
    margin, gap = 40, 2
    picture = Image.new("L", (margin + width, len(bands) * (height + gap)), 0)
    draw = ImageDraw.Draw(picture)
    for index, (name, band) in enumerate(zip(rows, bands, strict=True)):
        top = index * (height + gap)
        picture.paste(Image.fromarray(band.numpy(), "L"), (margin, top))
        draw.text((2, top + height // 2 - 6), name, fill=255)
    with replacing(path) as temporary:
        picture.save(temporary)


def _side_by_side(images: Tensor) -> Tensor:
    """(H, B * W) bytes of (B, 1, H, W) in 0 to 1."""
    bytes_ = (images.detach().cpu().float().clamp(0, 1) * 255).round().to(torch.uint8)
    return torch.cat(list(bytes_[:, 0]), dim=1)
