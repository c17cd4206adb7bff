"""The guard's promises about one call: decided, bounded, recorded, in both worlds."""

import asyncio
import json
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from ringfence.engine.decision.calls import Principal, ToolCall
from ringfence.engine.decision.events import CallDecided, CallFailed, CallFinished, CallRequested, PromptGiven
from ringfence.engine.enforcement import requests
from ringfence.engine.enforcement.current import current_run
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.enforcement.tool_results import ResultLens
from ringfence.engine.seams.errors import (
    DeniedError,
    EngineError,
    RunHaltedError,
    ToolFailedError,
)
from ringfence.testing import FakeClock
from tests.guards import ALICE, POLICY, call, events_of, kinds_of, make_guard

PLAIN_CALL = ["RunStarted", "CallRequested", "CallDecided", "CallStarted", "CallFinished"]


class NotJson:
    def __repr__(self) -> str:
        return "not JSON"


NOT_JSON = NotJson()


@pytest.fixture
def guard() -> Iterator[Guard]:
    made = make_guard()
    yield made
    made.close()


@pytest.fixture
def run(guard: Guard) -> Run:
    return guard.begin_run(principal=ALICE, agent="main")


def echo(arguments: Mapping[str, Any]) -> Any:
    return dict(arguments)


def never(_: Mapping[str, Any]) -> Any:
    raise AssertionError("the body ran")


# ---- the plain way -------------------------------------------------------------------------------


def test_an_allowed_call_runs_and_leaves_four_events(guard: Guard, run: Run) -> None:
    assert guard.execute(run, call("look", what="x"), echo) == {"what": "x"}
    assert kinds_of(guard, run) == PLAIN_CALL


async def test_the_same_holds_for_tasks(guard: Guard) -> None:
    run = await guard.abegin_run(principal=ALICE, agent="main")

    async def body(arguments: Mapping[str, Any]) -> Any:
        await asyncio.sleep(0)
        return dict(arguments)

    assert await guard.aexecute(run, call("look", what="x"), body) == {"what": "x"}
    assert await guard.aexecute(run, call("look", what="y"), echo) == {"what": "y"}
    assert kinds_of(guard, run)[:5] == PLAIN_CALL
    await guard.aend_run(run)


def test_a_denied_body_does_not_run_and_the_rule_is_in_the_error_and_the_log(guard: Guard, run: Run) -> None:
    with pytest.raises(DeniedError) as caught:
        guard.execute(run, call("look", what="secret"), never)
    assert caught.value.rule == "look.allow"
    assert caught.value.model_text == "not authorized"
    assert "look.allow" in caught.value.diagnostics()
    decided = events_of(guard, run)[-1]
    assert isinstance(decided, CallDecided)
    assert (decided.verdict, decided.reasons[0]["name"]) == ("deny", "look.allow")


def test_an_undeclared_tool_is_not_found(guard: Guard, run: Run) -> None:
    with pytest.raises(DeniedError) as caught:
        guard.execute(run, call("drop_everything"), never)
    assert caught.value.model_text == "tool not found"


def test_a_tool_that_the_agent_does_not_hold_is_not_found(guard: Guard) -> None:
    run = guard.begin_run(principal=ALICE, agent="reader")
    with pytest.raises(DeniedError) as caught:
        guard.execute(run, call("mail", to="a@b.example"), never)
    assert caught.value.model_text == "tool not found"
    assert guard.visible(run, ["mail", "look", "nope"]) == ["look"]


def test_a_run_is_never_handed_more_than_its_agent_holds(guard: Guard) -> None:
    with pytest.raises(EngineError, match="does not hold `send`"):
        guard.begin_run(agent="reader", capabilities=["read_data", "send"])
    with pytest.raises(EngineError, match="no agent `admin`"):
        guard.begin_run(agent="admin")
    with pytest.raises(EngineError, match="say which agent"):
        make_guard(POLICY.replace("agent main", "agent maine")).begin_run()


