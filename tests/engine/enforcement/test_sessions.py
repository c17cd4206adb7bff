"""A session remembers: turns, overlapping runs, other processes, runs whose record is purged."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ringfence.engine.decision.events import (
    PromptGiven,
    RunEvent,
    RunStarted,
    Stamped,
    SubrunCounted,
    SubrunJoined,
)
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.retrospect.record import RecordError
from ringfence.engine.seams.errors import DeniedError, EngineError, PendingError, RunHaltedError
from ringfence.testing import FakeClock
from tests.guards import ALICE, call, events_of, make_guard

DESK = """
language 1
policy desk
levels public < internal < secret
capability read_data is read
capability send is external
approver lead { group "leads" never the requester answer within 15 minutes otherwise deny }
agent main { holds read_data, send stop after 50 minutes at most 12 calls at most 3 denials may start helper }
agent helper { holds read_data, send at most 10 calls }
agent other { holds read_data }
tool query {
  needs read_data
  takes table: text
  allow always
  result is secret when table == "payments"
  result is internal otherwise
  rate 5 per run
}
tool mail {
  needs send
  takes to: text
  allow always
  require known: to comes only from [user, query]
  rate 90 per hour
}
tool post { needs send takes body: text allow always rate 90 per hour }
tool sign { needs read_data takes body: text allow always ask lead result is public }
tool once { needs read_data takes body: text allow always result is public rate 1 per run otherwise halt }
rule leave: deny post when after reading secret
rule often: deny post when calls to query > 3
"""


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/ringfence.db"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def guard(url: str, clock: FakeClock) -> Iterator[Guard]:
    guard = make_guard(DESK, store=url, clock=clock)
    yield guard
    guard.close()


def begin(guard: Guard, **more: Any) -> Run:
    return guard.begin_run(**{"principal": ALICE, "agent": "main", "session": "s", **more})


def query(guard: Guard, run: Run, table: str = "orders", result: Any = "nothing") -> Any:
    return guard.execute(run, call("query", table=table), lambda _: result)


def post(guard: Guard, run: Run) -> str:
    """Post something and say what became of it."""
    return decided(guard, run, "post", body="x")


def decided(guard: Guard, run: Run, tool: str, **arguments: Any) -> str:
    try:
        guard.execute(run, call(tool, **arguments), lambda _: "sent")
    except DeniedError as denied:
        assert denied.decision is not None
        return "denied by " + ", ".join(
            r.name for r in denied.decision.reasons if r.effect in ("deny", "halt")
        )
    return "done"


def all_replay(guard: Guard) -> int:
    rows = guard.runs.list()
    for row in rows:
        replay = guard.runs.get(row.run).replay()
        assert replay.identical, replay.divergence
    return len(rows)


def continues(guard: Guard, run: Run) -> list[Any]:
    (started,) = [event for event in events_of(guard, run) if isinstance(event, RunStarted)]
    return [list(point) for point in started.continues]


def elsewhere(url: str, clock: FakeClock, policy: str = DESK) -> Guard:
    return make_guard(policy, store=url, clock=clock)


# ---- turns ---------------------------------------------------------------------------------------


def test_a_second_turn_cannot_launder_what_the_first_has_read(guard: Guard, clock: FakeClock) -> None:
    first = begin(guard)
    query(guard, first, "payments", "IBAN DE89")
    guard.end_run(first)
    clock.advance(1)
    second = begin(guard)
    assert post(guard, second) == "denied by leave"
    guard.end_run(second)
    assert continues(guard, second) == [[first.id, first.state.seq]]
    another = begin(guard, session="t")
    assert post(guard, another) == "done", "another session has read nothing"
    guard.end_run(another)
    assert all_replay(guard) == 3


def test_a_turn_that_has_read_nothing_secret_leaves_the_next_one_free(guard: Guard) -> None:
    first = begin(guard)
    query(guard, first)
    guard.end_run(first)
    second = begin(guard)
    assert post(guard, second) == "done"


def test_calls_of_earlier_turns_count_and_so_does_what_the_user_typed(guard: Guard, clock: FakeClock) -> None:
    for prompt in ("mail bob@acme.example", "more"):
        with guard.run(principal=ALICE, agent="main", session="s", prompt=prompt) as run:
            query(guard, run)
            query(guard, run)
        clock.advance(1)
    third = begin(guard)
    assert decided(guard, third, "mail", to="bob@acme.example") == "done"
    assert decided(guard, third, "mail", to="eve@evil.example") == "denied by mail.known"
    assert post(guard, third) == "denied by often"
    guard.end_run(third)
    assert all_replay(guard) == 3


def test_another_process_remembers_the_same(guard: Guard, url: str, clock: FakeClock) -> None:
    first = begin(guard, prompt="mail bob@acme.example")
    query(guard, first, "payments")
    guard.end_run(first)
    clock.advance(1)
    other = elsewhere(url, clock)
    second = begin(other)
    assert post(other, second) == "denied by leave"
    assert decided(other, second, "mail", to="bob@acme.example") == "done"
    other.end_run(second)
    clock.advance(1)
    third = begin(guard)  # what this process knew is not all any more
    assert post(guard, third) == "denied by leave"
    guard.end_run(third)
    assert continues(guard, third) == [[second.id, second.state.seq]]
    assert all_replay(guard) == 3
    other.close()


def test_a_policy_of_another_digest_folds_the_session_anew_with_its_own_labels(
    guard: Guard, url: str, clock: FakeClock
) -> None:
    first = begin(guard)
    query(guard, first, "orders")
    guard.end_run(first)
    guard.close()
    stricter = elsewhere(
        url, clock, DESK.replace("result is internal otherwise", "result is secret otherwise")
    )
    second = begin(stricter)
    assert post(stricter, second) == "denied by leave"
    stricter.end_run(second)
    assert all_replay(stricter) == 2
    stricter.close()


@pytest.mark.parametrize(
    ("was", "now"),
    [
        ("takes table: text\n  allow always", 'takes table: text\n  allow when table == "orders"'),
        ("rate 5 per run", "rate 5 per run\n  rate 9 per hour for each user"),
        ("takes table: text\n  allow", "takes table: text, why: text\n  allow"),
        ("agent main { holds read_data, send", "agent main { holds send"),
        ("takes table: text\n  allow always", "takes table: text\n  allow always\n  ask lead"),
    ],
)
def test_what_was_read_keeps_its_label_under_a_policy_that_would_have_denied_it(
    guard: Guard, url: str, clock: FakeClock, was: str, now: str
) -> None:
    first = begin(guard)
    query(guard, first, "payments")
    guard.end_run(first)
    guard.close()
    assert was in DESK
    stricter = elsewhere(url, clock, DESK.replace(was, now, 1))
    second = begin(stricter)
    assert post(stricter, second) == "denied by leave"
    stricter.end_run(second)
    assert all_replay(stricter) == 2
    stricter.close()


def test_a_session_whose_runs_asked_nothing_of_history_is_remembered_by_one_that_does(
    url: str, clock: FakeClock
) -> None:
    plain = DESK.split("rule leave")[0].replace("comes only from [user, query]", 'starts with "b"')
    plain = plain.replace("levels public < internal < secret", "").replace("ask lead", "")
    plain = "\n".join(line for line in plain.splitlines() if "result is" not in line or "tool" in line)
    plain = plain.replace("result is public", "")
    before = elsewhere(url, clock, plain)
    for _ in range(2):
        run = begin(before)
        query(before, run, "payments")
        before.end_run(run)
        clock.advance(1)
    before.close()
    after = elsewhere(url, clock)
    run = begin(after)
    assert post(after, run) == "denied by leave"
    after.end_run(run)
    assert all_replay(after) == 3
    after.close()


# ---- suspended, overlapping, unclean, purged ---------------------------------------------------------


def test_a_suspended_run_is_remembered_and_goes_on_with_what_it_knew(
    guard: Guard, url: str, clock: FakeClock
) -> None:
    first = begin(guard)
    query(guard, first, "payments")
    with pytest.raises(PendingError):
        guard.execute(first, call("sign", "c1", body="x"), lambda _: "signed", wait=False)
    guard.suspend(first)
    clock.advance(1)
    second = begin(guard)
    assert post(guard, second) == "denied by leave"
    guard.end_run(second)
    other = elsewhere(url, clock)
    again = other.resume_run(first.id)
    assert post(other, again) == "denied by leave"
    other.end_run(again)
    assert all_replay(guard) == 2
    other.close()


def test_runs_that_overlap_remember_what_each_had_seen_when_the_other_began(
    guard: Guard, url: str, clock: FakeClock
) -> None:
    one = begin(guard)
    clock.advance(1)
    two = begin(guard)
    query(guard, one, "payments")
    assert post(guard, two) == "done", "two began before one had read anything"
    query(guard, two)
    query(guard, two)
    assert post(guard, one) == "denied by leave"
    clock.advance(1)
    three = begin(guard)
    assert post(guard, three) == "denied by leave"
    for run in (one, two, three):
        guard.end_run(run)
    clock.advance(1)
    four = begin(guard)
    query(guard, four)
    assert post(guard, four) == "denied by leave, often", "three queries in three runs, and its own"
    guard.end_run(four)
    assert all_replay(guard) == 4
    other = elsewhere(url, clock)
    five = begin(other)
    assert post(other, five) == "denied by leave, often"
    other.end_run(five)
    other.close()
    assert all_replay(guard) == 5


def test_what_was_purged_leaves_everything_undecided_and_a_replay_says_so(
    guard: Guard, url: str, clock: FakeClock
) -> None:
    first = begin(guard)
    query(guard, first)
    guard.end_run(first)
    clock.advance(1)
    second = begin(guard)
    assert post(guard, second) == "done"
    guard.end_run(second)
    guard.close()
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as db, db:
        db.execute("UPDATE event SET body = NULL, salt = x'' WHERE kind = 'CallFinished' AND run_id = 1")
    other = elsewhere(url, clock)
    with pytest.raises(RecordError, match=f"{first.id}.*was purged"):
        other.runs.get(second.id).replay()
    third = begin(other)
    assert post(other, third) == "denied by leave!error, often!error"
    other.end_run(third)
    assert continues(other, third)[0][2] == "unknown"
    assert other.runs.get(third.id).replay().identical, "it was undecided then, and is so again"
    other.close()


def test_a_replay_says_which_run_is_missing(guard: Guard, clock: FakeClock) -> None:
    first = begin(guard)
    guard.end_run(first)
    clock.advance(1)
    second = begin(guard)
    post(guard, second)
    guard.end_run(second)
    record = guard.runs.get(second.id)
    with pytest.raises(RecordError, match=f"goes on from run `{first.id}`, which is not in the log"):
        replace(record, others=lambda _: []).replay()
    with pytest.raises(RecordError, match="no log is at hand"):
        replace(record, others=None).replay()


def test_a_replay_reads_the_runs_it_goes_on_from_and_no_others(guard: Guard, clock: FakeClock) -> None:
    last: Run | None = None
    for session in ("s", "t", "s", "u", "s"):
        last = begin(guard, session=session)
        guard.end_run(last)
        clock.advance(1)
    assert last is not None
    record = guard.runs.get(last.id)
    asked: list[str] = []

    def others(run: str) -> Any:
        asked.append(run)
        assert record.others is not None
        return record.others(run)

    assert replace(record, others=others).replay().identical
    assert len(asked) == 2


def test_a_host_message_without_origin_is_as_secret_as_can_be(guard: Guard) -> None:
    run = begin(guard)
    assert post(guard, run) == "done"
    guard.record(run, PromptGiven("host", "from somewhere"))
    assert post(guard, run) == "denied by leave"


def test_an_attachment_is_a_source_of_its_own(guard: Guard, url: str, clock: FakeClock) -> None:
    policy = DESK.replace("comes only from [user, query]", "comes only from [attachment]")
    other = elsewhere(url, clock, policy)
    with other.run(
        principal=ALICE, agent="main", prompt="mail bob@a.example", attachments=["eve@a.example"]
    ) as run:
        assert decided(other, run, "mail", to="bob@a.example") == "denied by mail.known"
        assert decided(other, run, "mail", to="eve@a.example") == "done"
    assert all_replay(other) == 1
    other.close()


def test_only_an_agent_that_may_start_another_sees_the_tool_that_does(guard: Guard) -> None:
    assert guard.visible(begin(guard), ["query", "helper", "nothing"]) == ["query", "helper"]
    assert guard.visible(begin(guard, agent="helper"), ["query", "helper"]) == ["query"]


# ---- runs inside of runs ---------------------------------------------------------------------------


def start_helper(guard: Guard, run: Run, body: Any) -> Any:
    """Call the tool that starts the helper, which does `body` in a run of its own."""

    def work(_: Any) -> Any:
        with guard.run(principal=ALICE, agent="helper", session="s", parent=run) as child:
            return body(child)

    return guard.execute(run, call("helper", task="x"), work)


def test_what_a_sub_agent_reads_its_parent_carries_before_the_result_arrives(
    guard: Guard, url: str, clock: FakeClock
) -> None:
    run = begin(guard)
    assert post(guard, run) == "done"
    start_helper(guard, run, lambda child: query(guard, child, "payments"))
    assert post(guard, run) == "denied by leave"
    kinds = [event.kind for event in events_of(guard, run)]
    assert kinds.index("SubrunJoined") < kinds.index("CallFinished", kinds.index("SubrunStarted"))
    guard.end_run(run)
    assert all_replay(guard) == 2
    clock.advance(1)
    other = elsewhere(url, clock)
    later = begin(other)
    assert post(other, later) == "denied by leave"
    other.end_run(later)
    assert all_replay(other) == 3
    other.close()


def test_a_sub_agent_begins_with_what_its_parent_knows(guard: Guard) -> None:
    run = begin(guard, prompt="mail bob@acme.example")
    seen: list[str] = []

    def body(child: Run) -> None:
        seen.append(decided(guard, child, "mail", to="bob@acme.example"))
        seen.append(post(guard, child))

    query(guard, run)
    start_helper(guard, run, body)
    query(guard, run, "payments")
    with guard.run(principal=ALICE, agent="helper", session="s", parent=run) as child:
        seen.append(post(guard, child))
    assert seen == ["done", "done", "denied by leave"]
    guard.end_run(run)
    assert all_replay(guard) == 3


def test_a_sub_agent_outside_of_a_call_is_joined_at_its_end(guard: Guard) -> None:
    run = begin(guard)
    with guard.run(principal=ALICE, agent="helper", session="s", parent=run) as child:
        query(guard, child, "payments")
        assert post(guard, run) == "done"
    assert post(guard, run) == "denied by leave"
    (joined,) = [event for event in events_of(guard, run) if isinstance(event, SubrunJoined)]
    assert (joined.run, joined.call, joined.seq) == (child.id, None, child.state.seq)
    guard.end_run(run)
    assert all_replay(guard) == 2


def test_a_sub_agent_of_a_sub_agent_is_joined_through_both(guard: Guard, url: str, clock: FakeClock) -> None:
    run = begin(guard)

    def deeper(child: Run) -> None:
        with guard.run(principal=ALICE, agent="helper", session="s", parent=child) as inner:
            query(guard, inner, "payments")

    start_helper(guard, run, deeper)
    assert post(guard, run) == "denied by leave"
    guard.end_run(run)
    assert all_replay(guard) == 3


def test_an_agent_may_start_only_whom_the_policy_says(guard: Guard) -> None:
    run = begin(guard)
    with pytest.raises(EngineError, match="the agent `main` may not start `other`"):
        guard.begin_run(principal=ALICE, agent="other", parent=run)

    def wrong(_: Any) -> None:
        guard.begin_run(principal=ALICE, agent="main", parent=run)

    with pytest.raises(EngineError, match="a call of `helper` starts the agent `helper`"):
        guard.execute(run, call("helper"), wrong)
    helper = begin(guard, agent="helper", session="h")
    with pytest.raises(EngineError, match="the agent `helper` may not start `main`"):
        guard.begin_run(principal=ALICE, agent="main", parent=helper)


def test_budgets_per_run_count_the_whole_tree(guard: Guard) -> None:
    run = begin(guard)
    for _ in range(3):
        query(guard, run)
    said: list[str] = []

    def body(child: Run) -> None:
        said.extend(decided(guard, child, "query", table="orders") for _ in range(3))

    start_helper(guard, run, body)
    assert said == ["done", "done", "denied by query.rate"]
    assert decided(guard, run, "query", table="orders") == "denied by query.rate"
    counted = [event for event in events_of(guard, run) if isinstance(event, SubrunCounted)]
    assert [event.counted for event in counted] == ["decided", "started"] * 2 + ["decided"]
    guard.end_run(run)
    assert all_replay(guard) == 2


def test_calls_and_denials_count_the_whole_tree_and_halt_whom_they_bound(guard: Guard) -> None:
    run = begin(guard)

    def probes(child: Run) -> None:
        for number in range(4):
            with suppress(DeniedError):
                guard.execute(child, call("nothing", number=number), lambda _: 1)

    with pytest.raises(RunHaltedError):
        start_helper(guard, run, probes)
    assert run.state.halted is not None and run.state.halted.name == "main.denials"
    guard.end_run(run)
    run = begin(guard, session="calls")
    assert [post(guard, run) for _ in range(5)] == ["done"] * 5

    def many(child: Run) -> None:
        for number in range(12):
            guard.execute(child, call("post", body=str(number)), lambda _: 1)

    with pytest.raises(RunHaltedError):
        start_helper(guard, run, many)
    assert run.state.halted is not None and run.state.halted.name == "main.calls"
    guard.end_run(run)
    assert all_replay(guard) == 4


def test_a_budget_that_halts_halts_the_tree_it_counts(guard: Guard) -> None:
    run = begin(guard)
    assert decided(guard, run, "once", body="x") == "done"
    with pytest.raises((DeniedError, RunHaltedError)):
        start_helper(guard, run, lambda child: guard.execute(child, call("once", body="y"), lambda _: 1))
    assert run.state.halted is not None and run.state.halted.name == "once.rate"
    guard.end_run(run)
    assert all_replay(guard) == 2


def test_a_refund_in_a_sub_run_gives_back_in_the_whole_tree(guard: Guard) -> None:
    run = begin(guard)
    with guard.run(principal=ALICE, agent="helper", session="s", parent=run) as child:
        decision = guard.authorize(child, call("query", "c1", table="orders"))
        assert decision.allowed and run.state.places_taken == 1
    assert run.state.places_taken == 0 and not run.state.windows
    guard.end_run(run)
    assert all_replay(guard) == 2


def test_a_run_is_not_put_away_while_one_inside_of_it_goes_on(guard: Guard) -> None:
    run = begin(guard)
    child = guard.begin_run(principal=ALICE, agent="helper", session="s", parent=run)
    with pytest.raises(EngineError, match="goes on"):
        guard.suspend(run)
    assert query(guard, child) == "nothing"
    guard.suspend(child)
    guard.suspend(run)
    run = guard.resume_run(run.id)
    child = guard.resume_run(child.id)
    for table in ("a", "b", "c"):
        query(guard, child, table)
    guard.end_run(child)
    assert query(guard, run, "d") == "nothing"
    assert decided(guard, run, "query", table="e") == "denied by query.rate"
    assert all_replay(guard) == 2


def test_a_sub_run_goes_on_only_with_the_run_around_it(guard: Guard, url: str, clock: FakeClock) -> None:
    run = begin(guard)
    child = guard.begin_run(principal=ALICE, agent="helper", session="s", parent=run)
    query(guard, child, "payments")
    guard.suspend(child)
    guard.suspend(run)
    other = elsewhere(url, clock)
    with pytest.raises(EngineError, match="does not go on here"):
        other.resume_run(child.id)
    around = other.resume_run(run.id)
    again = other.resume_run(child.id)
    query(other, again)
    assert around.state.places_taken == 2
    other.end_run(again)
    assert post(other, around) == "denied by leave"
    other.end_run(around)
    assert all_replay(other) == 2
    other.close()


# ---- a run that does not begin -------------------------------------------------------------------


@pytest.mark.parametrize("fails", ["RunStarted", "PromptGiven"])
def test_a_run_that_did_not_begin_takes_no_memory_along(
    guard: Guard, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    first = begin(guard)
    query(guard, first, "payments")
    guard.end_run(first)
    journal = guard.opening.ready.journal
    record = journal.record

    def refusing(run: str, event: RunEvent, **more: Any) -> Stamped:
        if event.kind == fails:
            raise EngineError("a required sink fails")
        return record(run, event, **more)

    monkeypatch.setattr(journal, "record", refusing)
    for _ in range(2):
        with pytest.raises(EngineError, match="a required sink fails"):
            begin(guard, prompt="go on")
    monkeypatch.undo()
    run = begin(guard)
    assert post(guard, run) == "denied by leave"
    assert fails == "PromptGiven" or continues(guard, run) == [[first.id, first.state.seq]]
    all_replay(guard)


def test_two_runs_that_begin_at_once_both_remember(guard: Guard, monkeypatch: pytest.MonkeyPatch) -> None:
    first = begin(guard)
    query(guard, first, "payments")
    guard.end_run(first)
    journal = guard.opening.ready.journal
    record, runs = journal.record, list[Run]()

    def another_first(run: str, event: RunEvent, **more: Any) -> Stamped:
        if event.kind == "RunStarted" and not runs:
            monkeypatch.undo()
            runs.append(begin(guard))
        return record(run, event, **more)

    monkeypatch.setattr(journal, "record", another_first)
    runs.append(begin(guard))
    third = begin(guard)
    for run in (*runs, third):
        assert post(guard, run) == "denied by leave"
        guard.end_run(run)
    all_replay(guard)


def test_what_a_run_does_while_the_next_one_begins_is_remembered(
    guard: Guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = begin(guard)
    journal = guard.opening.ready.journal
    record, ended = journal.record, list[Run]()

    def reads_meanwhile(run: str, event: RunEvent, **more: Any) -> Stamped:
        if event.kind == "RunStarted" and not ended:
            monkeypatch.undo()
            query(guard, first, "payments")
            guard.end_run(first)
            ended.append(first)
        return record(run, event, **more)

    monkeypatch.setattr(journal, "record", reads_meanwhile)
    second = begin(guard)
    third = begin(guard)
    assert ended and post(guard, third) == "denied by leave"
    for run in (second, third):
        guard.end_run(run)
    all_replay(guard)


def test_of_the_runs_of_a_session_only_the_last_is_kept(guard: Guard) -> None:
    for policy in (DESK, BLIND):
        own = make_guard(policy)
        for _ in range(5):
            own.end_run(begin(own))
        assert len(own._lifecycle._memories._sessions["s"].leaves) == 1
        own.close()


BLIND = """
language 1
policy blind
capability read_data is read
agent main { holds read_data }
tool query { needs read_data takes table: text allow always }
"""
"""No rule asks for anything that was before."""
