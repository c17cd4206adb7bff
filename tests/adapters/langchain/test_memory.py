"""What this process keeps of graphs that nobody goes on with."""

import gc
from typing import Any

from langgraph.checkpoint.memory import InMemorySaver

from ringfence.engine.enforcement.runs import Run
from tests.adapters.langchain.agents import ALICE, HELLO, SEND, Invoke, agent_of, both, send_of
from tests.adapters.langchain.conftest import LoadGuard
from tests.adapters.langchain.model import asks, call, says


@both
def test_runs_that_were_put_away_are_not_kept_in_memory(load: LoadGuard, invoke: Invoke) -> None:
    guard, saver = load(SEND), InMemorySaver()
    for number in range(5):
        agent: Any = agent_of(guard, [send_of([])], asks(call("send", to="bob")), says(), checkpointer=saver)
        thread = {"configurable": {"thread_id": f"t{number}"}}
        assert "__interrupt__" in invoke(agent, HELLO, thread, context=ALICE)
    del agent
    gc.collect()
    kept = [one for one in gc.get_objects() if type(one) is Run and guard.owns(one)]
    assert kept == []
    assert [row.status for row in guard.runs.list()] == ["suspended"] * 5
