"""What a list of runs shows, folded from the events as they are appended: the same in every store."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace

from ringfence.dsl.plan import Json
from ringfence.engine.seams.ports import Entry, RunRow

FINAL = frozenset({"halted", "done", "failed"})
"""A run of such a status stays in it."""

OVER = frozenset({"RunEnded", "BodiesPurged"})
"""A run whose last event is of such a kind is over: nothing but a purge comes after its end."""


TELLING = frozenset({"RunStarted", "RunSuspended", "RunResumed", "RunHalted", "RunEnded"})
"""Events of which a row says more than that they are there."""


def row_after_all(row: RunRow | None, entries: Iterable[Entry]) -> RunRow | None:
    """Return the run's row once all of these are appended, in order; most only count."""
    plain: list[Entry] = []
    for entry in entries:
        if row is None or entry.kind in TELLING:
            row = row_after(row if row is None else _counted(row, plain), entry)
            plain = []
        else:
            plain.append(entry)
    return row if row is None else _counted(row, plain)


def _counted(row: RunRow, plain: Sequence[Entry]) -> RunRow:
    if not plain:
        return row
    last_ns = max(row.last_ns, max([entry.at_ns for entry in plain]))
    return replace(row, last_ns=last_ns, events=row.events + len(plain), head=plain[-1].hash)


def row_after(row: RunRow | None, entry: Entry) -> RunRow:
    """Return the run's row once `entry` is appended; `row` is None before its first event."""
    if row is None:
        row = RunRow(
            run=entry.run,
            session=entry.run,
            agent="",
            user=None,
            workspace=None,
            policy="",
            status="running",
            started_ns=entry.at_ns,
            last_ns=entry.at_ns,
            events=0,
            head=entry.prev,
        )
    grown = RunRow(  # written out: `replace` costs three times as much, and this runs for each event
        run=row.run,
        session=row.session,
        agent=row.agent,
        user=row.user,
        workspace=row.workspace,
        policy=row.policy,
        status=row.status if row.status in FINAL else _status(row.status, entry),
        started_ns=row.started_ns,
        last_ns=max(row.last_ns, entry.at_ns),
        events=row.events + 1,
        head=entry.hash,
        parent=row.parent,
    )
    return _named(grown, _body(entry)) if entry.kind == "RunStarted" else grown


def _status(status: str, entry: Entry) -> str:
    match entry.kind:
        case "RunSuspended":
            return "suspended"
        case "RunStarted" | "RunResumed":
            return "running"
        case "RunHalted":
            return "halted"
        case "RunEnded":
            said = _body(entry).get("status")
            return said if isinstance(said, str) and said in FINAL else "failed"
        case _:
            return status


def _named(row: RunRow, body: dict[str, Json]) -> RunRow:
    principal = body.get("principal")
    said = principal if isinstance(principal, dict) else {}
    return replace(
        row,
        session=_text(body.get("session")) or row.session,
        agent=_text(body.get("agent")) or row.agent,
        user=_text(said.get("user")),
        workspace=_text(said.get("workspace")),
        policy=_text(body.get("policy")) or row.policy,
        parent=_text(body.get("parent")),
    )


def _text(value: Json) -> str | None:
    return None if value is None else value if isinstance(value, str) else json.dumps(value)


def _body(entry: Entry) -> dict[str, Json]:
    body = json.loads(entry.body) if entry.body is not None else None
    return body if isinstance(body, dict) else {}