def test_a_missing_principal_names_the_clause_that_needs_it(guard: Guard) -> None:
    run = guard.begin_run(agent="main")
    with pytest.raises(DeniedError) as caught:
        guard.execute(run, call("mine", what="alice"), never)
    assert caught.value.rule == "mine.allow!key"
    assert "principal.user" in caught.value.diagnostics()


def test_what_is_decided_is_what_is_executed(guard: Guard, run: Run) -> None:
    given: dict[str, Any] = {"what": "x"}
    seen: list[Any] = []

    def body(arguments: Mapping[str, Any]) -> None:
        given["what"] = "secret"
        seen.append(arguments["what"])

    guard.execute(run, ToolCall("look", given), body)
    assert seen == ["x"]
    requested = next(e for e in events_of(guard, run) if isinstance(e, CallRequested))
    assert requested.arguments == {"what": "x"}


def test_a_body_that_raises_is_recorded_and_raised_as_it_is(guard: Guard, run: Run) -> None:
    def body(_: Mapping[str, Any]) -> None:
        raise LookupError("no such row")

    with pytest.raises(LookupError, match="no such row"):
        guard.execute(run, call("look", what="x"), body)
    failed = events_of(guard, run)[-1]
    assert isinstance(failed, CallFailed)
    assert (failed.outcome, failed.error) == ("raised", "LookupError: no such row")


def test_a_framework_that_leaves_a_body_has_not_failed_it(guard: Guard, run: Run) -> None:
    class BubbleUp(Exception):
        pass

    def body(_: Mapping[str, Any]) -> None:
        raise BubbleUp

    with pytest.raises(BubbleUp):
        guard.execute(run, call("look", what="x"), body, passthrough=(BubbleUp,))
    failed = events_of(guard, run)[-1]
    assert isinstance(failed, CallFailed) and failed.outcome == "interrupted"


def test_authorize_and_execute_of_one_call_are_one_decision(guard: Guard, run: Run) -> None:
    same = call("mail", "c1", to="a@b.example")
    assert guard.authorize(run, same).allowed
    assert guard.authorize(run, same).allowed
    guard.execute(run, same, echo)
    assert kinds_of(guard, run) == PLAIN_CALL
    guard.execute(run, same, echo)
    assert kinds_of(guard, run).count("CallDecided") == 2


def test_inside_a_body_the_run_is_the_current_one(guard: Guard, run: Run) -> None:
    assert current_run() is None
    assert guard.execute(run, call("look", what="x"), lambda _: current_run()) is not None
    with guard.run(principal=ALICE, agent="main") as outer:
        assert current_run() is outer
    assert current_run() is None


def test_a_call_made_inside_a_body_names_its_parent(guard: Guard, run: Run) -> None:
    def outer(_: Mapping[str, Any]) -> Any:
        return guard.execute(run, call("look", what="inner"), echo)

    guard.execute(run, call("look", what="outer"), outer)
    requests = [event for event in events_of(guard, run) if isinstance(event, CallRequested)]
    assert [request.parent for request in requests] == [None, requests[0].call]


# ---- results -------------------------------------------------------------------------------------


def test_rows_are_cut_and_the_cut_is_recorded(guard: Guard, run: Run) -> None:
    assert guard.execute(run, call("rows", table="t"), lambda _: [1, 2, 3, 4]) == [1, 2, 3]
    finished = events_of(guard, run)[-1]
    assert isinstance(finished, CallFinished)
    assert (finished.result, finished.truncated) == ([1, 2, 3], {"rows_before": 4, "rows": 3})


def test_a_lens_shows_where_the_rows_are(guard: Guard, run: Run) -> None:
    lens = ResultLens(get=lambda pair: pair[0], set=lambda pair, value: (value, pair[1]))
    result = guard.execute(run, call("rows", table="t"), lambda _: ("[1,2,3,4]", "artifact"), lens=lens)
    assert (json.loads(result[0]), result[1]) == ([1, 2, 3], "artifact")


