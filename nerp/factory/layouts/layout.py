"""What a layout is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from nerp.data.records import PairRecord
from nerp.factory.planning import PlannedCT
from nerp.factory.settings import FactoryConfig
from nerp.synthesis.synthesiser import Pair


@dataclass(frozen=True)
class Sample:
    """A pair on its way into a set.

    Args:
        volume:   the CT that it is of.
        image:    which of the plan's images it is.
        record:   that renders it again.
        pair:     its pixels and files.
        config:   the plan's settings.
        measures: what the CT's labels measure; empty where that is not wanted.
    """

    volume: PlannedCT
    image: str
    record: PairRecord
    pair: Pair
    config: FactoryConfig
    measures: dict[str, float | str | None] = field(default_factory=dict)

    def row(self) -> dict[str, Any]:
        """What the set keeps of it: `part`, `image`, and the `record` with patient, fold and findings.

        Beside it `source`, `ct` and `shown`: whose CT it is, its file there, and what the set may call it.
        """
        listed, more = self.volume.listed, dict[str, Any]()
        if self.volume.fold is not None:
            more["fold"] = self.volume.fold
        if listed.findings:
            more["findings"] = dict(listed.findings)
        if self.measures:
            more["measures"] = self.measures
        record = {**self.record.to_dict(), "patient_id": listed.patient, **more}
        whose = {"source": listed.source, "ct": listed.name, "shown": listed.shown}
        return {"part": self.volume.part, "image": self.image, **whose, "record": record}

    @property
    def files(self) -> list[tuple[str, bytes]]:
        """The names that its record gives its files, and what they hold."""
        held = (self.pair.image_png, *self.pair.mask_pngs, *self.pair.object_pngs)
        return list(zip(self.record.file_names, held, strict=True))


class Layout(Protocol):
    """A way in which a set lies on disk."""

    def write(self, sample: Sample, folder: Path, shard: int) -> None:
        """Write a pair; the same pairs of a shard come in the same order, whoever makes it.

        Args:
            sample: the pair.
            folder: that becomes the set's, for one shard.
            shard:  its number.

        Raises:
            OSError: the folder cannot be written.
        """

    def finish(self, rows: Sequence[dict[str, Any]], config: FactoryConfig, folder: Path) -> None:
        """Write what is told of the whole set, once all pairs are there; written again, it is the same.

        Args:
            rows:   of all pairs, see `Sample.row`, in the order of the plan.
            config: the plan's settings.
            folder: the set's.

        Raises:
            OSError: the folder cannot be written.
        """
