"""How each kind of object is drawn onto or into a chest."""

from __future__ import annotations

from collections.abc import Callable

from nerp.anatomy import Landmarks
from nerp.physics.objects.drawing import Draw
from nerp.physics.objects.kinds.clothing import buttons, necklace, zip_fastener
from nerp.physics.objects.kinds.electrodes import electrodes
from nerp.physics.objects.kinds.implants import pacemaker, port
from nerp.physics.objects.kinds.surgery import sternal_wires, surgical_clips
from nerp.physics.objects.kinds.tubes import central_line, chest_tube, endotracheal_tube, gastric_tube
from nerp.physics.objects.placed import PlacedObject

KINDS: dict[str, Callable[[Landmarks, Draw], tuple[PlacedObject, ...]]] = {
    "electrodes": electrodes,
    "endotracheal_tube": endotracheal_tube,
    "gastric_tube": gastric_tube,
    "chest_tube": chest_tube,
    "central_line": central_line,
    "port": port,
    "pacemaker": pacemaker,
    "sternal_wires": sternal_wires,
    "surgical_clips": surgical_clips,
    "buttons": buttons,
    "zip_fastener": zip_fastener,
    "necklace": necklace,
}
"""What can be asked for by name; some kinds are several objects, such as an electrode and its lead."""

__all__ = ["KINDS"]
