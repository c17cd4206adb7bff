"""How much work a decision and a guarded call are, counted in function calls: no clock is asked.

The ceilings stand about a tenth above what is counted today.  Whoever adds work to every call sees it here.
"""

import asyncio
import gc
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from types import FrameType
from typing import Any

import pytest

from ringfence.dsl.load import load_text
from ringfence.dsl.plan import Json, Plan
from ringfence.engine.decision.calls import NO_FACTS, RESERVED, Decision, Facts, Principal, ToolCall
from ringfence.engine.decision.decide import assess, conclude
from ringfence.engine.decision.events import RunStarted, Stamped
from ringfence.engine.decision.state import start
from ringfence.engine.seams.ports import Reservation
from ringfence.plugins.memory.ledger import MemoryLedger
from tests.guards import make_guard

MOST_OF_A_DECISION = 18
MOST_OF_A_DENIAL = 10
"""By its clauses, all of which are asked."""
MOST_OF_A_GUARDED_CALL = 158
"""Of a coroutine; a fifth of them are the event loop's own."""
MOST_OF_A_GUARDED_PLAIN_CALL = 113
"""In the caller's thread."""
MOST_KEPT_OF_A_GUARDED_CALL = 70
"""Blocks of memory, four entries of a log that is itself in memory among them."""
START_NS = 1_800_000_000_000_000_000
TOOL = """
tool tool_{number} {{
  needs work
  takes limit: integer, region: text, names: list of text at most 20, mode: text
  allow when region in ["eu", "us"]
  require row_cap: limit >= 1 and limit <= 1000
  require known: every name in names satisfies (name in ["a", "b", "c"])
  deny when mode == "closed"
  rate 1000000 per hour for each workspace
}}
"""


def policy(tools: int) -> str:
    head = "language 1\npolicy work\ncapability work is read\nagent main { holds work stop after 10 hours }\n"
    return head + "".join(TOOL.format(number=number) for number in range(tools))


def call(number: int, index: int = 0) -> ToolCall:
    arguments: dict[str, Json] = {"limit": 1 + index % 1000, "region": "eu", "names": ["a", "b"]}
    return ToolCall(f"tool_{number}", {**arguments, "mode": "open"}, call_id=f"c{index}")


