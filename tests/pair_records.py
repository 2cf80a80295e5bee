"""Records of pairs that nothing rendered, for the tests of what writes and reads them."""

from nerp.data.records import PairRecord

CAMERA = {
    "source": [[0.0, -1600.0, 0.0]],
    "detector_centre": [[0.0, 200.0, 0.0]],
    "image_right": [[-1.0, 0.0, 0.0]],
    "image_down": [[0.0, 0.0, -1.0]],
    "shape": [32, 24],
    "pixel_mm": [[12.0, 10.0]],
    "isocentre": [[0.0, 0.0, 0.0]],
}


def pair_record(name: str, **changes) -> PairRecord:
    """The record of pair `name`, such as `a0`: the CT's letter and the view's number."""
    values = {
        "file_name": f"images/{name}.png",
        "mask_file_name": f"masks/{name}.png",
        "id": name,
        "ct_sha256": name[:1] * 64,
        "labels_sha256": "f" * 64,
        "seed": 0,
        "view_index": int(name[-1]),
        "mode": "drr",
        "view": "pa",
        "mask_labels": [10, 11],
        "rule": {"name": "thickness", "thickness_mm": 20.0},
        "obscuring_labels": [],
        "camera": CAMERA,
        "display": {"name": "percentile", "low": 0.005, "high": 0.995},
        "ct_shape": [8, 8, 8],
        "ct_spacing_mm": [2.0, 2.0, 2.0],
        "weights_sha256": None,
        "config_sha256": None,
        "nerp": "0.1.0",
        "torch": "2.4.0",
        "device": "cpu",
        "threads": 1,
        "processor": "AVX2",
        "backend": "reference",
        "image_sha256": "1",
        "mask_sha256": "2",
        "mask_fraction": 0.25,
        "mask_outside_fraction": 0.02,
    }
    return PairRecord(**{**values, **changes})
