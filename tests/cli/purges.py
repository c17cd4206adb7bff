"""Logs to purge, and what can be proved of them."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ringfence.__main__ import main
from ringfence.engine.decision.events import BodiesPurged, RunEnded
from ringfence.engine.seams.loop import EngineLoop
from ringfence.engine.seams.ports import Entry
from ringfence.plugins.sqlite import SqliteStore
from ringfence.plugins.sqlite.log import SqliteLog
from ringfence.testing.stores import ticket
from tests.backtests import Limits, recorded
from tests.cli.test_tampering import alone

DAY_NS = 86_400_000_000_000
NEEDLE = "needle-in-the-haystack"
AGES = {"run-a": 40, "run-b": 35, "run-c": 10, "run-d": 0}
"""Runs, each of a session of its own, and how many days ago they were."""


def written(
    log: SqliteLog, loop: EngineLoop, name: str, days: float, *, over: bool = True, session: str = ""
) -> None:
    made = recorded(
        Limits().plan, session or name, [1, 50, 95], at_ns=time.time_ns() - int(days * DAY_NS) - 10**9
    )
    if over:
        made.record(RunEnded("done", None))
    loop.submit(log.append(made.entries(name))).result()


class Store:
    """A log on the disk, and what stands in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.loop = EngineLoop()
        self.sqlite = SqliteStore(f"sqlite:///{path}")
        self.loop.submit(self.sqlite.open()).result()
        assert self.sqlite.events is not None and self.sqlite.tickets is not None
        self.events, self.tickets = self.sqlite.events, self.sqlite.tickets

    def write(self, name: str, days: float, *, over: bool = True, session: str = "") -> None:
        written(self.events, self.loop, name, days, over=over, session=session)

    def read(self, name: str) -> list[Entry]:
        return self.loop.submit(self.events.read(name)).result()

    def purged(self) -> set[str]:
        rows = self.loop.submit(self.events.runs()).result()
        found = {row.run: self.read(row.run) for row in rows}
        for run, of_run in found.items():
            bodies = {entry.body is None for entry in of_run[:-1]}
            assert len(bodies) == 1, f"{run} is neither whole nor purged"
            assert bodies == {of_run[-1].kind == BodiesPurged.kind}
        return {run for run, of_run in found.items() if of_run[-1].kind == BodiesPurged.kind}

    def close(self) -> None:
        self.loop.submit(self.sqlite.close()).result()
        self.loop.close()


@contextmanager
def stored(folder: Path) -> Iterator[Store]:
    """Write a log that a guard has open: runs of several ages, and tickets."""
    (folder / "same.fence").write_text(Limits().text)
    made = Store(folder / "ringfence.db")
    for name, days in AGES.items():
        made.write(name, days)
        made.loop.submit(
            made.tickets.open(ticket(f"T-{name}", run=name, status="used", arguments={"x": NEEDLE}))
        ).result()
    try:
        yield made
    finally:
        made.close()


def data(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> Any:
    found = main([*words, "--json"])
    said = capsys.readouterr()
    assert found == code, said.err
    return json.loads(said.out)


def intact(capsys: pytest.CaptureFixture[str], path: Path) -> Any:
    """Return what `verify` says of a log that must be intact; the verifier of the documentation agrees."""
    said = data(capsys, "verify", "--store", str(path))
    assert said["intact"] and alone(path, said["head"]) == (said["head"], None)
    return said
