"""Folders of one binary file a structure, as TotalSegmentator writes them, and the label files of a tree."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from nerp.errors import VolumeError
from nerp.formats import ITK, NIFTI, checked_shape, extension, read_grid
from nerp.label_maps.dicom_kind import dicom_kind
from nerp.label_maps.nifti import nifti_header
from nerp.label_maps.nrrd import itk_reader
from nerp.label_maps.stored import StoredMaps, Structure, pack
from nerp.volume import check_label_values

FOLDER_NAMES = ("segmentations", "segmentation", "segmentations_total", "masks_by_structure")
"""Names of folders that hold one file a structure."""
STRUCTURE_WORDS = frozenset(
    [
        "lung",
        "lungs",
        "lobe",
        "heart",
        "atrium",
        "ventricle",
        "aorta",
        "trachea",
        "esophagus",
        "oesophagus",
        "liver",
        "spleen",
        "kidney",
        "stomach",
        "pancreas",
        "gallbladder",
        "duodenum",
        "colon",
        "bowel",
        "bladder",
        "prostate",
        "adrenal",
        "thyroid",
        "brain",
        "skull",
        "sternum",
        "rib",
        "ribs",
        "clavicula",
        "clavicle",
        "scapula",
        "humerus",
        "femur",
        "hip",
        "sacrum",
        "vertebra",
        "vertebrae",
        "vena",
        "cava",
        "vein",
        "artery",
        "myocardium",
        "gluteus",
        "autochthon",
        "iliopsoas",
        "thymus",
        "mediastinum",
        "pleura",
        "pleural",
        "diaphragm",
        "bronchia",
        "bronchi",
        "cartilages",
    ]
)
"""Words of which a structure's name holds one."""
TOLERANCE = 1e-3
"""Affines of files on one grid differ by rounding alone, mm."""


def volume_files(folder: Path) -> list[Path]:
    """The volumes directly in a folder, in order of their names; hidden files and others are passed over."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    return [path for path in files if extension(path) in (*NIFTI, *ITK)]


def structure_name(path: Path) -> str:
    """What a file of a structure is called: its name without the ending."""
    name = path.name[: len(path.name) - len(extension(path))]
    return re.sub(r"\.seg$", "", name, flags=re.IGNORECASE)


def is_structure_folder(folder: Path) -> bool:
    """Whether a folder holds one file a structure: by its own name, or by those of most of its volumes."""
    if not folder.is_dir():
        return False
    files = volume_files(folder)
    if files and folder.name.lower() in FOLDER_NAMES:
        return True
    named = [path for path in files if STRUCTURE_WORDS & set(re.findall(r"[a-z]+", structure_name(path).lower()))]
    others = [path for path in files if path not in named]
    return len(named) > max(1, len(others)) and all(_is_structures_own(path) for path in named)


def _is_structures_own(path: Path) -> bool:
    """Not a case's file such as `case_001_lung.nii.gz`: vertebrae and ribs have fewer digits."""
    return not re.search(r"\d{3}", structure_name(path))


def label_files(folder: Path) -> list[Path]:
    """The label maps at or below a folder: files, DICOM SEG and RTSTRUCT, folders of one file a structure."""
    return sorted(_label_files(folder))


def _label_files(folder: Path) -> Iterator[Path]:
    if is_structure_folder(folder):
        yield folder
        return
    yield from volume_files(folder)
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            yield from _label_files(path)
        elif extension(path) not in (*NIFTI, *ITK) and dicom_kind(path) in ("SEG", "RTSTRUCT"):
            yield path


def structure_files(folder: Path) -> list[Path]:
    """The structures' files of a folder; of its `segmentations`, where that is all it has.

    Raises:
        VolumeError: a folder without any.
    """
    files = volume_files(folder)
    below = [path for path in sorted(folder.iterdir()) if path.is_dir() and path.name.lower() in FOLDER_NAMES]
    if not files and len(below) == 1:
        return structure_files(below[0])
    if not files:
        expected = "one binary file a structure, or one DICOM SEG or RTSTRUCT"
        raise VolumeError(f"{folder}: holds no labels; expected {expected}")
    return files


def read_structures(folder: Path, files: list[Path], *, max_voxels: int) -> StoredMaps:
    """One label for each file, numbered from 1 in the order of their names; voxels that overlap lie in several maps.

    Args:
        folder:     as messages name it.
        files:      in order, each of one structure: 0 and one other value.
        max_voxels: more are refused before their data is touched.

    Raises:
        VolumeError: files of different grids, two of one name, or a file that is not binary.
    """
    names = [structure_name(path) for path in files]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise VolumeError(f"{folder}: holds two files of the structure {twice!r}; keep one of them")
    first, affine = read_grid(files[0], max_voxels=max_voxels)
    maps = pack(folder, _masks(files, first.shape, affine, max_voxels), first.shape, max_voxels=max_voxels)
    return StoredMaps(maps, affine, dict(enumerate(names, start=1)))


def _masks(files: list[Path], shape: tuple[int, ...], affine: np.ndarray, max_voxels: int) -> Iterator[Structure]:
    for value, path in enumerate(files, start=1):
        values, own = read_grid(path, max_voxels=max_voxels)
        if values.shape != shape or not np.allclose(own, affine, atol=TOLERANCE):
            raise VolumeError(f"{path}: lies on another grid than {files[0].name} beside it; expected one grid for all")
        check_label_values(path, values, may_be_empty=True)
        most = values.max()
        mask = values == most if most else np.zeros(shape, bool)
        if np.count_nonzero(values) != np.count_nonzero(mask):
            raise VolumeError(
                f"{path}: holds several labels; expected 0 and 1 in a structure's file: give it by itself"
            )
        yield value, mask


def holds_several(path: Path, *, max_voxels: int) -> bool:
    """Whether a file has several layers, several labels, or names of labels: it is then a whole label map.

    Args:
        path:       of the file.
        max_voxels: a header that promises more is refused.
    """
    if extension(path) in NIFTI:
        shape, names = nifti_header(path)
        is_layered = len(shape) > 3 and set(shape[3:]) != {1}
    else:
        header = itk_reader(path)
        names = {key: "" for key in header.GetMetaDataKeys() if key.startswith("Segment0_")}
        is_layered = header.GetNumberOfComponents() > 1
    if names or is_layered:
        return True
    values, _ = read_grid(path, max_voxels=max_voxels)
    return len(np.unique(values)) > 2


def check_structures(files: list[Path], *, max_voxels: int) -> None:
    """Refuse files of different shapes by their headers alone.

    Args:
        files:      of one folder.
        max_voxels: more are refused.

    Raises:
        VolumeError: another shape than the first file's, too large, or not readable.
    """
    shapes = [checked_shape(path, shape_of(path), max_voxels=max_voxels) for path in files]
    for path, shape in zip(files, shapes, strict=True):
        if shape != shapes[0]:
            raise VolumeError(f"{path}: lies on another grid than {files[0].name} beside it; expected one grid for all")


def shape_of(path: Path) -> tuple[int, ...]:
    """Counts along all axes of a NIfTI, NRRD or MetaImage file, by its header alone."""
    return nifti_header(path)[0] if extension(path) in NIFTI else tuple(itk_reader(path).GetSize())
