"""Every setting and every option is named in some test, and every option says what it is."""

import re
from functools import cache
from pathlib import Path

import pytest
from typer.main import get_command

from nerp.cli import app
from nerp.config.reading import leaf_types
from nerp.evaluation.pair_settings import AlignmentConfig, QualityConfig
from nerp.evaluation.set_settings import IntegrityConfig, MemorisationConfig
from nerp.evaluation.settings import FidelityConfig
from nerp.experiments.settings import ArmsConfig, ClassificationConfig, SegmentationConfig
from nerp.report import ReportConfig
from nerp.synthesis.config import RenderConfig, SynthesisConfig
from nerp.training.config import Config

CONFIGS = (Config, RenderConfig, SynthesisConfig, FidelityConfig, SegmentationConfig, AlignmentConfig, QualityConfig)
CONFIGS += (IntegrityConfig, MemorisationConfig, ReportConfig, ArmsConfig, ClassificationConfig)


@cache
def words_of_tests() -> str:
    """All tests but this one."""
    paths = sorted(Path(__file__).parent.glob("*.py"))
    return "\n".join(path.read_text(encoding="utf-8") for path in paths if path != Path(__file__))


def commands(group, prefix=()):
    """Every command's words and its parameters."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*prefix, name))
        else:
            yield (*prefix, name), command.params


def is_named(key: str) -> bool:
    """A dotted key as `room.key=…` or quoted; one without a room as `key=…`, in a test."""
    form = rf"\b{re.escape(key)}\b" if "." in key else rf"['\" ]{re.escape(key)}="
    return re.search(form, words_of_tests()) is not None


def all_keys() -> list[str]:
    return sorted({key for config in CONFIGS for key in leaf_types(config)})


def all_options() -> list[tuple[str, str, str]]:
    found = []
    for words, parameters in commands(get_command(app)):
        for parameter in parameters:
            longest = max(parameter.opts, key=len)
            found.append((" ".join(words), longest, getattr(parameter, "help", None) or ""))
    return found


@pytest.mark.parametrize("key", all_keys())
def test_every_setting_is_named_in_a_test(key):
    assert is_named(key), f"no test sets {key}"


@pytest.mark.parametrize("option", sorted({name for _, name, _ in all_options() if name.startswith("--")}))
def test_every_option_is_named_in_a_test(option):
    assert re.search(rf"{option}\b", words_of_tests()), f"no test gives {option}"


def test_every_option_says_what_it_is():
    silent = [f"{command} {name}" for command, name, text in all_options() if not text and name != "--help"]
    assert not silent


def test_a_key_that_no_test_sets_is_found():
    assert is_named("trainer.steps") and not is_named("trainer.no_such_key") and not is_named("no_such")
