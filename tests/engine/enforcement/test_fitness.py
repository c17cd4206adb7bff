"""What this machine can enforce is known before an isolated call starts; less than is demanded: refused."""

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any

import pytest

from ringfence.engine.decision.calls import ToolCall
from ringfence.engine.decision.events import CallFailed
from ringfence.engine.enforcement import isolates
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.seams.errors import (
    DeniedError,
    EngineError,
    PendingError,
    RunHaltedError,
    ToolFailedError,
)
from ringfence.engine.seams.isolates import Fitness, IsolateJob, IsolateOutcome, Layer
from tests.engine.enforcement.test_isolated import FILES, POLICY, guard_of, identical, js, never, of
from tests.guards import ALICE, call, kinds_of, make_guard
from tests.isolates import V8, Executors, FakeExecutor, Tools

MODEL = ("limits", "seccomp", "this machine", "lockdown", "doctor")
"""What no model is told."""


async def seven(_: IsolateJob, __: Tools) -> int:
    return 7


@pytest.fixture
def fake() -> FakeExecutor:
    return FakeExecutor({"7": seven, FILES["quote.js"]: seven})


def begun(fake: FakeExecutor, policy: str = POLICY) -> tuple[Guard, Run]:
    guard = guard_of(fake, policy)
    return guard, guard.begin_run(principal=ALICE)


def quote(guard: Guard, run: Run) -> Any:
    return guard.execute(run, call("quote", items=[], country="GB"), never)


def test_a_machine_with_fewer_walls_than_the_policy_demands_runs_nothing_and_charges_nothing(
    fake: FakeExecutor,
) -> None:
    fake.missing = ("limits", "seccomp")
    guard, run = begun(fake, POLICY.replace("at most 20 calls", "at most 100 calls"))
    for _ in range(12):  # more than the tool's rate
        with pytest.raises(EngineError, match="`lockdown full` needs: limits, seccomp") as caught:
            js(guard, run, "7")
        assert "`run_js` runs in an isolate" in str(caught.value)
        assert "limits: saw limits" in (caught.value.help or "")
        assert "ringfence doctor" in caught.value.diagnostics()
        assert caught.value.model_text is None
    failed = of(guard, run, CallFailed)
    assert {(one.outcome, one.error) for one in failed} == {
        ("refused", "this machine lacks what `lockdown full` needs: limits, seccomp")
    }
    assert len(failed) == 12
    assert not {"CallStarted", "IsolateStarted"} & {*kinds_of(guard, run)}
    assert fake.jobs == []
    fake.missing = ()
    assert [js(guard, run, "7") for _ in range(9)] == [7] * 9
    with pytest.raises(DeniedError) as denied:
        js(guard, run, "7")
    assert denied.value.rule == "run_js.rate"
    assert identical(guard, run)
    guard.close()


def test_the_lesser_lock_down_is_served_where_the_full_one_is_refused(fake: FakeExecutor) -> None:
    fake.missing = ("seccomp",)
    guard, run = begun(fake)
    assert quote(guard, run) == 7
    with pytest.raises(EngineError, match="seccomp"):
        js(guard, run, "7")
    assert quote(guard, run) == 7
    guard.close()


def test_without_a_process_of_its_own_nothing_runs_at_all(fake: FakeExecutor) -> None:
    fake.missing = ("process",)
    guard, run = begun(fake)
    with pytest.raises(EngineError, match="`lockdown process` needs: process"):
        quote(guard, run)
    guard.close()


