"""Objects put onto a CT's patient: those asked for by kind, or a random set."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import torch

from nerp.anatomy import Landmarks, find_landmarks, map_body
from nerp.camera import Camera
from nerp.errors import UsageError
from nerp.physics.objects.drawing import Draw
from nerp.physics.objects.kinds import KINDS
from nerp.physics.objects.placed import PlacedObject
from nerp.physics.objects.projecting import check_seen, object_masks, project_objects
from nerp.volume import Volume

SETTINGS: dict[str, dict[str, float]] = {
    "bedside": {
        "electrodes": 0.85,
        "endotracheal_tube": 0.45,
        "gastric_tube": 0.5,
        "central_line": 0.55,
        "chest_tube": 0.2,
        "sternal_wires": 0.15,
        "pacemaker": 0.1,
        "port": 0.06,
        "surgical_clips": 0.08,
    },
    "standing": {
        "sternal_wires": 0.15,
        "pacemaker": 0.15,
        "port": 0.15,
        "surgical_clips": 0.1,
        "buttons": 0.15,
        "zip_fastener": 0.1,
        "necklace": 0.15,
        "electrodes": 0.1,
        "central_line": 0.05,
    },
}
"""How often each kind is met: at the bedside of an intensive care unit, and where a patient stands for the film."""
TRIES = 8
"""Draws of one kind before it is left out because the camera does not see it."""


def landmarks(ct: Volume) -> Landmarks:
    """Where objects can lie on the patient of a CT `(C, D, H, W)` in HU or 1/mm.

    Raises:
        VolumeError: another unit, or no tissue.
    """
    return find_landmarks(map_body(ct))


def place_objects(
    ct: Volume | Landmarks, kinds: str | Iterable[str], generator: torch.Generator, *, camera: Camera | None = None
) -> tuple[PlacedObject, ...]:
    """Objects of stated kinds, placed at random within what is usual for them.

    Args:
        ct:        `(C, D, H, W)` in HU or 1/mm, or its `landmarks`.
        kinds:     names of `KINDS`; one that is named twice is placed twice.
        generator: decides the places: the same state gives the same objects.
        camera:    has to see each of them, where given; what it does not see is drawn again, up to `TRIES` times.

    Raises:
        UsageError: an unknown kind, or an object outside the field.
    """
    names = [kinds] if isinstance(kinds, str) else list(kinds)
    for name in names:
        if name not in KINDS:
            raise UsageError(f"unknown kind of object {name!r}; expected some of {', '.join(KINDS)}")
    marks = ct if isinstance(ct, Landmarks) else landmarks(ct)
    draw = Draw(generator)
    found = _named([one for name in names for one in _drawn(name, marks, draw, camera)])
    if camera is not None and found:
        check_seen(found, project_objects(found, camera))
    return found


def random_objects(
    ct: Volume | Landmarks,
    generator: torch.Generator,
    *,
    camera: Camera | None = None,
    setting: str = "bedside",
    at_least: int = 1,
) -> tuple[PlacedObject, ...]:
    """A random set of objects: each kind as often as it is met.

    Args:
        ct:        `(C, D, H, W)` in HU or 1/mm, or its `landmarks`.
        generator: decides all: the same state gives the same objects.
        camera:    where given, a kind of which a part is not seen is drawn again, up to `TRIES` times, then left out.
        setting:   `bedside` or `standing`.
        at_least:  so many kinds, 0 or more.

    Raises:
        UsageError: an unknown setting.
    """
    if setting not in SETTINGS:
        raise UsageError(f"unknown setting {setting!r}; expected one of {', '.join(SETTINGS)}")
    marks = ct if isinstance(ct, Landmarks) else landmarks(ct)
    draw = Draw(generator)
    found: list[PlacedObject] = []
    for name in _kinds(SETTINGS[setting], draw, at_least):
        one_kind = _drawn(name, marks, draw, camera)
        found += one_kind if camera is None or _all_seen(one_kind, camera) else ()
    return _named(found)


def _kinds(frequencies: dict[str, float], draw: Draw, at_least: int) -> list[str]:
    """Kinds in the order of the table."""
    chosen = {name for name, often in frequencies.items() if draw.chance(often)}
    names = list(frequencies)
    while len(chosen) < min(at_least, len(names)):
        chosen.add(names[draw.whole(0, len(names) - 1)])
    return [name for name in names if name in chosen]


def _drawn(name: str, marks: Landmarks, draw: Draw, camera: Camera | None) -> tuple[PlacedObject, ...]:
    """One kind, drawn until the camera sees all of its objects, or the tries are used up."""
    found = KINDS[name](marks, draw)
    for _ in range(TRIES - 1):
        if camera is None or _all_seen(found, camera):
            break
        found = KINDS[name](marks, draw)
    return found


def _all_seen(objects: Sequence[PlacedObject], camera: Camera) -> bool:
    return bool(object_masks(project_objects(objects, camera)).flatten(2).any(dim=2).all())


def _named(objects: Sequence[PlacedObject]) -> tuple[PlacedObject, ...]:
    """The objects, the second of one name called `name (2)`."""
    counts: dict[str, int] = {}
    found = []
    for one in objects:
        counts[one.name] = counts.get(one.name, 0) + 1
        found.append(one if counts[one.name] == 1 else replace(one, name=f"{one.name} ({counts[one.name]})"))
    return tuple(found)
