"""What a run folder holds: every name inside it stands here and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nerp.files import sha256


@dataclass(frozen=True)
class RunFolder:
    """The files of a training run.

    Args:
        path: RUN, the run's own folder.
    """

    path: Path

    @property
    def config(self) -> Path:
        """The settings, whole."""
        return self.path / "config.yaml"

    @property
    def generator(self) -> Path:
        """The averaged mapper's weights, of the last checkpoint."""
        return self.path / "generator.safetensors"

    @property
    def selected(self) -> Path:
        """The averaged mapper's weights that were the best of the run, where one is chosen."""
        return self.path / "selected.safetensors"

    @property
    def best(self) -> Path:
        """The weights that render: the chosen ones, else the last."""
        return self.selected if self.selected.is_file() else self.generator

    @property
    def segmenter(self) -> Path:
        """A segmenter's weights."""
        return self.path / "segmenter.safetensors"

    @property
    def classifier(self) -> Path:
        """A classifier's weights."""
        return self.path / "classifier.safetensors"

    @property
    def probabilities(self) -> Path:
        """What a classifier says of each tested image."""
        return self.path / "predictions.csv"

    @property
    def unlabelled(self) -> Path:
        """Which radiographs without masks each round learned from."""
        return self.path / "unlabelled.json"

    @property
    def metrics(self) -> Path:
        """One line of JSON for each logged step."""
        return self.path / "metrics.jsonl"

    @property
    def events(self) -> Path:
        """TensorBoard's folder."""
        return self.path / "tensorboard"

    @property
    def samples(self) -> Path:
        """Folder of pictures."""
        return self.path / "samples"

    @property
    def checkpoints(self) -> Path:
        """Folder of the last checkpoints."""
        return self.path / "checkpoints"

    @property
    def skipped(self) -> Path:
        """Which files could not be used, and why."""
        return self.path / "skipped.csv"

    @property
    def data(self) -> Path:
        """Folder of the phantoms that were made where no data was given."""
        return self.path / "data"

    @property
    def cache(self) -> Path:
        """Folder of radiographs that do not fit into memory; may be deleted, they are then read again."""
        return self.path / "cache"

    @property
    def scores(self) -> Path:
        """What an evaluation found."""
        return self.path / "scores.json"

    @property
    def predictions(self) -> Path:
        """Folder of predicted masks."""
        return self.path / "predictions"

    def sample(self, step: int) -> Path:
        """The picture of a step."""
        return self.samples / f"step-{step:08d}.png"


def find_run(weights_sha256: str, among: str | Path = "runs") -> Path | None:
    """The run folder directly in `among` whose generator, that which renders, has this hash, or None.

    Args:
        weights_sha256: as a pair's record names it.
        among:          folder of run folders.
    """
    folders = (RunFolder(path) for path in sorted(Path(among).glob("*")) if path.is_dir())
    there = (run for run in folders if run.best.is_file())
    return next((run.path for run in there if sha256(run.best) == weights_sha256), None)