@pytest.mark.parametrize(
    ("fitness", "words"),
    [
        (Fitness(V8), "needs: process"),
        (Fitness(V8, (Layer("seccomp", True, ""),)), "needs: process"),
        (Fitness(V8, (Layer("process", True, ""), Layer("process", False, "no"))), "needs: process"),
        (Fitness("", (Layer("process", True, ""),)), "there is no V8"),
        (Fitness(None), "there is no V8"),
        (Fitness(None, problem="no V8 is installed"), "no V8 is installed"),
        (None, "did not say what it can enforce"),
        (OSError("broken"), "OSError: broken"),
    ],
)
def test_a_report_that_does_not_say_that_the_walls_stand_promises_nothing(
    fake: FakeExecutor, fitness: Any, words: str
) -> None:
    async def said() -> Fitness:
        if isinstance(fitness, Exception):
            raise fitness
        return fitness  # type: ignore[no-any-return]

    fake.fitness = said  # type: ignore[method-assign]
    guard, run = begun(fake)
    with pytest.raises(EngineError, match=words):
        js(guard, run, "7")
    with pytest.raises(EngineError, match=words):
        quote(guard, run)
    assert fake.jobs == []
    guard.close()


def test_an_executor_that_does_not_answer_is_not_waited_for_for_ever(
    fake: FakeExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hangs() -> Fitness:
        await asyncio.Event().wait()
        raise AssertionError("nobody sets it")

    monkeypatch.setattr(isolates, "FIT_WITHIN_S", 0.05)
    fake.fitness = hangs  # type: ignore[method-assign]
    guard, run = begun(fake)
    with pytest.raises(EngineError, match=r"did not prove its walls within 0\.05 s"):
        js(guard, run, "7")
    assert [one.outcome for one in of(guard, run, CallFailed)] == ["refused"]
    guard.close()


def test_it_is_asked_once_and_anew_after_trouble(fake: FakeExecutor) -> None:
    guard, run = begun(fake)
    assert [js(guard, run, "7") for _ in range(3)] == [7, 7, 7]
    assert [quote(guard, run) for _ in range(3)] == [7, 7, 7]
    known = fake.asked
    assert known <= 2  # once for each lock-down at most

    async def fails(_: IsolateJob, __: Tools) -> Any:
        return IsolateOutcome(None, "executor", "no worker could be started")

    fake.code["fails"] = fails
    with pytest.raises(ToolFailedError):
        js(guard, run, "fails")
    fake.missing = ("seccomp",)
    with pytest.raises(EngineError, match="seccomp"):
        js(guard, run, "7")
    assert fake.asked > known
    guard.close()


def test_a_result_from_behind_fewer_walls_than_were_promised_is_thrown_away(fake: FakeExecutor) -> None:
    """Whoever runs it says one thing when asked and another one afterwards."""

    async def lies(_: IsolateJob, __: Tools) -> Any:
        return IsolateOutcome("8", v8=V8, layers=("process", "limits"))

    fake.code["lies"] = lies
    fake.code[FILES["quote.js"]] = lies
    guard, run = begun(fake)
    with pytest.raises(ToolFailedError, match="lockdown: it ran without seccomp"):
        js(guard, run, "lies")
    assert quote(guard, run) == 8  # `lockdown process` demands no more
    assert js(guard, run, "7") == 7
    guard.close()


ASKS = POLICY.replace(
    "allow when size(code) > 0 bytes", "allow when size(code) > 0 bytes  ask lead  audit full"
)


def test_nobody_is_asked_about_what_this_machine_would_not_run(fake: FakeExecutor) -> None:
    fake.missing = ("seccomp",)
    guard, run = begun(fake, ASKS)
    with pytest.raises(EngineError, match="seccomp"):
        guard.execute(run, call("run_js", "c1", code="7"), never, wait=False)
    assert "ApprovalAsked" not in kinds_of(guard, run)
    assert identical(guard, run)
    guard.close()


def test_nobody_is_asked_ahead_either_and_once_it_is_mended_people_are(fake: FakeExecutor) -> None:
    fake.missing = ("seccomp",)
    guard, run = begun(fake, ASKS)
    made = ToolCall("run_js", {"code": "7"}, task="t1")
    for _ in range(2):
        with pytest.raises(EngineError, match="seccomp"):
            guard.ask(run, made)
    assert "ApprovalAsked" not in kinds_of(guard, run)
    assert not run.state.open_tickets
    fake.missing = ()
    with pytest.raises(PendingError) as pending:
        guard.ask(run, made)
    guard.approve(*pending.value.tickets, by="dana")
    assert guard.execute(run, made, never, wait=False) == 7
    assert identical(guard, run)
    guard.close()


def test_a_question_that_is_open_stays_open_where_its_call_could_not_run(fake: FakeExecutor) -> None:
    """Another machine may run it once it is answered."""
    guard, run = begun(fake, ASKS)
    made = call("run_js", "c1", code="7")
    with pytest.raises(PendingError) as pending:
        guard.execute(run, made, never, wait=False)

    async def fails(_: IsolateJob, __: Tools) -> Any:
        return IsolateOutcome(None, "executor", "so that it is asked anew")

    fake.code[FILES["quote.js"]] = fails
    with pytest.raises(ToolFailedError):
        quote(guard, run)
    fake.missing = ("process",)
    with pytest.raises(PendingError) as again:
        guard.execute(run, made, never, wait=False)
    assert again.value.tickets == pending.value.tickets
    fake.missing = ()
    guard.approve(*pending.value.tickets, by="dana")
    assert guard.execute(run, made, never, wait=False) == 7
    guard.close()


def test_an_approval_is_not_used_up_by_a_call_that_is_refused_for_want_of_walls(fake: FakeExecutor) -> None:
    guard, run = begun(fake, ASKS)
    made = call("run_js", "c1", code="7")
    with pytest.raises(PendingError) as pending:
        guard.execute(run, made, never, wait=False)
    (ticket,) = pending.value.tickets
    guard.approve(ticket, by="dana")

    async def fails(_: IsolateJob, __: Tools) -> Any:
        return IsolateOutcome(None, "lockdown", "a worker lacks a wall")

    fake.code[FILES["quote.js"]] = fails
    with pytest.raises(ToolFailedError):
        quote(guard, run)
    fake.missing = ("process",)
    with pytest.raises(EngineError, match="process"):
        guard.execute(run, made, never, wait=False)
    assert fake.jobs[-1].source != "7"
    kept = guard.opening.loop.submit(guard.opening.ready.tickets.get(ticket)).result()
    assert kept is not None and kept.status != "used"
    assert identical(guard, run)
    guard.close()


def test_code_that_calls_a_tool_whose_isolate_cannot_be_had_learns_nothing_of_the_machine(
    fake: FakeExecutor,
) -> None:
    """The inner tool wants walls that the outer one can do without."""
    policy = POLICY.replace("isolate box {", "isolate box { lockdown process").replace(
        "isolate small { lockdown process", "isolate small {"
    )
    heard: list[str] = []

    async def nosy(_: IsolateJob, tools: Tools) -> Any:
        try:
            return await tools("quote", items=[], country="GB")
        except BaseException as error:
            heard.append(str(error))
            raise

    fake.code["nosy"] = nosy
    fake.missing = ("seccomp",)
    guard, run = begun(fake, policy)
    with pytest.raises(EngineError, match="`quote` runs in an isolate"):
        js(guard, run, "nosy")
    assert fake.killed == ["nosy"]
    assert not any(word in text for text in heard for word in MODEL)
    guard.close()


async def test_the_same_in_an_event_loop(fake: FakeExecutor) -> None:
    fake.missing = ("seccomp",)
    guard = guard_of(fake)
    run = await guard.abegin_run(principal=ALICE)
    calls = [guard.aexecute(run, call("run_js", f"c{nth}", code="7"), never) for nth in range(3)]
    ends = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(end, EngineError) and "seccomp" in str(end) for end in ends), ends
    await guard.aclose()


