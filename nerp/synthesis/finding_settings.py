"""Whether a set's records tell which findings its films show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from nerp.label_names import select_labels, superclass_labels
from nerp.projection.detectability import ROSE
from nerp.settings import Settings, number


@dataclass(frozen=True)
class FindingSettings(Settings):
    """What records tell of labelled findings; nothing by default.

    Args:
        visibility: tell of each finding whether the film shows it; a film is rendered without each of them.
        labels:     of the findings, by value or name, such as `nodule,effusion`; none takes the superclass `findings`.
        threshold:  visibility from which a finding counts as visible: see `nerp.projection.detectability`.
    """

    SECTION: ClassVar[str] = "findings"

    visibility: bool = False
    labels: Any = None
    threshold: float = number(ROSE, 0, 1000)

    def chosen(self, names: Mapping[int, str]) -> tuple[int, ...]:
        """The label values of the findings.

        Args:
            names: of the label values.

        Raises:
            UsageError: a label that is no value and fits no name.
        """
        if self.labels is None:
            return superclass_labels(names, "findings")
        listed = self.labels if isinstance(self.labels, list | tuple) else (self.labels,)
        return select_labels(",".join(map(str, listed)), names)