def test_no_list_where_rows_are_expected_is_not_handed_over(guard: Guard, run: Run) -> None:
    with pytest.raises(DeniedError) as caught:
        guard.execute(run, call("rows", table="t"), lambda _: "all of it")
    assert caught.value.model_text == "not authorized"
    failed = events_of(guard, run)[-1]
    assert isinstance(failed, CallFailed) and failed.outcome == "refused result"


def test_audit_minimal_keeps_values_out_of_the_log(guard: Guard, run: Run) -> None:
    guard.execute(run, call("quiet", what="top secret words"), lambda _: "another secret")
    said = repr([event for event in events_of(guard, run)[1:]])
    assert "secret" not in said and "hmac-sha256:" in said
    assert guard.runs.get(run.id).replay().divergence is None


# ---- bounds --------------------------------------------------------------------------------------


SHORT = POLICY.replace("stop after 1 second", "stop after 10 ms")
BRIEF = POLICY.replace("send stop after 5 minutes", "send stop after 30 ms")


def test_a_function_past_its_tools_bound_is_abandoned_and_the_run_goes_on() -> None:
    guard = make_guard(SHORT)
    run = guard.begin_run(principal=ALICE, agent="main")
    enough = threading.Event()
    with pytest.raises(ToolFailedError) as caught:
        guard.execute(run, call("slow", what="x"), lambda _: enough.wait())
    assert caught.value.model_text == "the tool failed"
    failed = events_of(guard, run)[-1]
    assert isinstance(failed, CallFailed) and failed.outcome == "abandoned"
    enough.set()
    assert guard.execute(run, call("look", what="x"), echo) == {"what": "x"}
    guard.close()


async def test_a_coroutine_past_its_tools_bound_is_cancelled() -> None:
    guard = make_guard(SHORT)
    run = await guard.abegin_run(principal=ALICE, agent="main")

    async def body(_: Mapping[str, Any]) -> None:
        await asyncio.Event().wait()

    with pytest.raises(ToolFailedError):
        await guard.aexecute(run, call("slow", what="x"), body)
    failed = events_of(guard, run)[-1]
    assert isinstance(failed, CallFailed) and failed.outcome == "timeout"
    await guard.aclose()


async def test_the_runs_deadline_halts_the_run_and_everything_in_flight() -> None:
    guard = make_guard(BRIEF)
    run = await guard.abegin_run(principal=ALICE, agent="main")
    enough, felt = asyncio.Event(), []

    async def polite(_: Mapping[str, Any]) -> None:
        try:
            await enough.wait()
        except asyncio.CancelledError:
            felt.append("cancelled")
            raise

    async def stubborn(_: Mapping[str, Any]) -> None:
        while not enough.is_set():
            try:
                await enough.wait()
            except asyncio.CancelledError:
                continue

    ends = await asyncio.gather(
        guard.aexecute(run, call("look", "1", what="x"), polite),
        guard.aexecute(run, call("look", "2", what="y"), stubborn),
        return_exceptions=True,
    )
    assert [type(end) for end in ends] == [RunHaltedError, RunHaltedError]
    assert felt == ["cancelled"]
    with pytest.raises(RunHaltedError) as caught:
        await guard.aexecute(run, call("look", what="z"), never)
    assert caught.value.rule == "main.stop"
    events = events_of(guard, run)
    assert {e.outcome for e in events if isinstance(e, CallFailed)} == {"cancelled", "abandoned"}
    assert kinds_of(guard, run).count("RunHalted") == 1
    enough.set()
    assert guard.runs.get(run.id).replay().divergence is None
    await guard.aclose()


