"""Where body, lungs and airways of a CT lie; what is not the body; what the CT cuts."""

from nerp.anatomy.airway import follow_windpipe, windpipe_voxels
from nerp.anatomy.body import BodyMap, axial_axes, map_body
from nerp.anatomy.cage import rib_cage
from nerp.anatomy.cuts import Cuts, find_cuts
from nerp.anatomy.finding import Anatomy, Tissue, find_anatomy
from nerp.anatomy.landmarks import Landmarks, find_landmarks
from nerp.anatomy.lung_field import closed_lungs
from nerp.anatomy.table import body_voxels, without_table

__all__ = [
    "Anatomy",
    "BodyMap",
    "Cuts",
    "Landmarks",
    "Tissue",
    "axial_axes",
    "body_voxels",
    "closed_lungs",
    "find_anatomy",
    "find_cuts",
    "find_landmarks",
    "follow_windpipe",
    "map_body",
    "rib_cage",
    "windpipe_voxels",
    "without_table",
]
