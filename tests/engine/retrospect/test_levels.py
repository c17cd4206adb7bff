"""The session's level over a run: what the fold that decided says, and where it cannot be told."""

import sqlite3
from contextlib import closing
from pathlib import Path

from ringfence.engine.decision.events import CallFinished
from ringfence.engine.retrospect.levels import Levels, levels
from ringfence.testing import FakeClock
from tests.guards import ALICE, call, make_guard

POLICY = """
language 1
policy desk
levels public < internal < secret
agent main { holds read_data stop after 50 minutes }
capability read_data is read
tool query {
  needs read_data
  takes table: text
  allow always
  result is secret when table == "payments"
  result is internal otherwise
}
"""
TABLES = ("orders", "orders", "payments", "orders")


def told(file: Path, *, purge: str = "", policy: str = POLICY) -> tuple[Levels, list[int]]:
    """Return the levels of the second run of a session, and the numbers of its results."""
    url, clock = f"sqlite:///{file}", FakeClock()
    guard = make_guard(policy, store=url, clock=clock)
    for tables in (TABLES[:1], TABLES):
        with guard.run(principal=ALICE, agent="main", session="s") as run:
            for table in tables:
                guard.execute(run, call("query", table=table), lambda _: "something")
    guard.close()
    if purge:
        with closing(sqlite3.connect(file)) as db, db:
            db.execute(f"UPDATE event SET body = NULL, salt = x'' WHERE {purge}")
    guard = make_guard(policy, store=url, clock=clock)
    try:
        record = guard.runs.get(run.id)
        finished = [one.seq for one in record.events if isinstance(one.event, CallFinished)]
        return levels(record), finished
    finally:
        guard.close()


def test_the_level_rises_with_the_result_that_was_shown_and_never_falls(tmp_path: Path) -> None:
    known, results = told(tmp_path / "r.db")
    assert known.names == ("public", "internal", "secret") and known.because is None
    assert [(one.seq, one.rank) for one in known.changes] == [(1, 1), (results[2], 2)]
    assert known.after(results[2] - 1) == known.changes[0]
    assert known.after(results[3]) == known.changes[1]
    assert known.after(0) is None


def test_a_policy_without_levels_has_none(tmp_path: Path) -> None:
    bare = "\n".join(line for line in POLICY.split("\n") if not line.strip().startswith(("levels", "result")))
    assert told(tmp_path / "r.db", policy=bare)[0] == Levels(())


def test_from_a_purged_event_on_the_level_is_not_known(tmp_path: Path) -> None:
    known, _ = told(tmp_path / "r.db", purge="kind = 'CallFinished' AND run_id = 2 AND seq > 8")
    assert known.changes[0].rank == 1
    assert known.changes[-1].rank is None
    assert known.because is not None and "was purged" in known.because


def test_if_the_run_before_was_purged_it_is_not_known_at_all(tmp_path: Path) -> None:
    known, _ = told(tmp_path / "r.db", purge="kind = 'CallFinished' AND run_id = 1")
    assert [one.rank for one in known.changes] == [None]
    assert known.because is not None and "was purged" in known.because