def test_a_deadline_that_passes_between_calls_halts_at_the_next_look() -> None:
    clock = FakeClock()
    guard = make_guard(clock=clock)
    run = guard.begin_run(principal=ALICE, agent="main")
    guard.check_live(run)
    clock.advance(301)
    with pytest.raises(RunHaltedError) as caught:
        guard.check_live(run)
    assert caught.value.rule == "main.stop"
    assert kinds_of(guard, run)[-1] == "RunHalted"
    with pytest.raises(RunHaltedError) as unknown:
        guard.execute(run, call("nope"), never)
    assert unknown.value.model_text == "tool not found"
    guard.close()


def test_a_kill_stops_what_is_in_flight(guard: Guard, run: Run) -> None:
    enough = threading.Event()

    def body(_: Mapping[str, Any]) -> None:
        killer.start()
        enough.wait()

    killer = threading.Thread(target=lambda: guard.kill(run.id, by="olga"))
    with pytest.raises(RunHaltedError):
        guard.execute(run, call("look", what="x"), body)
    enough.set()
    killer.join()
    assert kinds_of(guard, run)[-2:] == ["RunHalted", "CallFailed"]
    other = guard.begin_run(principal=ALICE, agent="main")
    assert guard.execute(other, call("look", what="x"), echo) == {"what": "x"}


def test_model_calls_are_bound_by_the_run_too() -> None:
    guard = make_guard(BRIEF)
    run = guard.begin_run(principal=ALICE, agent="main")
    assert guard.bound(run, lambda: 5) == 5
    enough = threading.Event()
    with pytest.raises(RunHaltedError):
        guard.bound(run, enough.wait)
    enough.set()
    with pytest.raises(RunHaltedError):
        guard.bound(run, lambda: 5)
    guard.close()


async def test_a_cancelled_caller_is_recorded_and_stays_cancelled(guard: Guard) -> None:
    run = await guard.abegin_run(principal=ALICE, agent="main")
    begun = asyncio.Event()

    async def body(_: Mapping[str, Any]) -> None:
        begun.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(guard.aexecute(run, call("look", what="x"), body))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    failed = events_of(guard, run)[-1]
    assert isinstance(failed, CallFailed) and failed.outcome == "cancelled"


def test_a_run_that_has_ended_takes_no_more_calls(guard: Guard, run: Run) -> None:
    guard.end_run(run)
    with pytest.raises(RunHaltedError):
        guard.execute(run, call("look", what="x"), never)
    assert kinds_of(guard, run) == ["RunStarted", "RunEnded"]


def test_a_child_run_holds_and_lives_no_longer_than_its_parent(guard: Guard) -> None:
    parent = guard.begin_run(principal=ALICE, agent="reader")
    child = guard.begin_run(principal=ALICE, agent="main", parent=parent)
    with pytest.raises(DeniedError):
        guard.execute(child, call("mail", to="a@b.example"), never)
    guard.kill(parent.id)
    with pytest.raises(RunHaltedError):
        guard.execute(child, call("look", what="x"), never)
    assert "SubrunStarted" in kinds_of(guard, parent)


# ---- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        {"what": 7},
        {"what": None},
        {},
        {"what": "x", "more": 1},
        {"what": float("nan")},
        {"what": "\ud800"},
        {"what": NOT_JSON},
        {"what": b"bytes"},
        {7: "x"},
        "no json",
        '{"what": "x", "what": "secret"}',
        '{"what": NaN}',
        "[1]",
        None,
        ["what"],
    ],
    ids=repr,
)
def test_arguments_that_do_not_fit_are_denied_by_name_and_recorded(
    guard: Guard, run: Run, arguments: Any
) -> None:
    for tool in ("look", "free"):
        if tool == "free" and isinstance(arguments, dict) and arguments in ({"what": 7}, {}, {"what": None}):
            continue
        if tool == "free" and isinstance(arguments, dict) and arguments.get("more"):
            continue
        with pytest.raises(DeniedError) as caught:
            guard.execute(run, ToolCall(tool, arguments), never)
        assert caught.value.rule == f"{tool}.arguments"
    assert kinds_of(guard, run)[1:3] == ["CallRequested", "CallDecided"]
    assert guard.runs.get(run.id).replay().divergence is None


