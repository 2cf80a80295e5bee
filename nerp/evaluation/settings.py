"""What `nerp evaluate fidelity` is told."""

from __future__ import annotations

from dataclasses import dataclass

from nerp.settings import Settings, choice, number


@dataclass(frozen=True)
class FidelityConfig(Settings):
    """Two sets of images, and how they are compared.

    Args:
        fake:        folder of generated images; see `nerp.data.folders.find_radiographs`.
        real:        folder of real images, or a public set, such as `shenzhen:FOLDER`.
        extractor:   `inception`, `efficientnet-lite0`, or a TorchScript file.
        weights:     the extractor's weights file.
        skip_bad:    go on without images that cannot be read, and list them.
        download:    fetch missing weights; never done unasked.
        seed:        of the KID's subsets and of the intervals.
        n_resamples: bootstrap sets an interval; 0 leaves the intervals out.
        device:      where features are extracted; `auto` takes a GPU where there is one.
    """

    fake: str | None = None
    real: str | None = None
    extractor: str = "inception"
    weights: str | None = None
    skip_bad: bool = False
    download: bool = False
    seed: int = number(0, 0, 2**32 - 1)
    n_resamples: int = number(100, 0, 100_000)
    device: str = choice("auto", "cpu", "cuda")
