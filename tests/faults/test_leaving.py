"""A program ends without closing its guard: what was recorded is in the log and in every sink."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ringfence.__main__ import main
from tests.collector import Collector, collecting
from tests.docs.pages import ROOT
from tests.plugins.test_witness import key_pair

POLICY = """language 1  policy p
tool look { allow always }  tool alook { allow always }  tool stay { allow always }
"""
MISTAKE = "ValueError: the program's own mistake"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as one:
        yield one


def written(folder: Path, collector: Collector | None, *more: str) -> None:
    """Write the settings of a program whose log goes to every built-in sink, and to one of a plugin."""
    (folder / "p.fence").write_text(POLICY)
    key_pair(folder, "log")
    sinks = ['[sinks.export_jsonl]\npath = "all.jsonl"', *more]
    sinks += ['[sinks.witness]\nfile = "heads.jsonl"\nkey = "log.key"']
    if collector is not None:
        sinks += [f'[sinks.export_otel]\nendpoint = "{collector.url}"', "[sinks.held_back]"]
    (folder / "ringfence.toml").write_text("\n".join(['policy = "p.fence"', *sinks]) + "\n")


def left(folder: Path, ending: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT), *filter(None, sys.path)])
    return subprocess.run(
        [sys.executable, "-m", "tests.faults.leaving", ending],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
    )


def agree(folder: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, list[str]]:
    """Hold log, lines and witness against one another; return the kinds of each run's events."""
    store = f"sqlite:///{folder / 'ringfence.db'}"
    capsys.readouterr()
    assert main(["export", "--store", store]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sorted((folder / "all.jsonl").read_text().splitlines()) == sorted(lines)
    witness = ["--witness", str(folder / "heads.jsonl"), "--key", str(folder / "log.pub")]
    assert main(["verify", "--store", store, "--json", *witness]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["intact"] and said["unwitnessed"] == 0
    kinds: dict[str, list[str]] = {}
    for event in map(json.loads, lines):
        kinds.setdefault(event["run"], []).append(event["kind"])
    return kinds


@pytest.mark.parametrize(
    ("ending", "code", "said", "runs"),
    [
        ("end", 0, None, 1),
        ("fail", 1, MISTAKE, 1),
        ("leave", 3, None, 1),
        ("leave_inside", 4, None, 1),
        ("in_a_loop", 0, None, 1),
        ("fail_in_a_loop", 1, MISTAKE, 1),
        ("other_thread", 0, None, 2),
        ("daemon_in_a_body", 0, None, 2),
        ("handled_sigterm", 143, None, 1),
    ],
)
def test_nothing_is_lost_however_the_program_comes_to_its_end(
    tmp_path: Path,
    collector: Collector,
    capsys: pytest.CaptureFixture[str],
    ending: str,
    code: int,
    said: str | None,
    runs: int,
) -> None:
    written(tmp_path, collector)
    done = left(tmp_path, ending)
    assert done.returncode == code, done.stderr
    if said is None:
        assert done.stderr == ""
    else:
        assert done.stderr.count("Traceback") == 1 and done.stderr.rstrip().endswith(said)
    kinds = agree(tmp_path, capsys)
    assert len(kinds) == runs
    assert {of_run[-1] for of_run in kinds.values()} == {"RunEnded"}
    lines = sorted((tmp_path / "all.jsonl").read_text().splitlines())
    assert sorted((tmp_path / "held_back.jsonl").read_text().splitlines()) == lines
    with collecting() as again:
        words = ["export", "--otel", again.url, "--store", f"sqlite:///{tmp_path / 'ringfence.db'}"]
        assert main(words) == 0
        assert again.spans and collector.spans.keys() == again.spans.keys()


def test_the_signal_that_kills_leaves_a_log_that_verifies_and_the_next_guard_completes_the_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written(tmp_path, None)
    assert left(tmp_path, "sigterm").returncode == -signal.SIGTERM
    store = f"sqlite:///{tmp_path / 'ringfence.db'}"
    assert main(["verify", "--store", store]) == 0
    assert left(tmp_path, "end").returncode == 0
    assert {of_run[-1] for of_run in agree(tmp_path, capsys).values()} == {"RunEnded"}


@pytest.mark.parametrize("required", ["true", "false"])
def test_a_sink_that_hangs_on_a_thread_holds_up_neither_the_others_nor_the_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], required: str
) -> None:
    written(tmp_path, None, f"[sinks.hanging]\nrequired = {required}", "[limits]\nsink_s = 1")
    done = left(tmp_path, "end")
    assert done.returncode == 0
    assert "`hanging`" in done.stderr and "no answer within 1 s" in done.stderr
    assert "Traceback" not in done.stderr
    assert [of_run[-1] for of_run in agree(tmp_path, capsys).values()] == ["RunEnded"]


def test_a_sink_that_blocks_the_engine_itself_does_not_keep_the_process_alive(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written(tmp_path, None, "[sinks.blocking]")
    done = left(tmp_path, "short_of_time")
    assert done.returncode == 0
    assert "closing the guard failed" in done.stderr and "Traceback" not in done.stderr
    assert [of_run[-1] for of_run in agree(tmp_path, capsys).values()] == ["RunEnded"]