# ---- made ready ----------------------------------------------------------------------------------


def until(condition: Callable[[], bool]) -> None:
    """Wait for what the engine's loop does in the background."""

    async def met() -> None:
        async with asyncio.timeout(20):
            while not condition():
                await asyncio.sleep(0.002)

    asyncio.run(met())


def test_a_guard_that_opens_has_made_ready_what_its_isolated_tools_need(fake: FakeExecutor) -> None:
    unused = POLICY.replace("isolate small {", "isolate spare { memory 99 MB }\nisolate small {")
    guard = guard_of(fake, unused)
    assert fake.prewarmed == []
    guard.open()
    until(lambda: fake.asked > 0)
    assert sorted(fake.prewarmed) == [("full", 8 << 20), ("process", 64 << 20)]
    run = guard.begin_run(principal=ALICE)
    assert js(guard, run, "7") == 7
    assert len(fake.prewarmed) == 2
    guard.close()
    assert fake.closed == 1


def test_a_policy_without_isolated_tools_makes_no_executor() -> None:
    class Watched(Executors):
        made = 0

        def ringfence_isolate_executor(self) -> Any:
            Watched.made += 1
            return super().ringfence_isolate_executor()

        ringfence_isolate_executor.ringfence_impl = Executors.ringfence_isolate_executor.ringfence_impl  # type: ignore[attr-defined]

    guard = make_guard(
        "language 1\npolicy p\nisolate box { time 1 second }\ntool t { allow always rate 1 per run }",
        plugins=[Watched(FakeExecutor())],
    )
    guard.execute(guard.begin_run(principal=ALICE), call("t"), lambda _: 1)
    guard.close()
    assert Watched.made == 0


