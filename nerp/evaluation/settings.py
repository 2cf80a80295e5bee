"""What `nerp evaluate fidelity` is told."""

from __future__ import annotations

from dataclasses import dataclass

from nerp.settings import Settings, choice, number


@dataclass(frozen=True)
class FidelityConfig(Settings):
    """Two sets of images, and how they are compared.

    Args:
        fake:         folder of generated images; see `nerp.data.folders.find_radiographs`.
        real:         folder of real images, or a public set, such as `shenzhen:FOLDER`; or statistics of one, kept
            earlier.
        extractor:    `inception`, `efficientnet-lite0`, `squeezenet`, `dinov2`, `timm:ARCHITECTURE`, or a TorchScript
            or ONNX file; several, separated by commas.
        weights:      the extractor's weights file.
        patients:     CSV that tells of which patient each image is, columns such as `file` and `patient_id`.
        skip_bad:     go on without images that cannot be read, and list them.
        download:     fetch missing weights; never done unasked.
        seed:         of the subsets of KID and of the intervals, and of the floor's halves.
        n_resamples:  subsets an interval: half of them leave fake images out, half real ones; 0 leaves the intervals
            out.
        floor_splits: random halvings of the real images that are scored against each other; 0 leaves them out.
        left_out:     tell FID and KID without each block of images, too, by which ratios of two results have intervals.
        save_statistics: safetensors file that receives what is needed of the real images to score others.
        statistics_features: keep every image's features in it; otherwise mean and covariance, which serve FID alone.
        device:       where features are extracted; `auto` takes a GPU where there is one.
    """

    fake: str | None = None
    real: str | None = None
    extractor: str = "inception"
    weights: str | None = None
    patients: str | None = None
    skip_bad: bool = False
    download: bool = False
    seed: int = number(0, 0, 2**32 - 1)
    n_resamples: int = number(100, 0, 100_000)
    floor_splits: int = number(5, 0, 1000)
    left_out: bool = False
    save_statistics: str | None = None
    statistics_features: bool = True
    device: str = choice("auto", "cpu", "cuda")
