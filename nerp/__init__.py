"""nerp: CT in, labelled chest radiographs out.

Conventions, everywhere in this package:

* **World**: patient RAS+ in millimetres (+x right, +y anterior, +z superior).
* **Volume**: `values (C, D, H, W)` and `affine (4, 4)` from voxel index `(d, h, w)` to world mm.
  Voxel centres sit at integer indices; the volume ends half a voxel outside them.
  `unit` is one of `hu`, `1/mm`, `label`. No reader loses orientation: it lives in the affine.
* **Fields**: matter and opacity, each `(B, D, H, W)`; matter in 0..1, opacity in 1/mm.
* **Camera**: a batch of point sources and flat detectors, vectors `(B, 3)` in mm; `image_right` and
  `image_down` are unit vectors, `pixel_mm (B, 2)` is each view's own, between rows and between columns.
* **Camera batch**: a multiple of the field batch; the views of field `b` are contiguous.
* **Image**: `(B, 1, H, W)` float32; row 0 is cranial, column 0 the patient's right for PA and
  AP alike. Bone bright, air dark. No renderer normalises; display scaling is a separate step.
* **Units** stand in names: `_mm, _rad, _hu, _per_mm, _kev`; `_deg` only in configs and commands.
  *shape* counts, *size* is mm.
* **Randomness** comes from explicit generators; every pair's record renders it again, and
  states the schema that it was written by.
"""

from importlib import import_module

__version__ = "0.1.0"

_HOMES = {
    "Volume": "nerp.volume",
    "Fields": "nerp.volume",
    "read_volume": "nerp.volume",
    "read_label_map": "nerp.label_maps",
    "read_labels": "nerp.label_maps",
    "write_volume": "nerp.volume",
    "attenuation": "nerp.volume",
    "Camera": "nerp.camera",
    "chest_camera": "nerp.camera",
    "CameraDistribution": "nerp.camera",
    "siddon": "nerp.projection",
    "march": "nerp.projection",
    "project_labels": "nerp.projection",
    "Beam": "nerp.physics.beam",
    "Detector": "nerp.physics.detector",
    "simulate": "nerp.physics.simulate",
    "Mapper": "nerp.networks",
    "Viewer": "nerp.networks",
    "Discriminator": "nerp.networks",
    "Synthesiser": "nerp.synthesis",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module 'nerp' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
