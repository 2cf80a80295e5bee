"""The public sets that nerp knows: where each comes from, how it lies on disk, and how its pairs are found.

The layouts are those of the publishers' documentation and of public code that reads the sets; none
was checked here against a full download.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from nerp.dicom import holds_series

MaskedImage = tuple[Path, tuple[Path, ...]]
"""An image (a file, or a DICOM series folder) and its masks: none, one, or parts to be united."""


@dataclass(frozen=True)
class PublicSet:
    """One published set.

    Args:
        name:     as it is cited.
        kind:     `ct` or `radiograph`.
        what:     its content in a line.
        page:     where its owners hand it out.
        licence:  terms of use, in short.
        citation: the paper to cite.
        folders:  names its folder may have, the publisher's first.
        layout:   where its files lie inside, as published.
        expected: images in the whole set.
        masked:   how many of them have masks.
        find:     lists its pairs, given its folder.
    """

    name: str
    kind: str
    what: str
    page: str
    licence: str
    citation: str
    folders: tuple[str, ...]
    layout: str
    expected: int
    masked: int
    find: Callable[[Path], list[MaskedImage]]


def _series_of_patients(pattern: str) -> Callable[[Path], list[MaskedImage]]:
    """Finder for the Cancer Imaging Archive's layout: every CT series folder of every patient."""

    def find(folder: Path) -> list[MaskedImage]:
        patients = [path for path in sorted(folder.glob(pattern)) if path.is_dir()]
        inner = [path for patient in patients for path in sorted(patient.rglob("*")) if path.is_dir()]
        found: list[MaskedImage] = [(path, ()) for path in inner if holds_series(path)]
        return found

    return find


def _present(*candidates: Path) -> tuple[Path, ...]:
    """The first candidate that exists, as masks."""
    return next(((path,) for path in candidates if path.is_file()), ())


def _mosmed(folder: Path) -> list[MaskedImage]:
    pairs = []
    for study in sorted(folder.glob("studies/CT-[0-4]/study_*.nii*")):
        number = study.name.split(".")[0]
        endings = (".nii.gz", ".nii")
        pairs.append((study, _present(*(folder / "masks" / f"{number}_mask{ending}" for ending in endings))))
    return pairs


def _shenzhen(folder: Path) -> list[MaskedImage]:
    homes = [folder / name for name in ("mask", "mask/mask", "masks", "ManualMask")]
    pairs = []
    for image in sorted(folder.glob("CXR_png/CHNCXR_*.png")):
        names = (f"{image.stem}_mask.png", image.name)
        pairs.append((image, _present(*(home / name for home in homes for name in names))))
    return pairs


def _montgomery(folder: Path) -> list[MaskedImage]:
    pairs = []
    for image in sorted(folder.glob("CXR_png/MCUCXR_*.png")):
        halves = tuple(folder / "ManualMask" / side / image.name for side in ("leftMask", "rightMask"))
        pairs.append((image, halves if all(half.is_file() for half in halves) else ()))
    return pairs


def _jsrt(folder: Path) -> list[MaskedImage]:
    lungs: dict[str, dict[str, Path]] = {}
    for side in ("left lung", "right lung"):
        for mask in sorted(folder.rglob(f"masks/{side}/*.gif")):
            lungs.setdefault(mask.stem, {})[side] = mask
    pairs = []
    for image in sorted(path for path in folder.rglob("JPC*") if path.suffix.lower() == ".img"):
        halves = lungs.get(image.stem, {})
        pairs.append((image, tuple(halves.values()) if len(halves) == 2 else ()))
    return pairs


def _ct_rate(folder: Path) -> list[MaskedImage]:
    pairs: list[MaskedImage] = []
    for split in ("train", "valid"):
        homes = [folder / "dataset" / f"{split}_fixed", folder / "dataset" / split]
        home = next((home for home in homes if home.is_dir()), homes[0])
        pairs += [(path, ()) for path in sorted(home.glob(f"{split}_*/{split}_*/{split}_*.nii.gz"))]
    return pairs


