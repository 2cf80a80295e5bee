"""What experiments are told."""

from __future__ import annotations

from dataclasses import dataclass

from nerp.settings import Settings, choice, number, section
from nerp.training.classification.settings import ClassifierSettings
from nerp.training.settings import ArmSettings, SegmenterConfig
from nerp.training.unlabelled_settings import UnlabelledSettings


@dataclass(frozen=True)
class SegmentationConfig(SegmenterConfig):
    """A segmenter, trained here or before, scored on images and masks that it has not seen.

    Args:
        train:     folder of pairs to learn from, or a public set; none where `weights` are given.
        mask_name: which of their masks, where they have several; or several of them, with commas between.
        skip_bad:  go on without the files that cannot be read, and list them.
        out:       folder of the run, of scores.json and of predictions/; none: nothing is written.
        seed:      of the training, and of the intervals' draws.
        device:    `auto` takes a GPU where there is one.
        precision: of the network while it learns.
        segmenter: the network and its pace.
        unlabelled: radiographs without masks, none of them tested, and how it learns from them.
        test:      folder with images/ and masks/, matched by file name, or a public set, such as `montgomery:FOLDER`.
        weights:   a segmenter.safetensors of an earlier run; then nothing is trained.
        masks_pattern: how a test's mask is called, such as `{name}_lung.png`.
        spacing_mm: between rows and columns of the test's masks, for distances in mm; none: what files state.
        patients: CSV of files and whom they are of, `file,patient_id`; none: what records and names of known sets tell.
        clean:    of lungs, keep the one or two largest parts of what the network outlines, closed and filled.
    """

    test: str | None = None
    weights: str | None = None
    masks_pattern: str | None = None
    spacing_mm: tuple[float, float] | None = number(None, 1e-4, 1e3, length=2)
    patients: str | None = None
    clean: bool = True


@dataclass(frozen=True)
class ArmsConfig(Settings):
    """One segmenter on real, on synthetic and on both kinds of pairs, each arm with as many steps and several seeds.

    Args:
        real:      folder of real images and masks, or a public set.
        synthetic: folder of synthetic pairs.
        test:      folder of real images and masks of other patients, or a public set.
        arms:      names, with commas between: `real`, `synthetic`, `mixed` (half of each batch), `fine-tune` (half of
            the steps on synthetic, then half on real pairs); `self-trained` (synthetic pairs, then rounds with
            radiographs without masks) only where it is named.
        seeds:     how many trainings of each arm.
        seed:      the first of them, and that of the intervals' draws.
        mask_name: which of the masks, where there are several; or several of them, with commas between.
        masks_pattern: how a test's mask is called, such as `{name}_lung.png`.
        spacing_mm: between rows and columns of the test's masks; none: what files state.
        patients:  CSV of files and whom they are of, `file,patient_id`; none: what records and names tell.
        clean:     as in `SegmentationConfig`.
        skip_bad:  go on without the files that cannot be read, and list them.
        out:       folder that keeps a run of each arm and seed, and continues them; none: nothing is written.
        device:    `auto` takes a GPU where there is one.
        precision: of the networks while they learn.
        segmenter: the network and its steps.
        unlabelled: radiographs without masks, none of them tested, for the arm `self-trained`.
    """

    real: str | None = None
    synthetic: str | None = None
    test: str | None = None
    arms: str = "real,synthetic,mixed,fine-tune"
    seeds: int = number(3, 1, 1000)
    seed: int = number(0, 0, 2**32 - 1)
    mask_name: str | None = None
    masks_pattern: str | None = None
    spacing_mm: tuple[float, float] | None = number(None, 1e-4, 1e3, length=2)
    patients: str | None = None
    clean: bool = True
    skip_bad: bool = False
    out: str | None = None
    device: str = choice("auto", "cpu", "cuda")
    precision: str = choice("32-true", "bf16-mixed")
    segmenter: ArmSettings = section(ArmSettings)
    unlabelled: UnlabelledSettings = section(UnlabelledSettings)


@dataclass(frozen=True)
class ClassificationConfig(Settings):
    """One classifier on real, on synthetic and on both kinds of images, scored finding by finding.

    Args:
        real:       folder of real images with findings.
        synthetic:  folder of synthetic images with findings.
        test:       folder of images of other patients; none where `folds` are given.
        folds:      cross-validation of the real images, or of the synthetic ones where there are no real ones.
        arms:       names, with commas between, as in `ArmsConfig`; none: all that the folders allow.
        findings:   names, with commas between; none: all that every folder tells.
        labels:     CSV files of findings, with commas between; none: those in the folders.
        empty:      what an empty cell of a table says: not known, or that the finding is not there.
        ct:         folder of the CTs that a table lists, where images were rendered from them.
        least:      positive and negative patients in the test, below which a finding is not scored.
        n_resamples: of the intervals.
        seeds:      how many trainings of each arm.
        seed:       the first of them, and that of the folds and of the intervals' draws.
        patients:   CSV of files and whom they are of, `file,patient_id`; none: what records and names tell.
        skip_bad:   go on without the files that cannot be read, and list them.
        out:        folder that keeps a run of each arm, seed and fold, and continues them; none: nothing is written.
        device:     `auto` takes a GPU where there is one.
        precision:  of the networks while they learn.
        classifier: the network and its steps.
    """

    real: str | None = None
    synthetic: str | None = None
    test: str | None = None
    folds: int | None = number(None, 2, 1000)
    arms: str | None = None
    findings: str | None = None
    labels: str | None = None
    empty: str = choice("unknown", "negative")
    ct: str | None = None
    least: int = number(5, 1, 10**6)
    n_resamples: int = number(1000, 10, 10**6)
    seeds: int = number(3, 1, 1000)
    seed: int = number(0, 0, 2**32 - 1)
    patients: str | None = None
    skip_bad: bool = False
    out: str | None = None
    device: str = choice("auto", "cpu", "cuda")
    precision: str = choice("32-true", "bf16-mixed")
    classifier: ClassifierSettings = section(ClassifierSettings)
