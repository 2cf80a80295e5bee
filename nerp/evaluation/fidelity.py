"""How close two sets of images are to each other: from folders, or a folder and statistics, to scores.

Features first, once; scores after (`nerp.evaluation.comparison`); beside them the floor, real images against real
ones (`nerp.evaluation.floor`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nerp import __version__
from nerp.data.checking import Bad, check_inputs
from nerp.data.folders import find_radiographs
from nerp.data.patients import Patients, find_patients, read_index
from nerp.data.radiographs import check_radiograph
from nerp.errors import EvaluationError, UsageError
from nerp.evaluation.comparison import compare
from nerp.evaluation.distances import Moments
from nerp.evaluation.extractors import load_extractors
from nerp.evaluation.features import Extractor, extract_all
from nerp.evaluation.floor import floor
from nerp.evaluation.sample import Sample
from nerp.evaluation.settings import FidelityConfig
from nerp.evaluation.statistics import (
    ENDING,
    RealStatistics,
    files_hash,
    is_statistics,
    load_statistics,
    save_statistics,
)
from nerp.files import check_file

Progress = Callable[[int, int], None]
NUMBERS = ("seed", "n_resamples", "floor_splits")
"""Settings that the result repeats."""


@dataclass(frozen=True)
class Side:
    """One set of images as the extractors see it.

    Args:
        samples:  what each extractor says.
        patients: whom the images are of.
        files:    the images that were read.
        bad:      those that could not be.
    """

    samples: list[Sample]
    patients: Patients
    files: list[Path]
    bad: list[Bad]


def evaluate_fidelity(
    fake_dir: str | Path,
    real_dir: str | Path | Sequence[str | Path],
    *,
    extractor: Extractor | str | Sequence[Extractor] = "inception",
    settings: FidelityConfig | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """All scores of a folder of images against a folder of real ones, or against its statistics.

    Args:
        fake_dir:  at least two images; see `find_radiographs`.
        real_dir:  likewise, or several folders, taken together; or a file of `save_statistics`.
        extractor: one or several, from `load_extractors`; or names that it knows: then they run on the CPU.
        settings:  how they are scored; folders, extractors and device that they name are passed over.
        progress:  called as progress(images done, images in all).

    Returns:
        JSON-ready: `kind`; the first extractor's scores, see `compare`, with its identity, `extractor`, and its
        `floor`; all extractors' under `extractors`, by name; `patients`, who tells of them in both sets and how many
        there are; `statistics`, of a file that stood for the real images, or null; `skipped`, names of files that
        were left out.

    Raises:
        DataError: a folder that is missing or empty, or a file that is no image.
        EvaluationError: fewer than two images, features that cannot be compared, or statistics of another extractor.
        UsageError: an unknown extractor, or statistics where images are expected.
    """
    settings = settings or FidelityConfig()
    reals = [real_dir] if isinstance(real_dir, str | Path) else list(real_dir)
    known = load_statistics(reals[0]) if len(reals) == 1 and is_statistics(reals[0]) else None
    if known is not None and settings.save_statistics:
        raise UsageError(f"{reals[0]} is a file of statistics; expected a folder of images to take them of")
    if settings.save_statistics:
        _check_keep(settings.save_statistics)
    sources = [[fake_dir]] if known else [[fake_dir], reals]
    found = [_images(source, skip_bad=settings.skip_bad) for source in sources]
    networks = _networks(extractor)
    targets = [known.of(one) for one in networks] if known else []
    fake, *others = _sides(networks, found, settings, progress)
    real = others[0] if others else None
    if real is not None and settings.save_statistics:
        _keep(settings, networks, real)
    targets = targets or list(real.samples if real else [])
    triples = zip(networks, fake.samples, targets, strict=True)
    results = [_result(one, seen, target, settings) for one, seen, target in triples]
    return _whole(results, fake, real, known) | {"settings": {name: getattr(settings, name) for name in NUMBERS}}


def _check_keep(path: str) -> None:
    if not path.endswith(ENDING):
        raise UsageError(f"statistics are to be kept in {path}; expected a name that ends in {ENDING}")
    check_file(path)


def _images(sources: Sequence[str | Path], *, skip_bad: bool) -> tuple[list[Path], list[Bad]]:
    """The images of folders or sets that can be read, each once, and those that are left out."""
    statistics = next(filter(is_statistics, sources), None)
    if statistics is not None:
        raise UsageError(
            f"{statistics} is a file of statistics; expected a folder of generated images before the real ones"
        )
    found = {path.resolve(): path for source in sources for path in find_radiographs(source)}
    files, bad = check_inputs(found.values(), check_radiograph, what="images", skip_bad=skip_bad)
    _check_count(sources[0], files)
    return files, bad


def _check_count(source: str | Path, files: Sequence[Path]) -> None:
    if len(files) < 2:
        count = f"{len(files)} image" if len(files) == 1 else "no image that can be read"
        raise EvaluationError(f"{source} has {count}; expected 2 or more to compare: a distribution needs several")


def _networks(extractor: Extractor | str | Sequence[Extractor]) -> list[Extractor]:
    if isinstance(extractor, str):
        return load_extractors(extractor)
    return [extractor] if isinstance(extractor, Extractor) else list(extractor)


def _sides(
    networks: Sequence[Extractor],
    found: Sequence[tuple[list[Path], list[Bad]]],
    settings: FidelityConfig,
    progress: Progress | None,
) -> list[Side]:
    """Both sets, or the fake one, in one pass over all images."""
    index = read_index(settings.patients) if settings.patients else None
    listed = [path for files, _ in found for path in files]
    whole = extract_all(networks, listed, skip_bad=settings.skip_bad, progress=progress)
    damaged = {one.path for one in whole.bad}
    sides, start = [], 0
    for files, bad in found:
        good = [path for path in files if path not in damaged]
        _check_count(files[0].parent, good)
        rows, start = slice(start, start + len(good)), start + len(good)
        patients = find_patients(good, index=index)
        groups = None if patients.by == "nothing" else patients.labels
        samples = [Sample(rows_of[rows], None if k is None else k[rows], groups) for rows_of, k in whole.features]
        sides.append(Side(samples, patients, good, bad + [one for one in whole.bad if one.path in files]))
    if index and all(side.patients.by != "index" for side in sides):
        raise EvaluationError(
            f"{settings.patients} lists none of the images; expected names of files as in the folders"
        )
    return sides


def _keep(settings: FidelityConfig, networks: Sequence[Extractor], real: Side) -> None:
    about = {"files_sha256": files_hash(real.files), "version": __version__, "patients_by": real.patients.by}
    found = list(zip(networks, real.samples, strict=True))
    save_statistics(str(settings.save_statistics), found, about=about, with_features=settings.statistics_features)


def _result(extractor: Extractor, fake: Sample, real: Sample | Moments, settings: FidelityConfig) -> dict[str, Any]:
    how: dict[str, Any] = {"seed": settings.seed, "n_resamples": settings.n_resamples, "left_out": settings.left_out}
    scores = compare(fake, real, **how)
    under = floor(real, settings.floor_splits, seed=settings.seed) if isinstance(real, Sample) else None
    has_floor = under is not None and settings.floor_splits > 0
    identity = {"name": extractor.name, "sha256": extractor.sha256, "resize": extractor.resize}
    return scores | {"extractor": identity | {"device": extractor.device.type}, "floor": under if has_floor else None}


def _whole(
    results: Sequence[dict[str, Any]], fake: Side, real: Side | None, known: RealStatistics | None
) -> dict[str, Any]:
    unknown = _unknown(fake, real)
    statistics = {"files_sha256": known.files_sha256, "version": known.version} if known else None
    sides = {"fake": _told(fake), "real": _told(real) if real else {"by": known.patients_by if known else None}}
    skipped = [one.path.name for side in (fake, real) if side for one in side.bad]
    by_name: dict[str, dict[str, Any]] = {}
    for result in results:
        name, digest = result["extractor"]["name"], result["extractor"]["sha256"][:8]
        by_name[f"{name} {digest}" if name in by_name else name] = result
    warnings = list(dict.fromkeys(text for result in results for text in result["warnings"])) + unknown
    more = {"extractors": by_name, "patients": sides, "statistics": statistics}
    return {"kind": "fidelity"} | results[0] | more | {"warnings": warnings, "skipped": skipped}


def _told(side: Side) -> dict[str, Any]:
    return {"by": side.patients.by, "n": side.patients.count, "unknown": side.patients.unknown}


def _unknown(fake: Side, real: Side | None) -> list[str]:
    """A word on images whose patients are not told, where others' are."""
    sides = [("fake", fake), *([("real", real)] if real else [])]
    return [
        f"of {side.patients.unknown} of the {name} images no patient is told: each is taken for one of its own"
        for name, side in sides
        if side.patients.unknown > 0 and side.patients.by != "nothing"
    ]