class Count:
    """Calls of Python functions, while it is on, in the thread that made it."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            self.calls += 1


@contextmanager
def counted() -> Iterator[Count]:
    count, before = Count(), sys.getprofile()
    gc.disable()  # a finaliser is nobody's work here
    sys.setprofile(count)
    try:
        yield count
    finally:
        sys.setprofile(before)
        gc.enable()


def plan_of(tools: int) -> Plan:
    plan = load_text(policy(tools)).plan
    assert plan is not None
    return plan


def decider(plan: Plan) -> Callable[[ToolCall, int], Decision]:
    event = RunStarted(
        session="s", session_head=None, agent="main", principal={"user": "alice", "workspace": "w1"},
        capabilities=("work",), policy=plan.policy, policy_digest=plan.digest, policy_text="",
        mode="enforce", framework="python", external_id=None, resume_of=None, parent=None,
    )  # fmt: skip
    state, ledger = start(plan, Stamped(1, START_NS, event)), MemoryLedger()

    def decide(asked: ToolCall, number: int) -> Decision:
        now_ns = START_NS + number
        assessed = assess(plan, state, asked, NO_FACTS, now_ns=now_ns)
        if not assessed.wider:
            return conclude(assessed, NO_FACTS)
        reservation = Reservation(f"run/{number}", assessed.wider)
        refusals = ledger.reserve_now(reservation, now_ns=now_ns)
        ledger.dispatched_now(reservation.id, now_ns=now_ns)
        return conclude(assessed, Facts(refusals) if refusals else RESERVED)

    return decide


def work_of_a_decision(tools: int, earlier: int, last: ToolCall | None = None) -> int:
    """Function calls of one decision, after so many earlier ones; of an allowed one, or of `last`."""
    decide = decider(plan_of(tools))
    for index in range(earlier):
        decide(call(index % tools), index)
    decide(call(tools - 1), earlier)  # the tool is compiled at its first call
    asked = last or call(tools - 1)
    with counted() as count:
        decision = decide(asked, earlier + 1)
    assert decision.allowed is (last is None)
    return count.calls


def test_a_decision_calls_few_functions() -> None:
    assert work_of_a_decision(10, 10) <= MOST_OF_A_DECISION


@pytest.mark.parametrize(
    "other", [{"limit": 0}, {"region": "mars"}, {"names": ["a", "zz"]}, {"mode": "closed"}]
)
def test_a_denial_calls_few_functions(other: dict[str, Json]) -> None:
    denied = call(9)._replace(arguments={**call(9).arguments, **other})
    assert work_of_a_decision(10, 10, denied) <= MOST_OF_A_DENIAL


@pytest.mark.parametrize("tools", [100, 1_000])
def test_a_decision_is_as_much_work_among_many_tools(tools: int) -> None:
    assert work_of_a_decision(tools, 10) == work_of_a_decision(10, 10)


def test_a_decision_is_as_much_work_after_many_calls() -> None:
    assert work_of_a_decision(10, 1_000) == work_of_a_decision(10, 10)


async def _body(_: Mapping[str, Json]) -> Json:
    return "done"


async def _work_of_guarded_calls(path: Path, tools: int, earlier: int) -> list[int]:
    guard = make_guard(path)
    try:
        async with guard.run(principal=Principal(user="alice", workspace="w1")) as run:
            for index in range(earlier):
                await guard.aexecute(run, call(index % tools, index), _body)
            found = []
            for index in range(earlier, earlier + 5):
                asked = call(0, index)
                with counted() as count:
                    await guard.aexecute(run, asked, _body)
                found.append(count.calls)
            return found
    finally:
        await guard.aclose()


def work_of_a_guarded_call(path: Path, *, tools: int = 10, earlier: int = 10) -> int:
    """Function calls of one guarded call in its own thread, the event loop's included; the least of five.

    The writer's thread is not counted; but whether it must be woken is chance, and so is which timer is due.
    """
    path = path / "work.fence"
    path.write_text(policy(tools), "utf-8")
    return min(asyncio.run(_work_of_guarded_calls(path, tools, earlier)))


def test_a_guarded_call_calls_few_functions(tmp_path: Path) -> None:
    assert work_of_a_guarded_call(tmp_path) <= MOST_OF_A_GUARDED_CALL


def work_of_a_plain_call(path: Path) -> int:
    """The same of a plain function, without the thread that it runs on."""
    path = path / "work.fence"
    path.write_text(policy(10), "utf-8")
    guard, found = make_guard(path), []
    with guard.run(principal=Principal(user="alice", workspace="w1")) as run:
        for index in range(15):
            asked = call(index % 10, index)
            with counted() as count:
                guard.execute(run, asked, lambda _: "done")
            found.append(count.calls)
    guard.close()
    return min(found)


def test_a_guarded_plain_call_calls_few_functions(tmp_path: Path) -> None:
    assert work_of_a_plain_call(tmp_path) <= MOST_OF_A_GUARDED_PLAIN_CALL


async def _kept_of_a_guarded_call(path: Path) -> float:
    guard, times, found = make_guard(path), 100, []
    async with guard.run(principal=Principal(user="alice", workspace="w1")) as run:
        for window in range(4):
            guard.opening.ready.journal.flush().result(10)
            gc.collect()
            before = sys.getallocatedblocks()
            for index in range(times):
                await guard.aexecute(run, call(index % 10, window * times + index), _body)
            guard.opening.ready.journal.flush().result(10)
            gc.collect()
            found.append((sys.getallocatedblocks() - before) / times)
    await guard.aclose()
    return median(found)


def test_a_guarded_call_keeps_little(tmp_path: Path) -> None:
    path = tmp_path / "work.fence"
    path.write_text(policy(10), "utf-8")
    assert asyncio.run(_kept_of_a_guarded_call(path)) <= MOST_KEPT_OF_A_GUARDED_CALL


def test_a_guarded_call_is_as_much_work_after_many_calls(tmp_path: Path) -> None:
    few, many = (work_of_a_guarded_call(tmp_path, earlier=earlier) for earlier in (10, 1_000))
    assert many <= few + 12  # the event loop's heap of timers is deeper by a few comparisons


def test_a_guarded_call_is_as_much_work_among_many_tools(tmp_path: Path) -> None:
    few, many = (work_of_a_guarded_call(tmp_path, tools=tools) for tools in (10, 1_000))
    assert many <= few + 12


def test_the_counting_counts() -> None:
    with counted() as nothing:
        pass
    with counted() as one:
        call(0)
    assert one.calls - nothing.calls == 2  # `call`, and the `__init__` of the ToolCall
