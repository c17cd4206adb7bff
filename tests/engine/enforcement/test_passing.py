"""The quick way from a request to the body: the same record and outcome as the long way, or nothing done."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from ringfence.dsl.plan import Json, Reason
from ringfence.engine.decision.calls import NO_FACTS, Decision, Facts, Refusal, ToolCall
from ringfence.engine.decision.decide import assess, conclude
from ringfence.engine.decision.records import Form
from ringfence.engine.decision.written import requested_body
from ringfence.engine.enforcement import deciding
from ringfence.engine.enforcement.admission import in_thread
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.enforcement.passing import Passing, passing
from ringfence.engine.enforcement.requests import given as given_of
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.seams.errors import EngineError, RingfenceError
from ringfence.engine.seams.ports import Entry
from ringfence.plugins.memory.ledger import MemoryLedger
from ringfence.testing import FakeClock
from tests.guards import ALICE, call, kinds_of, make_guard


def _said(**values: Sequence[Json]) -> st.SearchStrategy[dict[str, Json]]:
    return st.fixed_dictionaries({name: st.sampled_from(among) for name, among in values.items()})


CALLS = st.one_of(
    st.tuples(
        st.just("look"), st.fixed_dictionaries({"what": st.sampled_from(["a", "secret", 'q"\n', "ü"])})
    ),
    st.tuples(st.just("mail"), _said(to=["a@b.example", "nobody"])),
    st.tuples(st.just("rows"), _said(table=["t", "u"])),
    st.tuples(
        st.sampled_from(["pay", "tries"]), st.fixed_dictionaries({"amount": st.sampled_from([1, 101])})
    ),
    st.tuples(st.sampled_from(["mine", "quiet", "slow"]), _said(what=["alice"])),
    st.tuples(st.sampled_from(["free", "none"]), _said()),
)
_MADE = {"RunStarted", "ApprovalAsked"}
"""Kinds of events that name something that is made up anew."""
STEPS = st.lists(
    st.tuples(CALLS, st.sampled_from([None, "c1", "c2"]), st.sampled_from([0, 0, 0, 50])),
    min_size=8,
    max_size=40,
)


@contextmanager
def long_way_only(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patched:
        patched.setattr(deciding, "passing", lambda *_, **__: None)
        yield


def told(steps: Sequence[Any]) -> tuple[list[str], list[Any], dict[str, Any]]:
    """Return what each call gave, the log's entries without what differs in each run, and the state."""
    clock = FakeClock()
    guard = make_guard(clock=clock)
    run = guard.begin_run(principal=ALICE)
    run.secret = b"of every run"
    given = []
    for (tool, arguments), call_id, seconds in steps:
        clock.advance(seconds)
        try:
            made = call(tool, call_id, **arguments)
            given.append(repr(guard.execute(run, made, lambda said: [1, said], wait=False)))
        except RingfenceError as error:  # a ticket has a name of its own
            given.append(type(error).__name__)
    guard.opening.ready.journal.flush().result(30)
    read: Future[list[Entry]] = guard.opening.submit(guard.opening.ready.log.read(run.id))
    entries = [
        (one.seq, one.kind, one.at_ns, None if one.kind in _MADE else one.body) for one in read.result(30)
    ]
    state = {
        name: getattr(run.state, name)
        for name in ("seq", "latest_ns", "places_taken", "denials", "requests", "in_flight", "attempts")
    }
    state["calls"] = {
        key: [getattr(known, name) for name in ("verdict", "digest", "started_ns", "holds", "takes_place")]
        for key, known in run.state.calls.items()
    }
    windows = [(key, repr(vars_of(window))) for key, window in run.state.windows.items()]
    guard.close()
    return given, entries, {**state, "windows": windows}


def vars_of(window: Any) -> dict[str, Any]:
    return {name: getattr(window, name) for name in type(window).__slots__}


@settings(max_examples=10, deadline=None, phases=[Phase.generate])
@given(STEPS)
def test_calls_come_out_the_same_both_ways(steps: list[Any]) -> None:
    quick = told(steps)
    with long_way_only(pytest.MonkeyPatch()):
        long = told(steps)
    assert quick == long


@pytest.fixture
def guard() -> Iterator[Guard]:
    made = make_guard(clock=FakeClock())
    yield made
    made.close()


@pytest.fixture
def run(guard: Guard) -> Run:
    return guard.begin_run(principal=ALICE)


