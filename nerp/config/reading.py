"""Reading settings: presets by name, YAML and overrides merged onto a dataclass, errors in one line."""

from __future__ import annotations

import logging
import re
import site
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass
from difflib import get_close_matches
from importlib import metadata
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from nerp.errors import ConfigError
from nerp.files import write_text

_log = logging.getLogger(__name__)

RENAMED = {
    "camera.sdd_mm": "camera.source_detector_mm",
    "camera.field_of_view": "camera.field_scale",
    "phantom.stand_ins": "phantom.radiographs",
}
"""Keys of the version before, still read for one release."""

REMOVED = frozenset({"data.labels_dir"})
"""Keys of the version before that decided nothing; passed over for one release."""

Schema = TypeVar("Schema")

Layer = tuple[str, dict[str, Any]]
"""Where some settings come from, in words, and the nested dictionary of them."""


def read_settings(
    schema: type[Schema],
    source: str | Path | None = None,
    overrides: Sequence[str] = (),
    *,
    base: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    warn: bool = True,
) -> Schema:
    """An instance of `schema`: its defaults, changed by a YAML file and then by `key=value` overrides.

    Args:
        schema:    a dataclass, as a rule derived from `nerp.settings.Settings`; sections are dataclasses, too.
        source:    a YAML file, the name of a preset such as `demo`, or None for the defaults alone.
        overrides: such as `["trainer.steps=100", "viewer.shape=[64,64]"]`.
        base:      dotted keys and values in place of some defaults, such as those of a trained run.
        options:   dotted keys and values that a command's options state; those of value None state nothing.
        warn:      tell of keys that have another name now.

    Raises:
        ConfigError: no such file or preset; not YAML; an unknown key (the nearest is named); a wrong type; a value
            out of its range; an environment variable that is not set.
    """
    layers = [_stated(base or {}, "the run")]
    layers += [] if source is None else [read_layer(preset_path(source))]
    layers += [_stated(options or {}, "the command line"), *(parse_override(item) for item in overrides)]
    return merge(schema, [_renewed(layer, warn=warn) for layer in layers])


def save_settings(settings: Any, path: str | Path) -> None:
    """Write every key of `settings` as YAML that `read_settings` reads, whole or not at all.

    Args:
        settings: an instance of a dataclass.
        path:     the file.
    """
    write_text(path, as_yaml(settings))


def as_yaml(settings: Any) -> str:
    """Every key of an instance of a dataclass, or of a dictionary of plain values, as YAML."""
    values = settings if isinstance(settings, dict) else asdict(settings)
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def upgraded(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted keys and values that the version before kept, under today's names."""
    return {RENAMED.get(key, key): value for key, value in flat.items() if key not in REMOVED}


def _stated(dotted: Mapping[str, Any], where: str) -> Layer:
    """A layer of dotted keys; None states nothing."""
    content: dict[str, Any] = {}
    for key, value in dotted.items():
        if value is not None:
            *rooms, name = key.split(".")
            inner = content
            for room in rooms:
                inner = inner.setdefault(room, {})
            inner[name] = value
    return where, content


def _renewed(layer: Layer, *, warn: bool) -> Layer:
    """A layer under today's keys; `merge` needs no other."""
    where, content = layer
    content = {key: dict(value) if isinstance(value, dict) else value for key, value in content.items()}
    for old in (*RENAMED, *REMOVED):
        room, _, name = old.partition(".")
        if not isinstance(content.get(room), dict) or name not in content[room]:
            continue
        value, new = content[room].pop(name), RENAMED.get(old)
        if new is not None:
            content[room].setdefault(new.partition(".")[2], value)
        if warn:
            message = "decides nothing and is passed over: drop it" if new is None else f"is now {new}: write that"
            _log.warning("%s in %s %s", old, where, message)
    return where, content


def preset_folders() -> Iterator[Path]:
    """The folders that may hold presets: the clone's, then those of a plain install."""
    repository = Path(__file__).resolve().parents[2]
    if (repository / "setup.cfg").is_file():
        yield repository / "configs"
    try:
        installed = metadata.files("nerp") or []
    except metadata.PackageNotFoundError:
        installed = []
    for file in installed:
        if file.parts[-2:-1] == ("configs",) and file.suffix == ".yaml":
            yield Path(file.locate()).resolve().parent
    for base in (sysconfig.get_path("data"), site.USER_BASE):
        if base:
            yield Path(base) / "share" / "nerp" / "configs"


def preset_path(source: str | Path) -> Path:
    """The YAML file that `source` means: a path, `demo`, `demo.yaml` or `configs/demo.yaml`.

    Raises:
        ConfigError: neither a file nor a preset; the presets are listed.
    """
    path = Path(source)
    if path.is_file():
        return path
    names: dict[str, Path] = {}
    for folder in preset_folders():
        for file in sorted(folder.glob("*.yaml")):
            names.setdefault(file.stem, file)
    if str(path.parent) in (".", "configs") and path.suffix in ("", ".yaml") and path.stem in names:
        return names[path.stem]
    known = ", ".join(sorted(names)) or "none installed"
    raise ConfigError(f"no config '{source}': expected a YAML file or one of the presets {known}")


def table_path(source: str | Path) -> Path:
    """The table that `source` means: a path, or the name of one that comes with the presets, such as `chest_cts.csv`.

    Raises:
        ConfigError: neither; the tables are listed.
    """
    path = Path(source)
    if path.is_file():
        return path
    tables = {file.name: file for folder in preset_folders() for file in sorted((folder / "tables").glob("*.csv"))}
    if str(source) in tables:
        return tables[str(source)]
    raise ConfigError(f"no table '{source}': expected a CSV file, or one of {', '.join(tables) or 'none installed'}")


def read_layer(path: Path) -> Layer:
    """The settings of a YAML file, not yet checked."""
    try:
        content = OmegaConf.load(path)
    except (yaml.YAMLError, UnicodeDecodeError, OmegaConfBaseException) as error:
        raise ConfigError(f"{path} is not valid YAML: {_one_line(error)}") from error
    if not isinstance(content, DictConfig):
        raise ConfigError(f"{path} holds a list; expected 'key: value' lines such as 'seed: 0'")
    return str(path), cast("dict[str, Any]", OmegaConf.to_container(content))


def parse_override(text: str) -> Layer:
    """The setting of `trainer.steps=100`, not yet checked."""
    key, equals, _ = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"override '{text}' is not 'key=value'; write for example trainer.steps=100")
    try:
        content = cast("dict[str, Any]", OmegaConf.to_container(OmegaConf.from_dotlist([text])))
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        raise ConfigError(f"override '{text}' cannot be read: {_one_line(error)}") from error
    return f"override '{text}'", content