def test_arguments_may_be_the_text_that_a_model_wrote(guard: Guard, run: Run) -> None:
    assert guard.execute(run, ToolCall("look", '{"what": "x"}'), echo) == {"what": "x"}  # type: ignore[arg-type]


def test_a_ten_megabyte_argument_is_denied_and_recorded_by_its_size(guard: Guard, run: Run) -> None:
    with pytest.raises(DeniedError) as caught:
        guard.execute(run, call("look", what="x" * 10_000_000), never)
    assert caught.value.rule == "look.arguments"
    requested = events_of(guard, run)[1]
    assert isinstance(requested, CallRequested)
    assert requested.withheld == "too large" and len(repr(requested)) < 1000


def test_a_text_of_ten_megabytes_is_denied_before_it_is_read(
    guard: Guard, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its values could take a hundred times its size."""
    read: list[str] = []
    monkeypatch.setattr(requests, "loads_strict", read.append)
    with pytest.raises(DeniedError) as caught:
        guard.execute(run, ToolCall("look", '{"what":[' + "[]," * 3_000_000 + "1]}"), never)  # type: ignore[arg-type]
    assert (caught.value.rule, read) == ("look.arguments", [])
    requested = events_of(guard, run)[1]
    assert isinstance(requested, CallRequested)
    assert requested.withheld == "too large" and len(repr(requested)) < 1000


def test_calls_without_an_id_and_with_a_repeated_one_are_calls_of_their_own(guard: Guard, run: Run) -> None:
    for id in (None, None, "c", "c"):
        guard.execute(run, call("look", id, what="x"), echo)
    requests = [event.call for event in events_of(guard, run) if isinstance(event, CallRequested)]
    assert len(set(requests)) == 4


def test_what_the_model_hears_is_recorded(guard: Guard, run: Run) -> None:
    guard.record(run, PromptGiven("user", "hello"))
    assert kinds_of(guard, run)[-1] == "PromptGiven"


def test_principals_are_equal_by_what_was_said() -> None:
    assert Principal(user="a") == Principal(user="a", workspace=None) != Principal(user="b")


def test_an_attribute_of_the_wrong_type_is_not_said_and_the_reason_tells() -> None:
    guard = make_guard(
        "language 1\npolicy p\nprincipal has tier: text\nagent main { stop after 5 minutes }\n"
        'tool look { takes what: text allow when principal.tier == "gold" rate 9 per run }\n'
    )
    run = guard.begin_run(principal=Principal(user="alice", tier=7), agent="main")
    decision = guard.authorize(run, call("look", what="x"))
    (reason,) = [reason for reason in decision.reasons if reason.name.endswith("!key")]
    assert "principal.tier does not fit" in str(reason.detail)
    assert guard.runs.get(run.id).replay().divergence is None
    guard.close()


def test_a_guard_whose_log_is_broken_still_stops_its_loop() -> None:
    guard = make_guard()
    guard.begin_run(principal=ALICE, agent="main")

    async def fails(_: Any) -> None:
        raise OSError("the disk is full")

    setattr(guard.opening.ready.log, "append", fails)  # noqa: B010 - not so to a type checker
    thread = guard.opening.loop._thread
    assert thread is not None
    with pytest.raises(EngineError):
        guard.close()
    assert not thread.is_alive()
    guard.close()


def test_a_child_run_that_is_taken_up_again_is_halted_with_its_parent(guard: Guard, run: Run) -> None:
    inner = guard.begin_run(principal=ALICE, agent="main", parent=run)
    guard.suspend(inner)
    assert run.children == []
    again = guard.resume_run(inner.id)
    assert again.parent is run and run.children == [again]
    guard.kill(run.id, by="operator")
    with pytest.raises(RunHaltedError):
        guard.execute(again, call("look", what="x"), never)
