"""A decision is as much work among many rules, clauses and runs as among few, in calls and in memory."""

import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from ringfence.dsl.load import load_text
from ringfence.dsl.plan import Plan
from ringfence.engine.decision.calls import Decision, ToolCall
from tests.test_work import call, counted, decider, plan_of, policy

MOST_BLOCKS_OF_A_DECISION = 9
"""Blocks of memory that a decision and its reservation leave behind."""
MOST_BLOCKS_OF_A_DENIAL = 7
MOST_OF_A_FIRST_CALL = 65
"""Function calls of a run's first decision of a tool that another run has called before."""
MOST_BLOCKS_OF_A_FIRST_CALL = 24


@contextmanager
def undisturbed() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def blocks_of_a_decision(decide: Callable[[ToolCall, int], Decision], asked: ToolCall) -> int:
    """Blocks that are held more after a decision that is kept; the least of five, as tables grow at times."""
    for number in range(10):
        decide(asked, number)
    kept, found = [], []
    with undisturbed():
        for number in range(10, 15):
            before = sys.getallocatedblocks()
            kept.append(decide(asked, number))
            found.append(sys.getallocatedblocks() - before)
    assert len({decision.allowed for decision in kept}) == 1
    return min(found)


def calls_of_a_decision(decide: Callable[[ToolCall, int], Decision], asked: ToolCall) -> int:
    """Function calls of the second decision of its kind."""
    decide(asked, 1)
    with counted() as count:
        decision = decide(asked, 2)
    assert decision.allowed
    return count.calls


def test_a_decision_leaves_few_blocks_of_memory_behind() -> None:
    assert blocks_of_a_decision(decider(plan_of(10)), call(3)) <= MOST_BLOCKS_OF_A_DECISION


def test_a_denial_leaves_few_blocks_of_memory_behind() -> None:
    decide, denied = decider(plan_of(10)), call(3)._replace(arguments={**call(3).arguments, "limit": 0})
    decide(call(3), 1)
    assert not decide(denied, 2).allowed
    assert blocks_of_a_decision(decide, denied) <= MOST_BLOCKS_OF_A_DENIAL


@pytest.mark.parametrize("tools", [10, 1_000])
def test_blocks_are_as_many_among_many_tools(tools: int) -> None:
    assert blocks_of_a_decision(decider(plan_of(tools)), call(3)) <= MOST_BLOCKS_OF_A_DECISION


def test_after_many_calls_a_decision_leaves_as_few_blocks_behind() -> None:
    decide = decider(plan_of(10))
    for index in range(2_000):
        decide(call(index % 10, index), index - 3_000)
    assert blocks_of_a_decision(decide, call(3)) <= MOST_BLOCKS_OF_A_DECISION


def ruled(rules: int, target: str) -> Plan:
    text = policy(2) + "".join(
        f'rule r{number}: deny {target} when mode == "shut{number}"\n' for number in range(rules)
    )
    plan = load_text(text).plan
    assert plan is not None
    return plan


@pytest.mark.parametrize("target", ["tool_0", "tool_1", "any tool"])
def test_a_decision_calls_as_many_functions_under_many_rules(target: str) -> None:
    few, many = (calls_of_a_decision(decider(ruled(rules, target)), call(0)) for rules in (1, 200))
    assert many == few


def test_a_decision_calls_as_many_functions_beside_many_runs() -> None:
    plan = plan_of(10)
    decide = decider(plan)
    asked = call(0)
    few = calls_of_a_decision(decide, asked)
    others = [decider(plan) for _ in range(200)]
    for other in others:
        other(asked, 1)
    with counted() as count:
        decide(asked, 3)
    assert count.calls == few


def test_what_the_policy_says_of_a_tool_is_made_once_for_all_runs() -> None:
    plan, asked = plan_of(10), call(3)
    with counted() as first:
        decider(plan)(asked, 1)
    others = [decider(plan) for _ in range(3)]
    found = []
    with undisturbed():
        for other in others:
            before = sys.getallocatedblocks()
            with counted() as next_one:
                other(asked, 1)
            found.append((next_one.calls, sys.getallocatedblocks() - before))
    calls, blocks = min(found)
    assert calls <= first.calls / 4 and calls <= MOST_OF_A_FIRST_CALL
    assert blocks <= MOST_BLOCKS_OF_A_FIRST_CALL


def work_of_a_first_call(tools: int) -> int:
    """Function calls of the first decision of a tool, which compiles it."""
    decide = decider(plan_of(tools))
    decide(call(0), 1)  # what all tools share is made by then
    with counted() as count:
        decide(call(tools - 1), 2)
    return count.calls


def test_a_tool_is_compiled_alone_at_its_first_call() -> None:
    few, many = (work_of_a_first_call(tools) for tools in (10, 1_000))
    assert many <= few * 1.1
