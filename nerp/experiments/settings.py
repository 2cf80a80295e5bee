"""What experiments are told."""

from __future__ import annotations

from dataclasses import dataclass

from nerp.settings import number
from nerp.training.settings import SegmenterConfig


@dataclass(frozen=True)
class SegmentationConfig(SegmenterConfig):
    """A segmenter, trained here or before, scored on images and masks that it has not seen.

    Args:
        train:     folder of pairs to learn from, or a public set; none where `weights` are given.
        mask_name: which of their masks, where they have several.
        skip_bad:  go on without the files that cannot be read, and list them.
        out:       folder of the run, of scores.json and of predictions/; none: nothing is written.
        seed:      of the training, and of the intervals' draws.
        device:    `auto` takes a GPU where there is one.
        precision: of the network while it learns.
        segmenter: the network and its pace.
        test:      folder with images/ and masks/, matched by file name, or a public set, such as `montgomery:FOLDER`.
        weights:   a segmenter.safetensors of an earlier run; then nothing is trained.
        masks_pattern: how a test's mask is called, such as `{name}_lung.png`.
        spacing_mm: between rows and columns of the test's masks, for distances in mm; none: what files state.
        patients: CSV of files and whom they are of, `file,patient_id`; none: what records and names of known sets tell.
    """

    test: str | None = None
    weights: str | None = None
    masks_pattern: str | None = None
    spacing_mm: tuple[float, float] | None = number(None, 1e-4, 1e3, length=2)
    patients: str | None = None