def mail(guard: Guard, run: Run) -> Any:
    return guard.execute(run, call("mail", to="a@b.example"), lambda _: "sent")


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each call that could went the quick way."""
    found: list[bool] = []

    def noted(*args: Any, **named: Any) -> Passing | None:
        passed = passing(*args, **named)
        found.append(passed is not None)
        return passed

    monkeypatch.setattr(deciding, "passing", noted)
    return found


def test_the_second_call_of_a_tool_goes_the_quick_way(guard: Guard, run: Run, passes: list[bool]) -> None:
    assert [mail(guard, run) for _ in range(3)] == ["sent"] * 3
    assert passes == [False, True, True]
    assert kinds_of(guard, run)[1:] == ["CallRequested", "CallDecided", "CallStarted", "CallFinished"] * 3


def test_a_log_without_room_for_all_three_takes_them_one_by_one(
    guard: Guard, run: Run, passes: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    mail(guard, run)
    journal = guard.opening.ready.journal
    journal.flush().result(30)
    monkeypatch.setattr(journal, "_limit", 2)
    assert mail(guard, run) == "sent"
    assert passes == [False, False]
    assert kinds_of(guard, run)[5:] == ["CallRequested", "CallDecided", "CallStarted", "CallFinished"]


def test_what_was_reserved_is_given_back_before_the_long_way(
    guard: Guard, run: Run, passes: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    mail(guard, run)
    monkeypatch.setattr(run.journal, "record_all", lambda *_, **__: None)
    given_back: list[str] = []
    refund = MemoryLedger.refund_now

    def noted(ledger: MemoryLedger, reservation: str) -> None:
        given_back.append(reservation)
        refund(ledger, reservation)

    monkeypatch.setattr(MemoryLedger, "refund_now", noted)
    assert [mail(guard, run) for _ in range(9)] == [
        "sent"
    ] * 9  # with the first, all that an hour has room for
    assert passes == [False] * 10 and len(given_back) == 9
    with pytest.raises(RingfenceError):
        mail(guard, run)


def test_what_was_reserved_is_given_back_if_the_log_fails(
    guard: Guard, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise EngineError("the journal is broken")

    mail(guard, run)
    with monkeypatch.context() as patched:
        patched.setattr(run.journal, "record_all", broken)
        for _ in range(20):
            with pytest.raises(EngineError):
                mail(guard, run)
    assert [mail(guard, run) for _ in range(9)] == ["sent"] * 9


def test_a_ledger_that_fails_is_a_recorded_denial(
    guard: Guard, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> tuple[Refusal, ...]:
        raise OSError("gone")

    mail(guard, run)
    with monkeypatch.context() as patched:
        patched.setattr(MemoryLedger, "reserve_now", broken)
        with pytest.raises(EngineError, match="could not reserve"):
            mail(guard, run)
    assert kinds_of(guard, run)[5:] == ["CallRequested", "CallDecided"]


@pytest.mark.parametrize("why", ["lapsed", "stopped"])
def test_nothing_goes_the_quick_way_where_nothing_may_start(
    guard: Guard, run: Run, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    mail(guard, run)
    assert passing_of(guard, run) is not None
    with monkeypatch.context() as patched:
        if why == "lapsed":
            patched.setattr(run.presence, "_until", 0)
            patched.setattr(run.presence, "_next_ns", float("inf"))
            patched.setattr(run.presence, "_failure", OSError("gone"))
        else:
            patched.setattr(run, "stopped", Reason("killed", "halt", None, None))
        assert passing_of(guard, run) is None


def test_a_call_that_is_denied_at_once_does_not_go_the_quick_way(
    guard: Guard, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    guard.execute(run, call("mine", what="alice"), lambda _: "found")
    allowed = allowed_in(run, call("mine", what="alice"))
    of = Form.of

    def lenient(self: Form, key: str, made: ToolCall, found: Decision, facts: Facts, said: bytes) -> Any:
        # What allows say alike, said of a denial as well.
        return of(self, key, made, allowed._replace(arguments=found.arguments), facts, said)

    monkeypatch.setattr(Form, "of", lenient)
    assert passing_of(guard, run, call("mine", what="alice")) is not None
    seen = run.state.seq
    assert passing_of(guard, run, call("mine", what="bob")) is None and run.state.seq == seen


def allowed_in(run: Run, made: ToolCall) -> Decision:
    return conclude(assess(run.plan, run.state, made, NO_FACTS, run.now_ns()), NO_FACTS)


def passing_of(guard: Guard, run: Run, made: ToolCall | None = None) -> Passing | None:
    """Have the next call tried the quick way alone."""
    found = given_of(run, made or call("mail", to="a@b.example"))
    assert found.said is not None
    event = found.event(f"{found.base}.{len(run.state.calls)}", None)
    body = requested_body(event, found.said)
    assert body is not None
    with run.lock:
        return passing(run, found, event, body, in_thread, now_ns=run.now_ns())
