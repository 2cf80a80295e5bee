"""What `nerp report` is told."""

from __future__ import annotations

from dataclasses import dataclass

from nerp.settings import Settings, choice, number


@dataclass(frozen=True)
class ReportConfig(Settings):
    """What a page is about, and how much of it is shown.

    Args:
        folders: of runs, pairs, images or results; several are compared.
        out:     the HTML file; none: report.html in the one folder.
        pairs:   how many pairs the gallery shows.
        worst:   how many of the worst examples of each result are shown.
        images:  folders of further images that results name, such as the real ones that were compared with.
        ct:      where the CTs of pairs lie: then some views are rendered again in every mode.
        labels:  likewise their labels.
        run:     folder of a trained run, for learned radiographs of the same views.
        views:   how many views are rendered again.
        device:  that renders them; `auto` takes a GPU where there is one.
    """

    folders: tuple[str, ...] = ()
    out: str | None = None
    pairs: int = number(20, 1, 100_000)
    worst: int = number(8, 0, 1000)
    images: tuple[str, ...] = ()
    ct: str | None = None
    labels: str | None = None
    run: str | None = None
    views: int = number(2, 1, 100)
    device: str = choice("auto", "cpu", "cuda")

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "folders", tuple(self.folders))
        object.__setattr__(self, "images", tuple(self.images))
