"""A run that a guard recorded, with a bit of everything a page shows: for tests of the page."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ringfence.dsl.plan import Json
from ringfence.engine.decision.events import ModelAnswered, ModelAsked, PromptGiven
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.seams.errors import DeniedError, PendingError
from ringfence.testing import FakeClock
from tests.guards import ALICE, call, make_guard

POLICY = """language 1
policy desk
levels public < internal < personal
capability read_data is read
capability send is external
approver lead { group "leads" never the requester answer within 15 minutes otherwise deny }
agent main { holds read_data, send stop after 5 hours at most 5000 calls at most 50 denials may start helper }
agent helper { holds read_data }
tool query {
  needs read_data
  takes table: text
  allow always
  result is personal when table == "customers"
  result is internal otherwise
}
tool mail {
  needs send
  takes to: text
  allow when to != "eve@evil.example"
  ask lead when to == "bob@acme.example"
  rate 9 per hour
}
tool post { needs send takes body: text allow always }

rule leave:
  deny post when after reading personal
  because "customers' data stays here"
"""


def recorded(file: Path) -> str:
    """Record the run and return its id."""
    clock = FakeClock()
    guard = make_guard(POLICY, store=f"sqlite:///{file}", clock=clock)
    try:
        return _play(guard, clock)
    finally:
        guard.close()


def _play(guard: Guard, clock: FakeClock) -> str:
    run = guard.begin_run(
        principal=ALICE, agent="main", session="s", prompt="Mail bob@acme.example our newest customers."
    )
    guard.record(run, PromptGiven("system", "You work at a desk."))
    _model(guard, run, clock, "m1", "query", {"table": "customers"}, 1.5)

    def rows() -> Json:
        clock.advance(0.75)
        return [{"name": f"Customer {number}", "email": f"c{number}@x.example"} for number in range(40)]

    guard.execute(run, call("query", "c1", table="customers"), rows_of(rows))
    _model(guard, run, clock, "m2", "post", {"body": "all of them"}, 2.25)
    with pytest.raises(DeniedError):
        guard.execute(run, call("post", "c2", body="all of them"), rows_of(rows))
    _model(guard, run, clock, "m3", "mail", {"to": "bob@acme.example"}, 1)
    mail = call("mail", "c3", to="bob@acme.example")
    with pytest.raises(PendingError) as pending:
        guard.execute(run, mail, rows_of(lambda: "sent"), wait=False)
    guard.suspend(run)
    clock.advance(6)
    guard.approve(pending.value.tickets[0], by="dana", because="bob is ours")
    run = guard.resume_run(run.id)

    def sent() -> Json:
        clock.advance(0.5)
        return "sent"

    guard.execute(run, mail, rows_of(sent))
    helper = guard.begin_run(principal=ALICE, agent="helper", session="s", parent=run)
    guard.execute(helper, call("query", "h1", table="orders"), rows_of(lambda: ["one"]))
    guard.end_run(helper)

    def fails() -> Json:
        raise ValueError("the mail server is away")

    with pytest.raises(ValueError, match="away"):
        guard.execute(run, call("mail", "c4", to="ann@acme.example"), rows_of(fails))
    guard.end_run(run)
    return run.id


def rows_of(gives: Callable[[], Json]) -> Callable[[object], Json]:
    """Return a tool body that gives this, whatever its arguments."""
    return lambda _: gives()


def _model(
    guard: Guard, run: Run, clock: FakeClock, request: str, tool: str, arguments: Json, seconds: float
) -> None:
    messages = [{"type": "human", "data": {"type": "human", "content": "Mail bob our newest customers."}}]
    guard.record(run, ModelAsked(request, "model-7", messages, [{"name": tool}], {"temperature": 0}, None))
    clock.advance(seconds)
    wants = {"name": tool, "args": arguments, "id": request}
    said = [{"type": "ai", "data": {"type": "ai", "content": "", "tool_calls": [wants]}}]
    usage = {"input_tokens": 100, "output_tokens": 20}
    guard.record(run, ModelAnswered(request, said, usage, round(seconds * 1e9), None))
