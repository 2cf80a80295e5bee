"""What is kept of a real set, so that its images need not be read again, or shared, to score others against it.

A safetensors file: of each extractor its features of every image, or their mean and covariance alone; numbers that
tell which images are of one patient; and in the header the extractor's name and hash, the rule of resizing, nerp's
version and a hash of the images' contents. It holds no image, no name of a file and no patient's id.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nerp.devices import WHOLE
from nerp.errors import EvaluationError
from nerp.evaluation.distances import Moments, covariance_root
from nerp.evaluation.features import Extractor
from nerp.evaluation.sample import Sample
from nerp.files import replacing, sha256

ENDING = ".safetensors"
FORMAT = 1
KEY = "nerp_real_statistics"


@dataclass(frozen=True)
class RealStatistics:
    """A real set as extractors see it.

    Args:
        sides:        what each extractor says, by its hash and rule of resizing (`key_of`).
        names:        of the extractors, as the file tells.
        files_sha256: of the images' contents, from `files_hash`.
        version:      of nerp that extracted the features.
        patients_by:  what told whom the images are of; see `nerp.data.patients`.
    """

    sides: dict[str, Sample | Moments]
    names: tuple[str, ...]
    files_sha256: str
    version: str
    patients_by: str

    def of(self, extractor: Extractor) -> Sample | Moments:
        """What one extractor says.

        Raises:
            EvaluationError: it is not among those that the statistics were taken by.
        """
        if key_of(extractor) not in self.sides:
            raise EvaluationError(
                f"the statistics are of {', '.join(self.names)}; expected {extractor.name} with sha256 "
                f"{extractor.sha256[:12]}..., {extractor.resize}: choose their extractor (--extractor), or take the "
                "statistics again"
            )
        return self.sides[key_of(extractor)]


def key_of(extractor: Extractor) -> str:
    """What tells one extractor's features from another's: its weights and how images get their size."""
    return f"{extractor.sha256} {extractor.resize}"


def is_statistics(source: str | Path) -> bool:
    """Whether a source is such a file, by its name, and no folder."""
    return str(source).endswith(ENDING) and not Path(source).is_dir()


def files_hash(files: Sequence[Path]) -> str:
    """SHA-256 of the sorted SHA-256 of each file, one a line: the same for the same images under any names."""
    return hashlib.sha256("".join(sorted(f"{sha256(path)}\n" for path in files)).encode()).hexdigest()


def save_statistics(
    path: str | Path, found: Sequence[tuple[Extractor, Sample]], *, about: dict[str, str], with_features: bool = True
) -> None:
    """Write a real set's statistics; never half-done. Equal statistics make equal bytes.

    Args:
        path:          the file, ending in .safetensors.
        found:         extractors and what each says of the images.
        about:         `files_sha256`, `version` and `patients_by`.
        with_features: keep features, float32 as networks give them; otherwise mean and covariance, float64, alone.
    """
    from safetensors.torch import save_file

    tensors: dict[str, Tensor] = {"groups": _numbered(found[0][1])}
    entries = []
    for number, (extractor, sample) in enumerate(found):
        entries.append({"name": extractor.name, "sha256": extractor.sha256, "resize": extractor.resize})
        if with_features:
            tensors[f"{number}.features"] = sample.features.float().contiguous()
        else:
            centred = sample.features - sample.features.mean(0)
            tensors[f"{number}.mean"] = sample.features.mean(0)
            tensors[f"{number}.covariance"] = centred.T @ centred / (sample.n_images - 1)
    header = {"format": FORMAT, "n_images": found[0][1].n_images, "extractors": entries, **about}
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata={KEY: json.dumps(header, sort_keys=True)})


def _numbered(sample: Sample) -> Tensor:
    """(N,) int64: a number for each patient, in the order of the images."""
    numbers = {label: number for number, label in enumerate(dict.fromkeys(sample.labels))}
    return torch.tensor([numbers[label] for label in sample.labels], **WHOLE)


def load_statistics(path: str | Path) -> RealStatistics:
    """Read what `save_statistics` wrote.

    Raises:
        EvaluationError: missing, no such file, damaged, or of a later format.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise EvaluationError(f"no statistics at {path}: expected a file of --save-statistics; check the path")
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get(KEY, "null"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return _understood(path, header, tensors)
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise EvaluationError(
            f"{path} holds no statistics of a real set ({reason}); expected a file of --save-statistics: make it again"
        ) from error


def _understood(path: Path, header: dict[str, Any] | None, tensors: dict[str, Tensor]) -> RealStatistics:
    if header is None:
        raise ValueError("its header tells of none")
    if header["format"] != FORMAT:
        raise EvaluationError(f"{path} is of format {header['format']}; this nerp reads {FORMAT}: update nerp")
    count = int(header["n_images"])
    groups = None if header["patients_by"] == "nothing" else tensors["groups"].tolist()
    if len(tensors["groups"]) != count or count < 2:
        raise ValueError(f"groups of {len(tensors['groups'])} images for {count}")
    sides: dict[str, Sample | Moments] = {}
    for number, entry in enumerate(header["extractors"]):
        sides[f"{entry['sha256']} {entry['resize']}"] = _side(tensors, number, count, groups)
    names = tuple(entry["name"] for entry in header["extractors"])
    return RealStatistics(sides, names, header["files_sha256"], header["version"], header["patients_by"])


def _side(tensors: dict[str, Tensor], number: int, count: int, groups: list[int] | None) -> Sample | Moments:
    if f"{number}.features" in tensors:
        features = tensors[f"{number}.features"].double()
        if features.ndim != 2 or len(features) != count or not torch.isfinite(features).all():
            raise ValueError(f"features {tuple(features.shape)} of {count} images")
        return Sample(features, None, groups)
    mean, covariance = tensors[f"{number}.mean"].double(), tensors[f"{number}.covariance"].double()
    if covariance.shape != (len(mean), len(mean)) or not (mean.isfinite().all() and covariance.isfinite().all()):
        raise ValueError(f"mean {tuple(mean.shape)} and covariance {tuple(covariance.shape)}")
    return Moments(mean, covariance_root(covariance), count)