def merge(schema: type[Schema], layers: list[Layer]) -> Schema:
    """An instance of `schema` with the layers' settings put over its defaults, later ones last.

    Args:
        schema: a dataclass.
        layers: where settings come from, and the settings.

    Raises:
        ConfigError: an unknown key, a wrong type, or an interpolation that has no value.
    """
    tree = OmegaConf.structured(schema)
    known = list(leaf_types(schema))
    for where, content in layers:
        _check_keys(content, known, where)
        try:
            tree = OmegaConf.merge(tree, content)
        except OmegaConfBaseException as error:
            _name_the_wrong_one(tree, content, schema, where)
            raise ConfigError(f"{where}: {_one_line(error)}") from error
    try:
        made = OmegaConf.to_object(tree)
    except OmegaConfBaseException as error:
        reason = re.sub(r"^.*?interpolation: ", "", _one_line(error))
        raise ConfigError(f"{_key(error)}: {reason}; set it or give {_key(error)}=…") from error
    assert isinstance(made, schema)
    return made


def leaf_types(schema: Any, prefix: str = "") -> dict[str, Any]:
    """The type of every dotted key of a dataclass tree.

    Args:
        schema: a dataclass.
        prefix: what stands before each key.
    """
    leaves: dict[str, Any] = {}
    hints = get_type_hints(schema)
    for item in fields(schema):
        kind, name = hints[item.name], f"{prefix}{item.name}"
        leaves.update(leaf_types(kind, f"{name}.") if is_dataclass(kind) else {name: kind})
    return leaves


def _check_keys(content: dict, known: list[str], where: str, prefix: str = "") -> None:
    sections = {key.rpartition(".")[0] for key in known}
    for key, value in content.items():
        name = f"{prefix}{key}"
        if name in sections and not isinstance(value, dict):
            inside = next(item for item in known if item.startswith(f"{name}."))
            raise ConfigError(f"'{name}' in {where} is a section; expected keys in it, such as {inside}")
        if name not in sections and name not in known:
            raise ConfigError(f"unknown key '{name}' in {where}; did you mean '{nearest_key(name, known)}'?")
        if name in sections:
            _check_keys(value, known, where, f"{name}.")


def nearest_key(name: str, known: list[str]) -> str:
    """The known dotted key that looks most like another, by the whole name or by its last part.

    Args:
        name:  what was written.
        known: the keys that there are.
    """
    whole = get_close_matches(name, known, n=1, cutoff=0.75)
    last = {key.rpartition(".")[2]: key for key in reversed(known)}
    part = get_close_matches(name.rpartition(".")[2], list(last), n=1, cutoff=0.6)
    return whole[0] if whole else last[part[0]] if part else get_close_matches(name, known, n=1, cutoff=0.0)[0]


def _nested(key: str, value: Any) -> dict[str, Any]:
    """`{"trainer": {"steps": 100}}` of `trainer.steps` and 100."""
    for name in reversed(key.split(".")):
        value = {name: value}
    return value


def _leaves(content: Mapping[str, Any], known: list[str], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Each known dotted key that some nested content states, with its value."""
    for name, value in content.items():
        key = f"{prefix}{name}"
        if key in known:
            yield key, value
        else:
            yield from _leaves(value, known, f"{key}.")


def _name_the_wrong_one(tree: Any, content: dict[str, Any], schema: type, where: str) -> None:
    """Raise a ConfigError for the first setting of a layer that does not fit: OmegaConf does not always name it."""
    kinds = leaf_types(schema)
    for key, value in _leaves(content, list(kinds)):
        try:
            OmegaConf.merge(tree, _nested(key, value))
        except OmegaConfBaseException as error:
            raise _wrong_type(error, key, kinds[key], where) from error


def _wrong_type(error: OmegaConfBaseException, key: str, kind: Any, where: str) -> ConfigError:
    if get_origin(kind) is UnionType:
        kind = next(one for one in get_args(kind) if one is not NoneType)
    expected = kind.__name__ if isinstance(kind, type) and not get_args(kind) else str(kind)
    if get_origin(kind) is tuple and Ellipsis not in get_args(kind):
        expected = f"{len(get_args(kind))} numbers, such as {key}=[…, …]"
    return ConfigError(f"{key} in {where}: {_one_line(error)}; expected {expected}")


def _key(error: OmegaConfBaseException) -> str:
    return str(error.full_key or "value")


def _one_line(error: Exception) -> str:
    """The message without OmegaConf's trailing lines of context."""
    return " ".join(str(error).split("\n    full_key")[0].split())
