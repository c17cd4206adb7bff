"""What a graph leaves behind on threads when it ends: it takes no run up again."""

from types import SimpleNamespace
from uuid import uuid4

import pytest

from ringfence.adapters.langchain.runs import runs_of
from ringfence.adapters.langchain.tree import TREE, Tree
from ringfence.engine.seams.errors import DeniedError
from tests.guards import ALICE, make_guard


def test_whatever_stands_inside_of_an_ended_graph_is_over_though_its_own_end_was_not_told() -> None:
    tree, host, graph, node = Tree(), uuid4(), uuid4(), uuid4()
    tree.enter(graph, host)
    tree.enter(node, graph, is_node=True)
    assert not tree.is_over(node)
    tree.leave(graph)
    assert tree.is_over(node) and tree.is_over(graph)
    assert not tree.is_over(host), "an invocation of another process is not known, and not over"
    assert not tree.is_over(None)


def test_a_tool_is_at_work_until_it_ends_or_waits_for_people_and_nothing_is_kept_of_it() -> None:
    tree, node, one, two, elsewhere = Tree(), uuid4(), uuid4(), uuid4(), uuid4()
    tree.enter(node, None)
    tree.enter_tool(one, node)
    assert not tree.has_others_at_work(one), "it does not wait for itself"
    tree.enter_tool(two, node)
    tree.enter_tool(elsewhere, uuid4())
    assert tree.has_others_at_work(one) and tree.has_others_at_work(two)
    tree.waits(one)
    assert tree.has_others_at_work(one) and not tree.has_others_at_work(two)
    tree.leave(two)
    assert not tree.has_others_at_work(one)
    assert not tree.has_others_at_work(uuid4()) and not tree.has_others_at_work(None)
    tree.waits(None)
    for id in (one, elsewhere, node):
        tree.leave(id)
    assert tree._at_work == {}


def test_a_call_from_an_ended_graph_does_not_take_the_run_up_again() -> None:
    guard = make_guard()
    run = guard.begin_run(principal=ALICE, agent="main", session="t1")
    guard.suspend(run)
    graph = uuid4()
    TREE.enter(graph, None)
    TREE.leave(graph)
    with pytest.raises(DeniedError, match="has ended"):
        runs_of(guard).go_on(run.id, {"callbacks": SimpleNamespace(parent_run_id=graph)})
    assert guard.runs.list()[0].status == "suspended"
    guard.close()
