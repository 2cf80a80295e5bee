"""A set of image folders in the words of Croissant, by which catalogues and loaders find their way in it.

Source: MLCommons Croissant Format Specification 1.0, https://docs.mlcommons.org/croissant/docs/croissant-spec.html.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nerp import __version__
from nerp.data.pairs import RECORDS
from nerp.data.records import FOLDED
from nerp.factory.layouts.columns import PLAIN, Columns
from nerp.factory.settings import FactoryConfig
from nerp.files import sha256
from nerp.synthesis.dataset import CITATION

CROISSANT = "croissant.json"
CONFORMS = "http://mlcommons.org/croissant/1.0"
WHOLE_NUMBERS = ("view_index", "seed", "fold")
TERMS_OF_CROISSANT = (
    *(
        "citeAs",
        "column",
        "equivalentProperty",
        "field",
        "fileObject",
        "fileProperty",
        "fileSet",
        "extract",
        "format",
        "includes",
    ),
    *("isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet", "references", "regex"),
    *("repeated", "replace", "samplingRate", "separator", "source", "subField", "transform"),
)
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "sc": "https://schema.org/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{name: f"cr:{name}" for name in TERMS_OF_CROISSANT},
}
"""The specification's, Appendix 1."""


def croissant(rows: Sequence[dict[str, Any]], columns: Columns, config: FactoryConfig, folder: Path) -> dict[str, Any]:
    """The description: a record set for each folder of pairs, its columns joined with its images.

    Args:
        rows:    of all pairs, see `Sample.row`.
        columns: of their lines.
        config:  the plan's settings.
        folder:  that holds PART/IMAGE/metadata.jsonl, each finished.
    """
    places = sorted({(row["part"], row["image"]) for row in rows})
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS,
        "name": config.title,
        "description": config.description.strip() or config.title,
        "license": config.licence,
        "citeAs": CITATION,
        "version": __version__,
        "isLiveDataset": False,
        "distribution": [one for place in places for one in _distribution(*place, folder)],
        "recordSet": [_record_set(*place, columns) for place in places],
    }


def _distribution(part: str, image: str, folder: Path) -> list[dict[str, Any]]:
    path, home = f"{part}/{image}/{RECORDS}", f"{part}/{image}"
    table = {
        "@type": "cr:FileObject",
        "@id": path,
        "name": path,
        "description": f"A line for each pair of {home}.",
        "contentUrl": path,
        "encodingFormat": "application/jsonlines",
        "sha256": sha256(folder / path),
    }
    images = {
        "@type": "cr:FileSet",
        "@id": f"{home}/images",
        "name": f"{home}/images",
        "description": f"The radiographs of {home}; masks of the same names lie in masks/ beside them.",
        "encodingFormat": "image/png",
        "includes": f"{home}/images/*.png",
    }
    return [table, images]


def _record_set(part: str, image: str, columns: Columns) -> dict[str, Any]:
    home = f"{part}/{image}"
    names = [*columns.masks, *PLAIN, "rendering", *(["fold"] if columns.has_folds else []), FOLDED]
    fields = [_field(home, name) for name in names]
    fields += [_finding(home, name) for name in columns.findings]
    return {
        "@type": "cr:RecordSet",
        "@id": home,
        "name": home,
        "description": f"Pairs of part {part}, rendered as {image}.",
        "key": {"@id": f"{home}/id"},
        "field": [_file(home), *fields, _picture(home)],
    }


def _field(home: str, name: str) -> dict[str, Any]:
    kind = "sc:Integer" if name in WHOLE_NUMBERS else "sc:Text"
    source = {"fileObject": {"@id": f"{home}/{RECORDS}"}, "extract": {"column": name}}
    return {"@type": "cr:Field", "@id": f"{home}/{name}", "name": f"{home}/{name}", "dataType": kind, "source": source}


def _file(home: str) -> dict[str, Any]:
    """The name of an image's file, by which lines and images are joined."""
    own = {"fileObject": {"@id": f"{home}/{RECORDS}"}, "extract": {"column": "file_name"}}
    return {
        "@type": "cr:Field",
        "@id": f"{home}/file_name",
        "name": f"{home}/file_name",
        "dataType": "sc:Text",
        "source": {**own, "transform": {"regex": "(?:images/)?(.+)"}},
        "references": {"fileSet": {"@id": f"{home}/images"}, "extract": {"fileProperty": "filename"}},
    }


def _finding(home: str, name: str) -> dict[str, Any]:
    source = {
        "fileObject": {"@id": f"{home}/{RECORDS}"},
        "extract": {"column": "findings"},
        "transform": {"jsonPath": name},
    }
    return {
        "@type": "cr:Field",
        "@id": f"{home}/findings/{name}",
        "name": f"{home}/findings/{name}",
        "description": "1, 0, or -1 where it is not known.",
        "dataType": "sc:Integer",
        "source": source,
    }


def _picture(home: str) -> dict[str, Any]:
    """The pixels, found by the file's name."""
    of_file = {"fileSet": {"@id": f"{home}/images"}, "extract": {"fileProperty": "content"}}
    return {
        "@type": "cr:Field",
        "@id": f"{home}/image",
        "name": f"{home}/image",
        "dataType": "sc:ImageObject",
        "source": of_file,
    }
