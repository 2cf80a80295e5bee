"""What ends long work from outside: a word, an exit code, and nothing lost."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from small_chests import SETTINGS, write_chests

from nerp.cli.output import guarded
from nerp.data.pairs import read_records
from nerp.files import replacing, write_bytes
from nerp.synthesis import rerendering, single, synthesize

ROOT = Path(__file__).parents[1]
WORD = "interrupted; run the same command again to go on where it stopped"


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
def test_an_interrupted_command_says_how_to_go_on(tmp_path, end):
    ct, labels = write_chests(tmp_path / "in", names=("anna",))
    stated = ["--ct", ct, "--labels", labels, "--mask", "10,11", "--shape", "24x20", "--views", "100000"]
    process = subprocess.Popen(
        [sys.executable, "-m", "nerp", "synthesize", *stated, "-o", tmp_path / "pairs"],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    records = tmp_path / "pairs" / "metadata.jsonl"
    stop = time.monotonic() + 120
    while time.monotonic() < stop and not (records.exists() and records.stat().st_size):
        time.sleep(0.05)
    process.send_signal(end)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and said.splitlines()[-1] == f"nerp: {WORD}"
    assert read_records(records)


@pytest.mark.parametrize("how", ["returned", "abort", "raised"])
def test_every_way_of_typer_to_tell_an_interrupt(how, capsys):
    def command():
        if how == "returned":
            return 130
        raise typer.Abort if how == "abort" else KeyboardInterrupt

    assert guarded(command) == 130
    assert capsys.readouterr().err == f"nerp: {WORD}\n"


class RustError(Exception):
    """What libraries in Rust raise: the system's number stands in their text."""


def test_a_full_disk_is_named_whoever_writes(tmp_path, capsys):
    def command():
        with replacing(tmp_path / "weights.safetensors"):
            raise RustError("Error while serializing: I/O error: No space left on device (os error 28)")

    assert guarded(command) == 1
    said = capsys.readouterr().err
    assert (
        said.startswith(f"nerp: {tmp_path}/weights.safetensors: {os.strerror(errno.ENOSPC)}") and said.count("\n") == 1
    )
    assert not list(tmp_path.iterdir())


def test_other_errors_of_writers_stay_what_they_are(tmp_path):
    with pytest.raises(RustError, match="bad header"), replacing(tmp_path / "x"):
        raise RustError("bad header")
    with pytest.raises(OSError, match="x") as refused:
        write_bytes(Path("/proc/x"), b"")
    assert refused.value.filename


def test_a_full_disk_keeps_the_former_file(tmp_path):
    write_bytes(tmp_path / "a", b"before")
    with pytest.raises(OSError, match="No space left"), replacing(tmp_path / "a") as unfinished:
        unfinished.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(unfinished))
    assert (tmp_path / "a").read_bytes() == b"before" and len(list(tmp_path.iterdir())) == 1


def test_a_pair_made_with_kernels_replays_without_them(tmp_path, monkeypatch, caplog):
    ct, labels = write_chests(tmp_path / "in", names=("anna",))
    synthesize(ct, labels, out=tmp_path / "pairs", settings=replace(SETTINGS, views=1))
    lines = (tmp_path / "pairs" / "metadata.jsonl").read_text()
    (tmp_path / "pairs" / "metadata.jsonl").write_text(json.dumps({**json.loads(lines), "backend": "cpu"}) + "\n")
    monkeypatch.setattr(rerendering, "available_backends", lambda: {"reference": "live", "cpu": "not built"})
    again = single.replay(tmp_path / "pairs" / "metadata.jsonl", ct=ct, labels=labels, out=tmp_path / "again")
    assert "backend 'cpu' of the record is not live (not built); rendered by 'reference'" in caplog.text
    assert again["identical"] or "backend cpu then, reference here" in again["differences"]
