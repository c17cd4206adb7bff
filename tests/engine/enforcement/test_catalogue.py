"""A tool set that the policy does not know is named whole, once, with the command that would scaffold it."""

import pytest

from ringfence.engine.enforcement import catalogue
from ringfence.engine.enforcement.catalogue import LONGEST, SHOWN, undeclared
from ringfence.engine.enforcement.guard import Guard
from tests.guards import make_guard

HOW = 'mcp:"COMMAND"'


def test_all_that_is_missing_is_named_at_once_with_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert undeclared(make_guard(), ["look", "drop", "rows", "fetch", "drop"], HOW) == ("drop", "fetch")
    assert capsys.readouterr().err == (
        "ringfence: the policy `shop` declares no tool `drop`, `fetch`:"
        " not offered to the model, and never run\n"
        '  help: `ringfence init --tools mcp:"COMMAND"` writes a policy that declares every tool\n'
    )


def test_a_tool_set_that_the_policy_knows_is_not_spoken_of(capsys: pytest.CaptureFixture[str]) -> None:
    assert undeclared(make_guard(), ["look", "rows"], HOW) == ()
    assert capsys.readouterr().err == ""


def test_a_set_is_named_once_in_a_process_and_again_with_a_new_tool_or_another_policy(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def said(guard: Guard, *names: str) -> bool:
        undeclared(guard, names, HOW)
        return bool(capsys.readouterr().err)

    one, same = make_guard(), make_guard()
    other = make_guard("language 1\npolicy other\ntool look { allow always }")
    assert said(one, "drop", "fetch")
    assert not said(one, "fetch", "drop")
    assert not said(same, "drop")
    assert said(same, "drop", "burn")
    assert said(other, "drop")


def test_a_name_cannot_steer_the_terminal_nor_fill_it(capsys: pytest.CaptureFixture[str]) -> None:
    undeclared(make_guard(), ["a\n\x1b[2Jringfence: all is well\u202e", "b" * 1_000_000], HOW)
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 2
    assert "`a\\u000a\\u001b[2Jringfence: all is well\\u202e`" in said
    assert "b" * LONGEST + "…" in said
    assert len(said) < 1000


def test_of_very_many_some_are_written_out_and_all_are_counted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue, "REMEMBERED", 100)
    guard = make_guard()
    names = [f"tool{number}" for number in range(300)]
    assert len(undeclared(guard, names, HOW)) == 300
    said = capsys.readouterr().err
    assert f" and {300 - SHOWN} more: not offered" in said
    assert said.count("`tool") == SHOWN
    undeclared(guard, [*names, "still_another"], HOW)
    assert capsys.readouterr().err == ""  # no more is remembered, so no more is said
    assert len(catalogue._said) == 100


def test_a_playback_of_a_record_says_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    guard = make_guard()
    monkeypatch.setattr(guard, "plays_back", True, raising=False)
    assert undeclared(guard, ["drop"], HOW) == ("drop",)
    assert capsys.readouterr().err == ""
