"""`ringfence backtest` over a real log: what it prints, its data, which runs it takes, and its exit codes."""

import json
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from ringfence.__main__ import main
from ringfence.engine.seams.loop import EngineLoop
from ringfence.plugins.sqlite import SqliteStore
from tests.backtests import Limits, recorded

DAY_NS = 86_400_000_000_000
THEN = Limits()
STRICTER = Limits(denies=40)


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A log with a run of ten days ago and one of an hour ago, and two policies."""
    monkeypatch.chdir(tmp_path)
    store, loop = SqliteStore(f"sqlite:///{tmp_path}/ringfence.db"), EngineLoop()
    loop.submit(store.open()).result()
    assert store.events is not None
    for name, ago_ns in (("run-old", 10 * DAY_NS), ("run-new", DAY_NS // 24)):
        run = recorded(THEN.plan, name, [1, 50, 60], at_ns=time.time_ns() - ago_ns)
        loop.submit(store.events.append(run.entries(name))).result()
    loop.submit(store.close()).result()
    loop.close()
    (tmp_path / "same.fence").write_text(THEN.text)
    (tmp_path / "other.fence").write_text(STRICTER.text)
    return tmp_path


def told(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    assert main(["backtest", *words]) == code, capsys.readouterr().err
    return capsys.readouterr().out


def data(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> Any:
    return json.loads(told(capsys, *words, "--json", code=code))


def test_changes_are_drawn_by_rule_with_place_and_words(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = told(capsys, "--policy", "other.fence", code=2)
    assert text.startswith(
        "large at other.fence:12:1: it is too large: 4 decisions in 2 runs\n"
        '  rule large: deny t when x > 40 because "it is too large"\n'
        "  run-old event 7, t: allow then, deny\n"
        "  run-old event 11, t: allow then, deny; after a change\n"
    )
    assert "4 of 6 decisions in 2 runs would have been different: 4 allow to deny\n" in text
    assert "no longer comparable: 2 decisions after a change in the same session" in text
    assert "coverage: 2 of 5 clauses exercised\n" in text and "  by no run: other.fence:" in text


def test_a_policy_that_changes_nothing_ends_with_0(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "0 of 6 decisions in 2 runs would have been different\n" in told(capsys, "--policy", "same.fence")


def test_the_data_has_every_change_once_and_the_rules_by_number(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = data(capsys, "--policy", "other.fence", code=2)
    assert [(one["run"], one["seq"], one["comparable"]) for one in document["changes"]] == [
        ("run-old", 7, True), ("run-old", 11, False), ("run-new", 7, True), ("run-new", 11, False),
    ]  # fmt: skip
    (rule,) = document["rules"]
    assert (rule["name"], rule["place"], rule["decisions"], rule["runs"]) == (
        "large", "other.fence:12:1", 4, 2,
    )  # fmt: skip
    assert document["moves"] == [{"recorded": "allow", "verdict": "deny", "decisions": 4}]
    assert (document["runs"], document["decisions"], document["comparable"]) == (2, 6, 4)
    coverage = document["coverage"]
    assert coverage["clauses"] == coverage["reached"] + len(coverage["unreached"]) == 5
    assert document["not_decided"] == document["not_replayable"] == []


def test_the_number_of_processes_changes_nothing(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = told(capsys, "--policy", "other.fence", "--processes", "1", "--json", code=2)
    assert told(capsys, "--policy", "other.fence", "--processes", "2", "--json", code=2) == one


@pytest.mark.parametrize(
    ("words", "runs"),
    [
        (["--since", "7d"], 1), (["--since", "2w"], 2), (["--since", "300h"], 2), (["--since", "30m"], 0),
        (["--since", "2026-01-01"], 2), (["--since", "2999-01-01T04:00Z"], 0),
        (["--agent", "main"], 2), (["--agent", "nobody"], 0),
    ],
)  # fmt: skip
def test_runs_are_taken_by_time_and_agent(
    log: Path, capsys: pytest.CaptureFixture[str], words: list[str], runs: int
) -> None:
    assert main(["backtest", "--policy", "other.fence", "--json", *words]) == (2 if runs else 0)
    said = capsys.readouterr()
    assert json.loads(said.out)["runs"] == runs
    assert (said.err == "no runs\n") is (runs == 0)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ([], "--policy"),
        (["--policy", "none.fence"], "none.fence cannot be read"),
        (["--policy", "same.fence", "--since", "soon"], "`soon` is no time"),
        (["--policy", "same.fence", "--since=-1d"], "no time"),
        (["--policy", "same.fence", "--since", ""], "no time"),
        (["--policy", "same.fence", "--processes", "0"], "at least 1"),
    ],
)
def test_wrong_words_are_one_sentence(
    log: Path, capsys: pytest.CaptureFixture[str], words: list[str], why: str
) -> None:
    assert main(["backtest", *words]) == 1
    said = capsys.readouterr()
    assert said.out == "" and why in said.err and "Traceback" not in said.err


def test_a_policy_with_a_mistake_is_drawn(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (log / "wrong.fence").write_text("language 1\npolicy x\ntool t { alow always }\n")
    assert main(["backtest", "--policy", "wrong.fence"]) == 3
    assert "error[" in capsys.readouterr().err


@pytest.mark.parametrize("policy", ["same.fence", "other.fence"])
def test_a_run_that_cannot_be_decided_again_is_named_and_ends_with_1_if_nothing_else_changes(
    log: Path, capsys: pytest.CaptureFixture[str], policy: str
) -> None:
    with sqlite3.connect(log / "ringfence.db") as db:
        db.execute(
            "UPDATE event SET body = X'7B7D' WHERE seq = 3 AND run_id = (SELECT min(run_id) FROM event)"
        )
    db.close()
    code = 1 if policy == "same.fence" else 2
    assert main(["backtest", "--policy", policy]) == code
    said = capsys.readouterr()
    assert "run-old: cannot be decided again: the body of event run-old:3 is no CallDecided" in said.err
    assert "of 3 decisions in 1 run would" in said.out and "1 run cannot be decided again" in said.out
    document = data(capsys, "--policy", policy, code=code)
    assert [one["run"] for one in document["not_decided"]] == ["run-old"] and document["runs"] == 2


def test_another_policy_stands_under_its_ceiling(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (log / "org.fence").write_text("language 1\nceiling org\nrule nothing: deny any tool\n")
    (log / "below.fence").write_text(THEN.text.replace("policy numbers", 'policy numbers under "org.fence"'))
    document = data(capsys, "--policy", "below.fence", "--processes", "2", code=2)
    assert [rule["place"] for rule in document["rules"]] == ["org.fence:3:1"]
    assert document["rules"][0]["words"] == "rule nothing: deny any tool"


def test_a_replay_by_another_policy_says_what_is_no_longer_comparable(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["replay", "run-new", "--policy", "other.fence"]) == 2
    text = capsys.readouterr().out
    assert "event 7, t: allow then, deny by large at other.fence:12:1: it is too large\n" in text
    assert "no longer comparable: 1 decision after the first change" in text
