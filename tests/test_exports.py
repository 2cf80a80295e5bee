"""The public names are pinned, and reaching for them costs nothing before they are used."""

import subprocess
import sys

import nerp

PUBLIC = (
    "Beam Camera CameraDistribution Detector Discriminator Fields Mapper Synthesiser Viewer Volume attenuation "
    "chest_camera march project_labels read_label_map read_labels read_volume siddon simulate write_volume"
)


def test_public_names_are_pinned():
    assert sorted(nerp.__all__) == PUBLIC.split()


def test_every_public_name_exists_and_is_documented():
    for name in nerp.__all__:
        assert getattr(nerp, name).__doc__, f"{name} has no docstring"


def test_import_is_light():
    code = "import sys, nerp; print([m for m in ('torch', 'numpy', 'monai', 'omegaconf') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found.strip() == "[]"


def test_unknown_name_is_an_attribute_error():
    assert not hasattr(nerp, "no_such_name")
