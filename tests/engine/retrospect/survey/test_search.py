"""Runs found by what one of their calls was, newest first, and paging that loses and doubles none."""

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringfence.dsl.plan import Json
from ringfence.engine.decision import events as e
from ringfence.engine.retrospect.survey import search
from ringfence.engine.retrospect.survey.gathered import Unread
from ringfence.engine.retrospect.survey.search import RowWords, Wanted, found, rows_of
from ringfence.engine.seams.ports import RunRow
from tests.cli.conftest import decided, reason, requested, started
from tests.engine.retrospect.survey.test_stats import Log, stamped
from tests.plans import T0

POLICY = """language 1
policy mails
capability look is read
agent main { holds look }
tool send is "smtp.send" { needs look allow always }
tool smtp { needs look allow always }
"""


def call(key: str, tool: str, verdict: str, *rules: tuple[str, str]) -> list[e.RunEvent]:
    return [
        requested(key, tool, {}),
        decided(key, verdict, *(reason(name, effect) for name, effect in rules)),
    ]


def run(*calls: Iterable[e.RunEvent], policy: str = POLICY) -> list[e.Stamped]:
    return stamped(started(policy_text=policy), *(event for one in calls for event in one))


LOG = Log(
    {
        "mailed": run(call("a", "smtp.send", "allow", ("send.allow", "allow"))),
        "refused": run(call("a", "smtp.send", "deny", ("send.allow", "deny"), ("other", "allow"))),
        "both": run(
            call("a", "smtp.send", "allow", ("send.allow", "allow")), call("b", "smtp", "deny", ("r", "deny"))
        ),
        "asked": run(
            [*call("a", "smtp", "ask", ("people", "ask")), decided("a", "allow", reason("p", "allow"))]
        ),
        "idle": run(),
    }
)


def names(log: Log = LOG, **said: Any) -> tuple[list[str], list[Unread]]:
    unread: list[Unread] = []
    rows = found(Wanted(**said), log.ask, log.page, unread=unread.append)
    return sorted(row.run for row in rows), unread


@pytest.mark.parametrize(
    ("said", "runs"),
    [
        ({"tool": "smtp.send"}, ["both", "mailed", "refused"]),
        ({"tool": "send"}, ["both", "mailed", "refused"]),
        ({"tool": "smtp"}, ["asked", "both"]),
        ({"tool": "nothing"}, []),
        ({"verdict": "deny"}, ["both", "refused"]),
        ({"verdict": "ask"}, ["asked"]),
        ({"verdict": "allow"}, ["asked", "both", "mailed"]),
        ({"rule": "send.allow"}, ["both", "mailed", "refused"]),
        ({"rule": "other"}, []),
        ({"tool": "send", "verdict": "deny"}, ["refused"]),
        ({"tool": "send", "verdict": "deny", "rule": "r"}, []),
        ({"tool": "smtp", "verdict": "deny", "rule": "r"}, ["both"]),
        ({"verdict": "allow", "rule": "people"}, []),
    ],
)
def test_tool_verdict_and_rule_are_those_of_one_decision(said: dict[str, Any], runs: list[str]) -> None:
    """A tool goes by its name in the policy and by the framework's; one that allowed has refused nothing."""
    assert names(**said) == (runs, [])


def test_runs_are_read_no_further_than_there_are_enough() -> None:
    read: list[str] = []

    def page(run: str, after: int, limit: int) -> object:
        read.append(run)
        return LOG.page(run, after, limit)

    rows = found(Wanted(tool="smtp"), LOG.ask, page, unread=[].append)  # type: ignore[arg-type]
    next(rows)
    assert read == [row.run for row in LOG.rows][: len(read)] and len(read) < len(LOG.rows)


def test_what_cannot_be_read_is_left_out_and_named() -> None:
    log = Log({name: run(call("a", "t", "deny")) for name in ("r1", "r2", "r3")})
    log.entries["r1"][1] = log.entries["r1"][1]._replace(body=None, salt=b"")
    log.entries["r2"][2] = log.entries["r2"][2]._replace(schema=e.SCHEMA + 1)
    runs, unread = names(log, verdict="deny")
    assert runs == ["r3"]
    assert {one.run: "purged" in one.because or "newer" in one.because for one in unread} == {
        "r1": True, "r2": True,
    }  # fmt: skip


def test_a_policy_that_cannot_be_read_leaves_open_how_it_names_the_tools() -> None:
    log = Log({"r1": run(call("a", "smtp.send", "allow"), policy="language 99")})
    assert names(log, tool="smtp.send")[0] == ["r1"]
    runs, unread = names(log, tool="send")
    assert runs == [] and "policy" in unread[0].because


# ---- paging ----------------------------------------------------------------------------------------


def row(number: int, started_ns: Json) -> RunRow:
    return RunRow(f"r{number}", "s", "main", None, None, "p", "done", started_ns, 0, 1, b"")


@given(st.lists(st.integers(0, 4), max_size=30), st.integers(1, 4))
def test_every_run_comes_once_and_in_order_whatever_the_page(starts: list[int], page: int) -> None:
    rows = [row(number, T0 + at) for number, at in enumerate(starts)]
    rows.sort(key=lambda one: one.started_ns, reverse=True)
    sizes: list[int] = []

    def ask(asked: RowWords, limit: int | None) -> list[RunRow]:
        until = asked.get("until_ns")
        given = [one for one in rows if until is None or one.started_ns < until][:limit]
        sizes.append(len(given))
        return given

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "PAGE", page)
        assert [one.run for one in rows_of(Wanted(), ask)] == [one.run for one in rows]


def test_rows_that_no_guard_wrote_do_not_keep_the_others_out(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        *(row(number, "late") for number in range(7)),
        *(row(number, T0 - number) for number in range(7, 20)),
    ]
    monkeypatch.setattr(search, "PAGE", 3)

    def ask(asked: RowWords, limit: int | None) -> list[RunRow]:
        until = asked.get("until_ns")
        return [
            one
            for one in rows
            if until is None or (isinstance(one.started_ns, int) and one.started_ns < until)
        ][:limit]

    assert [one.run for one in rows_of(Wanted(), ask)] == [one.run for one in rows]
