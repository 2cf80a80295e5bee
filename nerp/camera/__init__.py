"""Perspective cameras: where rays start and end, chest presets, and random views around them."""

from nerp.camera.distribution import CameraDistribution, ViewSettings
from nerp.camera.perspective import Camera
from nerp.camera.pose import ViewAngles, view_angles, view_names
from nerp.camera.variation import vary
from nerp.camera.views import VIEWS, chest_camera

__all__ = [
    "VIEWS",
    "Camera",
    "CameraDistribution",
    "ViewAngles",
    "ViewSettings",
    "chest_camera",
    "vary",
    "view_angles",
    "view_names",
]
