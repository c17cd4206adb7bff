"""The command line as people and programs meet it: streams, exit codes, one clear sentence for each error."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import ringfence
from ringfence.__main__ import main
from ringfence.cli.words import GROUPS, parser

ROOT = Path(__file__).parents[2]
COMMANDS = [name for names in GROUPS.values() for name in names]

READERS = [
    ["runs"], ["show", "last"], ["why", "last", "1"], ["replay", "last"], ["approvals"],
    ["kill", "--all"], ["verify"], ["backtest", "--policy", "next.fence"],
]  # fmt: skip


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("RINGFENCE_SETTINGS", "RINGFENCE_STORE", "RINGFENCE_DEBUG"):
        monkeypatch.delenv(name, raising=False)


def test_the_version_is_data(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"ringfence {ringfence.__version__}\n"
    assert main(["--version", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"version": ringfence.__version__}


def test_help_names_every_command_with_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    for name in COMMANDS:
        (line,) = [line for line in text.splitlines() if line.split()[:1] == [name]]
        assert len(line.split()) > 3


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_takes_the_options_that_all_take(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([name, "--help"]) == 0
    text = capsys.readouterr().out
    assert "--json" in text and "--store" in text and "--settings" in text


def test_no_command_at_all_says_which_there_are_and_could_not_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 1
    said = capsys.readouterr()
    assert said.out == "" and "check" in said.err


@pytest.mark.parametrize(
    "words", [["frobnicate"], ["runs", "--frobnicate"], ["show"], ["runs", "--limit", "x"]]
)
def test_wrong_words_are_one_sentence_and_how_to_mend(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("ringfence: ") and "  help: " in said.err and "Traceback" not in said.err


@pytest.mark.parametrize(
    "order", [["--store", "x:y", "--json", "runs"], ["runs", "--json", "--store", "x:y"]]
)
def test_options_that_all_commands_take_stand_before_or_after_it(order: list[str]) -> None:
    asked = parser().parse_args(order)
    assert (asked.command, asked.store, asked.json) == ("runs", "x:y", True)


@pytest.mark.parametrize("words", READERS)
def test_a_command_that_reads_a_log_never_creates_one(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 1
    said = capsys.readouterr()
    assert "there is no log at" in said.err and "--store" in said.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", READERS)
def test_a_store_in_memory_has_nothing_to_read_and_says_why(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "--store", "memory:"]) == 1
    assert "inside one process" in capsys.readouterr().err


def test_a_store_that_no_plugin_takes_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", "--store", "sqlight:///x.db"]) == 1
    said = capsys.readouterr().err
    assert "sqlight" in said and "Traceback" not in said


def test_settings_that_are_wrong_say_file_and_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "ringfence.toml").write_text('stroe = "sqlite:///x.db"\nmode = 3\n')
    assert main(["runs"]) == 1
    said = capsys.readouterr().err
    assert "ringfence.toml" in said and "stroe" in said and "mode" in said
    assert "\\u000a" not in said


def test_an_error_nobody_expected_is_a_sentence_and_a_traceback_only_on_wish(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("ringfence.cli.desk.settings_of", lambda asked: 1 / 0)
    assert main(["runs"]) == 1
    said = capsys.readouterr().err
    assert "division by zero" in said and "RINGFENCE_DEBUG=1" in said and "Traceback" not in said
    monkeypatch.setenv("RINGFENCE_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        main(["runs"])


def test_an_error_with_control_characters_cannot_move_the_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "no\x1b[2Jfile.fence"]) == 1
    assert "\x1b" not in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--version"], ["plugins"], ["plugins", "--json"]])
def test_a_reader_that_goes_away_ends_the_command_without_a_traceback(words: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    ended = subprocess.run(
        [sys.executable, "-m", "ringfence", *words],
        stdout=writer, stderr=subprocess.PIPE, text=True, check=False, timeout=60, cwd=ROOT,
    )  # fmt: skip
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (1, "")
