"""Images with their masks, from any folder that has both: what belongs together, and what is left over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from nerp.data.folders import RECORDS, Pairs, find_pairs
from nerp.data.images import list_images, read_grey, read_mask
from nerp.data.pairs import read_records
from nerp.data.patients import Patients, find_patients, read_index
from nerp.data.records import PairRecord
from nerp.errors import DataError


@dataclass(frozen=True)
class MaskedImages:
    """The images of a folder that have masks.

    Args:
        pairs:               images, each with the files whose union is its mask.
        images_without_mask: stems.
        masks_without_image: stems; none where records say which pairs count.
        records:             what `metadata.jsonl` says of the images, by their paths; empty where it is no nerp's.
        patients:            whom the images are of.
    """

    pairs: Pairs
    images_without_mask: list[str]
    masks_without_image: list[str]
    records: dict[Path, PairRecord]
    patients: Patients

    @property
    def groups(self) -> list[str]:
        """One label an image: its patient, or the CT that it was rendered from; else each stands alone."""
        return list(self.patients.labels)

    @property
    def counted(self) -> dict[str, object]:
        """JSON-ready: how many patients there are, and what told them."""
        return {"patients": self.patients.count, "patients_by": self.patients.by}

    @property
    def remarks(self) -> list[str]:
        """A sentence for each kind of what is left over."""
        kinds = (("images have no mask", self.images_without_mask), ("masks have no image", self.masks_without_image))
        return [f"{len(stems)} {what} and are left out: {_some(stems)}" for what, stems in kinds if stems]

    @property
    def doubts(self) -> list[str]:
        """A sentence where patients are not known."""
        unknown, count = self.patients.unknown, len(self.pairs)
        if not unknown or count < 2:
            return []
        which = f"the {count} images" if unknown == count else f"{unknown} of {count} images"
        return [f"nothing tells the patients of {which}: each is taken for one of its own (--patients FILE)"]


def find_masked_images(
    source: str | Path, *, pattern: str | None = None, mask: str | None = None, index: str | Path | None = None
) -> MaskedImages:
    """The images of a folder, or of a public set, that have masks.

    Args:
        source:  see `find_pairs`.
        pattern: how the mask of an image is called, such as `{name}_lung.png`.
        mask:    which sub-folder of masks/, where there are any.
        index:   CSV of files and patients; see `read_index`.

    Raises:
        DataError: no image has a mask, or an index that lists none of them; otherwise as `find_pairs`.
        UsageError: as `find_pairs`.
    """
    pairs, unmatched = find_pairs(source, pattern=pattern, mask=mask)
    if not pairs:
        raise DataError(
            f"no image in {source}/images has a mask of its name in {source}/masks; expected equal file stems, or "
            "--masks-pattern"
        )
    listed = (Path(source) / RECORDS).is_file()
    records = _records(Path(source)) if listed else {}
    patients = find_patients([image for image, _ in pairs], index=None if index is None else read_index(index))
    if index is not None and patients.by != "index":
        raise DataError(f"{index} lists none of the images of {source}; expected their names in its column of files")
    return MaskedImages(pairs, unmatched, [] if listed else _left_over(pairs), records, patients)


def _records(folder: Path) -> dict[Path, PairRecord]:
    """Of a set of pairs; the list of an image folder tells no more than names."""
    path = folder / RECORDS
    with open(path, "rb") as file:
        is_of_pairs = b'"ct_sha256"' in file.readline()
    return {folder / record.file_name: record for record in read_records(path)} if is_of_pairs else {}


def _left_over(pairs: Pairs) -> list[str]:
    used = {path for _, masks in pairs for path in masks}
    folders = sorted({path.parent for path in used})
    return [path.stem for folder in folders for path in list_images(folder) if path not in used]


def _some(stems: Sequence[str]) -> str:
    more = f" and {len(stems) - 3} more" if len(stems) > 3 else ""
    return ", ".join(stems[:3]) + more


def read_masked_image(image: Path, masks: Sequence[Path]) -> tuple[np.ndarray, np.ndarray]:
    """An image and its mask.

    Args:
        image: its file.
        masks: files whose union is the mask.

    Returns:
        (H, W) float32 in 0..1 and (H, W) bool.

    Raises:
        DataError: a file that cannot be read, or a mask of another size.
    """
    values, inside = read_grey(image), read_mask(list(masks))[0, 0].numpy() > 0
    if values.shape != inside.shape:
        sizes = f"{inside.shape[0]}x{inside.shape[1]} pixels, its image {values.shape[0]}x{values.shape[1]}"
        raise DataError(f"{masks[0]}: the mask has {sizes}; expected equal sizes")
    return values, inside


def shrunk(image: np.ndarray, mask: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray, float]:
    """An image and its mask brought down to a longest side; smaller ones stay as they are.

    Args:
        image: (H, W), any unit.
        mask:  (H, W) bool.
        side:  pixels.

    Returns:
        (h, w) image, (h, w) bool mask, antialiased, and how many pixels of before one is now, >= 1.
    """
    factor = max(image.shape) / side
    if factor <= 1:
        return image, mask, 1.0
    shape = [max(1, round(size / factor)) for size in image.shape]
    both = torch.from_numpy(np.stack([image.astype(np.float32), mask.astype(np.float32)]))[None]
    small = F.interpolate(both, size=shape, mode="bilinear", antialias=True, align_corners=False)[0].numpy()
    return small[0], small[1] > 0.5, factor