@pytest.mark.parametrize("trouble", ["no plugin", "lacks a wall", "prewarm raises", "fitness raises"])
def test_nothing_fails_at_the_opening_and_the_log_says_what_will(
    fake: FakeExecutor, trouble: str, caplog: pytest.LogCaptureFixture
) -> None:
    def raises(*_: Any) -> Any:
        raise OSError("broken")

    if trouble == "lacks a wall":
        fake.missing = ("seccomp",)
    elif trouble == "prewarm raises":
        fake.prewarm = raises  # type: ignore[assignment, method-assign]
    elif trouble == "fitness raises":
        fake.fitness = raises  # type: ignore[method-assign]
    with caplog.at_level(logging.WARNING, "ringfence"):
        guard = make_guard(POLICY_ALONE, plugins=[Executors(None if trouble == "no plugin" else fake)])
        guard.open()
        until(lambda: "isolated tools will be refused" in caplog.text)
    run = guard.begin_run(principal=ALICE)
    if trouble == "prewarm raises":
        assert guard.execute(run, call("js", code="7"), never) == 7
    else:
        with pytest.raises(EngineError):
            guard.execute(run, call("js", code="7"), never)
    guard.close()


POLICY_ALONE = """
language 1
policy alone
isolate box { time 1 second }
tool js { takes code: text runs code in box allow when size(code) > 0 bytes rate 9 per run }
"""


def test_a_halted_run_stays_halted_while_the_walls_are_proved(fake: FakeExecutor) -> None:
    guard, run = begun(fake)
    real = fake.fitness

    async def halts() -> Fitness:
        run.halt("killed", by="olga", detail="stop")
        return await real()

    async def fails(_: IsolateJob, __: Tools) -> Any:
        return IsolateOutcome(None, "executor", "so that it is asked anew")

    fake.code["fails"] = fails
    with pytest.raises(ToolFailedError):
        js(guard, run, "fails")
    fake.fitness = halts  # type: ignore[method-assign]
    with pytest.raises(RunHaltedError):
        js(guard, run, "7")
    assert [job.source for job in fake.jobs] == ["fails"]
    guard.close()


def test_what_the_model_is_told_of_a_denial_has_not_changed(fake: FakeExecutor) -> None:
    fake.missing = ("seccomp",)
    guard, run = begun(fake)
    with pytest.raises(DeniedError) as denied:
        js(guard, run, "")
    assert not any(word in json.dumps(denied.value.model_text) for word in MODEL)
    guard.close()
