"""Labels of CTs: files and folders of many kinds, as maps on a CT's grid with their names, and checked against it."""

from nerp.label_maps.checks import check_labels_on_ct
from nerp.label_maps.folder import is_structure_folder, label_files
from nerp.label_maps.reading import LabelMap, check_label_map, read_label_map, read_labels
from nerp.label_maps.references import check_references
from nerp.label_maps.values import label_counts, present_labels, where_labelled

__all__ = [
    "LabelMap",
    "check_label_map",
    "check_labels_on_ct",
    "check_references",
    "is_structure_folder",
    "label_counts",
    "label_files",
    "present_labels",
    "read_label_map",
    "read_labels",
    "where_labelled",
]
