"""The process is killed at every write point of the guard: nothing ran that is not on the disk."""

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ringfence.engine.decision.events import CallDecided
from ringfence.engine.retrospect.record import RunRecord
from ringfence.engine.retrospect.walk import verify_log
from ringfence.engine.seams.errors import RunHaltedError
from ringfence.engine.seams.ports import Entry, Link, RunRow
from ringfence.plugins.sqlite import SqliteStore
from tests.faults.sites import sites
from tests.guards import ALICE, POLICY, make_guard

ROOT = Path(__file__).parent.parent.parent
FULL = {"pay", "both", "two", "passed"}
"""The tools of the policy under `audit full`."""


@pytest.fixture(scope="module")
def children(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("killed")
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.crash", str(folder)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_every_scenario_comes_to_its_end_when_nobody_kills_it(children: list[dict[str, Any]]) -> None:
    whole = [child for child in children if "site" not in child]
    assert whole
    for child in whole:
        assert child["status"] == 0, (Path(child["folder"]) / "stderr").read_text()


def test_every_write_point_in_the_code_was_died_at(children: list[dict[str, Any]]) -> None:
    died = {(child["site"], child["when"]) for child in children if child.get("status") == 9}
    missing = [(str(s), w) for s in sites() for w in ("before", "after") if (str(s), w) not in died]
    assert not missing


def test_what_the_dead_left_behind_verifies_and_nothing_ran_without_its_decision(
    children: list[dict[str, Any]],
) -> None:
    for child in children:
        folder = Path(child["folder"])
        if (folder / "ringfence.db").exists():
            try:
                look(folder)
            except BaseException as error:
                raise AssertionError(f"after dying at {child}") from error


def look(folder: Path) -> None:
    rows, entries, links = asyncio.run(read(folder))
    guard = make_guard(POLICY, store=f"sqlite:///{folder}/ringfence.db")
    assert verify_log(links, [entry for run in entries.values() for entry in run]).intact
    decided: dict[tuple[str, str], set[str]] = {}
    for run, its in entries.items():
        record = RunRecord.read(its, others=lambda other: entries.get(other, []))
        assert record.replay(guard.plan).divergence is None
        for stamped in record.events:
            if isinstance(stamped.event, CallDecided):
                decided.setdefault((run, stamped.event.call), set()).add(stamped.event.verdict)
    effects = folder / "effects"
    for line in effects.read_text().splitlines() if effects.exists() else ():
        run, key, tool, _ = json.loads(line)
        if tool in FULL:
            assert "allow" in decided.get((run, key), set()), f"{tool} ran without its decision"
    for row in rows:
        if row.status == "running":  # its process is dead: it is over, and says so
            with pytest.raises(RunHaltedError):
                guard.resume_run(row.run)
            assert guard.runs.list(limit=None)
    guard.begin_run(principal=ALICE, agent="main")
    with guard.run(principal=ALICE, agent="main", session="s") as later:
        pass  # it goes on with whatever the dead have left in their session
    assert guard.runs.get(later.id).replay().identical
    waiting = {row.run for row in guard.runs.list() if row.status == "suspended"}
    guard.close()
    held = held_by(folder) - waiting
    assert not held, f"{held} are over and hold what they reserved"


def held_by(folder: Path) -> set[str]:
    """Return the runs that hold units which neither their dispatch nor the end of a lease frees."""
    held = "leaves_ns IS NULL OR stands_until_ns > (SELECT latest_ns FROM clock)"
    with closing(sqlite3.connect(folder / "ringfence.db")) as db:
        rows = db.execute(f"SELECT reservation FROM unit WHERE {held}").fetchall()
    return {reservation.partition("/")[0] for (reservation,) in rows}


async def read(folder: Path) -> tuple[list[RunRow], dict[str, list[Entry]], list[Link]]:
    store = SqliteStore(f"sqlite:///{folder}/ringfence.db")
    await store.open()
    assert store.events is not None
    rows = await store.events.runs()
    entries = {row.run: await store.events.read(row.run) for row in rows}
    links = await store.events.links()
    await store.close()
    return rows, entries, links
