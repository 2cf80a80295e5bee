"""Names of label values: their tables, the choice of labels by value or by name, and what the names tell of lungs."""

from nerp.label_names.choice import (
    is_lung,
    is_within_lung,
    lung_labels,
    obscuring_labels,
    select_labels,
    within_lung_labels,
)
from nerp.label_names.superclasses import superclass_labels, superclasses, superclasses_of
from nerp.label_names.tables import read_label_names

__all__ = [
    "is_lung",
    "is_within_lung",
    "lung_labels",
    "obscuring_labels",
    "read_label_names",
    "select_labels",
    "superclass_labels",
    "superclasses",
    "superclasses_of",
    "within_lung_labels",
]
