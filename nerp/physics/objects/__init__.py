"""What lies on and in a patient: analytic shapes of stated material, sharp whatever the CT's voxels."""

from nerp.physics.objects.kinds import KINDS
from nerp.physics.objects.placed import Part, PlacedObject
from nerp.physics.objects.placing import SETTINGS, landmarks, place_objects, random_objects
from nerp.physics.objects.projecting import (
    ObjectImages,
    check_seen,
    object_masks,
    project_object_materials,
    project_objects,
)
from nerp.physics.objects.shapes import Curve, Disc, Plate

__all__ = [
    "KINDS",
    "SETTINGS",
    "Curve",
    "Disc",
    "ObjectImages",
    "Part",
    "PlacedObject",
    "Plate",
    "check_seen",
    "landmarks",
    "object_masks",
    "place_objects",
    "project_object_materials",
    "project_objects",
    "random_objects",
]
