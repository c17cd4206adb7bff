"""`ringfence purge` and sessions whose newer runs remember what the older ones did."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ringfence.__main__ import main
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.retrospect.record import RecordError
from ringfence.engine.seams.errors import DeniedError
from ringfence.testing import FakeClock
from tests.cli.purges import Store, intact
from tests.guards import ALICE, call, make_guard

DESK = """
language 1
policy desk
levels public < secret
capability read_data is read
capability send is external
agent main { holds read_data, send stop after 50 minutes }
tool query {
  needs read_data
  takes table: text
  allow always
  result is secret when table == "payments"
  result is public otherwise
}
tool post { needs send takes body: text allow always }
rule leave: deny post when after reading secret
"""


class Desk:
    """A guard whose policy asks for what its sessions remember, on a clock that is turned by hand."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = FakeClock()
        self.guard: Guard = make_guard(DESK, store=f"sqlite:///{path}", clock=self.clock)

    def turn(self, session: str, tool: str, *, days: float = 1) -> str:
        """Have one run of a session call a tool, and say what came of it."""
        run: Run = self.guard.begin_run(agent="main", principal=ALICE, session=session)
        arguments = {"table": "orders"} if tool == "query" else {"body": "x"}
        try:
            self.guard.execute(run, call(tool, "c1", **arguments), lambda _: "done")
            said = "done"
        except DeniedError as denied:
            assert denied.reason is not None
            said = f"denied by {denied.reason.name}"
        self.guard.end_run(run)
        self.clock.advance(days * 86_400)
        return said


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.chdir(tmp_path)
    made = Desk(tmp_path / "ringfence.db")
    yield made
    made.guard.close()


def test_a_session_that_went_on_keeps_what_it_remembers(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    """The clock begins on 2023-11-14: three turns of one session, one of another, a day between them."""
    assert desk.turn("s1", "query", days=0) == desk.turn("s2", "query") == "done"
    assert desk.turn("s1", "query") == desk.turn("s1", "post") == "done"
    desk.guard.runs.list()
    assert main(["purge", "--before", "2023-11-16"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("purged 1 run: ")
    assert "kept 2 older runs: runs that are newer, or not over, may remember them" in said.err
    assert "--remembered" in said.err
    assert desk.turn("s1", "post") == "done", "it has all that it remembers"
    rows = desk.guard.runs.list(session="s1")
    assert all(desk.guard.runs.get(row.run).replay().identical for row in rows)
    intact(capsys, desk.path)


def test_who_wants_it_purges_what_is_remembered_too_and_what_follows_is_said(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(3):
        assert desk.turn("s1", "query") == "done"
    assert desk.turn("s1", "post") == "done"
    newest = desk.guard.runs.list(limit=1)[0].run
    assert main(["purge", "--before", "2023-11-16", "--remembered"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("purged 2 runs: ")
    assert "2 runs of them may be remembered" in said.err and "undecided" in said.err
    intact(capsys, desk.path)
    with pytest.raises(RecordError, match="was purged"):
        desk.guard.runs.get(newest).replay()
    assert main(["replay", newest]) == 1
    assert "Traceback" not in capsys.readouterr().err
    desk.guard.close()
    desk.guard = make_guard(DESK, store=f"sqlite:///{desk.path}", clock=desk.clock)
    assert desk.turn("s1", "post") == "denied by leave!error"
    assert desk.turn("s9", "post") == "done", "a session of its own is none of that"


def test_a_purged_run_that_was_halted_is_not_ended_again(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    run = desk.guard.begin_run(agent="main", principal=ALICE, session="s1")
    desk.guard.kill(run.id, by="dana", within_s=10)
    desk.guard.end_run(run)
    assert desk.guard.runs.list()[0].status == "halted"
    assert main(["purge", "--before", "2023-12-01"]) == 0
    capsys.readouterr()
    intact(capsys, desk.path)
    desk.guard.close()
    desk.guard = make_guard(DESK, store=f"sqlite:///{desk.path}", clock=desk.clock)
    assert desk.turn("s2", "query") == "done"
    store = Store(desk.path)
    kinds = [entry.kind for entry in store.read(run.id)]
    store.close()
    assert kinds.count("RunEnded") == 1 and kinds[-1] == "BodiesPurged"