_ALL = (
    PublicSet(
        name="NSCLC-Radiogenomics",
        kind="ct",
        what="CTs of 211 lung-cancer patients; 402 volumes in the method's paper; tumours segmented, lungs not",
        page="https://www.cancerimagingarchive.net/collection/nsclc-radiogenomics/",
        licence="CC BY 3.0",
        citation="Bakr 2018, Scientific Data 5:180202",
        folders=("NSCLC Radiogenomics", "NSCLC-Radiogenomics"),
        layout="<R01-*|AMC-*>/<study>/<series>/*.dcm",
        expected=402,
        masked=0,
        find=_series_of_patients("[RA]*-*"),
    ),
    PublicSet(
        name="MosMed",
        kind="ct",
        what="CTs in and without COVID-19; 50 have masks of consolidation and ground glass, not of lungs",
        page="https://mosmed.ai/en/datasets/covid191110",
        licence="CC BY-NC-ND 3.0",
        citation="Morozov 2020, arXiv:2005.06465",
        folders=("COVID19_1110", "MosMed"),
        layout="studies/CT-<0-4>/study_<number>.nii.gz, masks/study_<number>_mask.nii.gz",
        expected=1110,
        masked=50,
        find=_mosmed,
    ),
    PublicSet(
        name="Shenzhen",
        kind="radiograph",
        what="PA radiographs, tuberculosis and normal (the paper's ChinaSet: its 566 with lung masks)",
        page="https://data.lhncbc.nlm.nih.gov/public/Tuberculosis-Chest-X-ray-Datasets/"
        "Shenzhen-Hospital-CXR-Set/index.html (masks: https://www.kaggle.com/datasets/yoctoman/shcxr-lung-mask)",
        licence="free with citation; masks CC BY-NC-SA 4.0",
        citation="Jaeger 2014, Quant Imaging Med Surg 4(6):475; masks Stirenko 2018, arXiv:1803.01199",
        folders=("ChinaSet_AllFiles", "Shenzhen", "Shenzhen-Hospital-CXR-Set"),
        layout="CXR_png/CHNCXR_*.png, mask/CHNCXR_*_mask.png",
        expected=662,
        masked=566,
        find=_shenzhen,
    ),
    PublicSet(
        name="Montgomery",
        kind="radiograph",
        what="PA radiographs, tuberculosis and normal, with a left and a right lung mask each",
        page="https://data.lhncbc.nlm.nih.gov/public/Tuberculosis-Chest-X-ray-Datasets/"
        "Montgomery-County-CXR-Set/MontgomerySet/index.html",
        licence="free with citation",
        citation="Jaeger 2014, Quant Imaging Med Surg 4(6):475",
        folders=("MontgomerySet", "Montgomery"),
        layout="CXR_png/MCUCXR_*.png, ManualMask/<leftMask|rightMask>/MCUCXR_*.png",
        expected=138,
        masked=138,
        find=_montgomery,
    ),
    PublicSet(
        name="JSRT",
        kind="radiograph",
        what="PA radiographs with and without nodules, raw 12 bit; lung masks from the SCR database",
        page="http://db.jsrt.or.jp/eng.php (masks: https://zenodo.org/records/7056076)",
        licence="research use, both by their owners' terms",
        citation="Shiraishi 2000, AJR 174:71; masks van Ginneken 2006, Med Image Anal 10:19",
        folders=("JSRT",),
        layout="All247images/JPC*.IMG, scratch/fold<1|2>/masks/<left lung|right lung>/JPC*.gif",
        expected=247,
        masked=247,
        find=_jsrt,
    ),
    PublicSet(
        name="CT-RATE",
        kind="ct",
        what="non-contrast chest CTs with reports and 18 predicted findings; the *_fixed folders hold HU",
        page="https://huggingface.co/datasets/ibrahimhamamci/CT-RATE",
        licence="CC BY-NC-SA 4.0",
        citation="Hamamci 2024, arXiv:2403.17834",
        folders=("CT-RATE",),
        layout="dataset/<train_fixed|valid_fixed>/<split>_<n>/<split>_<n>_<scan>/<split>_<n>_<scan>_<k>.nii.gz",
        expected=50188,
        masked=0,
        find=_ct_rate,
    ),
    PublicSet(
        name="LIDC-IDRI",
        kind="ct",
        what="screening and diagnostic CTs of 1010 patients, nodules marked in XML",
        page="https://www.cancerimagingarchive.net/collection/lidc-idri/",
        licence="CC BY 3.0",
        citation="Armato 2011, Medical Physics 38:915",
        folders=("LIDC-IDRI",),
        layout="LIDC-IDRI-<number>/<study>/<series>/*.dcm",
        expected=1018,
        masked=0,
        find=_series_of_patients("LIDC-IDRI-*"),
    ),
)

PUBLIC_SETS: dict[str, PublicSet] = {known.name: known for known in _ALL}
"""Every set by its name, in the order of the listing."""
