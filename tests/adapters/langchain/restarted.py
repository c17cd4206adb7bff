"""One step of an agent in a process of its own: `python restarted.py FOLDER STEP`."""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from langchain_core.tools import tool
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode

from ringfence import Guard, Principal, RingfenceError
from ringfence.adapters.langchain import begin_node, end_node, guard_tools, questions
from ringfence.adapters.langchain.principals import dangling
from ringfence.engine.seams.settings import Settings
from tests.adapters.langchain.agents import ALICE, HELLO, THREAD, add_of, agent_of, replies, send_of
from tests.adapters.langchain.model import asks, call, says

POLICY = """language 1
policy desk
capability work is read
approver lead { group "leads"  never the requester  answer within 15 minutes otherwise deny }
tool add { needs work  takes a: integer  allow always }
tool die { needs work  allow always  audit full }
tool send { needs work  takes to: text  allow always  ask lead  rate 1 per run }
"""
TURN = asks(call("add", "c1", a=1), call("send", "c2", to="bob"))
AGAIN = asks(call("send", "c3", to="eve"))


class Lines(list[Any]):
    """A list whose additions outlive the process."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.file = file

    def append(self, item: Any) -> None:
        with self.file.open("a", encoding="utf-8") as lines:
            lines.write(f"{item}\n")


@tool
def die() -> str:
    """End the process as a crash would."""
    os._exit(9)


def agent(guard: Guard, done: Lines, saver: Any, step: str) -> Any:
    """Return the agent; its model goes on where the step finds it."""
    die_now, over = asks(call("die", "c0")), [says() for _ in range(20)]
    scripts = {"ask": [TURN], "killed": [TURN], "die": [die_now], "replay": over}
    script = scripts.get(step, [AGAIN, says()])
    return agent_of(guard, [add_of(done), send_of(done), die], *script, checkpointer=saver)


def graph(guard: Guard, done: Lines, saver: Any) -> Any:
    """Return the raw graph."""
    made: Any = StateGraph(MessagesState, context_schema=Principal)
    made.add_node("begin", begin_node(guard))
    made.add_node("tools", ToolNode(guard_tools(guard, [add_of(done), send_of(done)])))
    made.add_edge(START, "begin")
    made.add_node("end", end_node(guard))
    made.add_edge("begin", "tools")
    made.add_edge("tools", "end")
    return made.compile(checkpointer=saver)


def replay(guard: Guard, app: Any) -> None:
    """Go on from every state that has calls to make, as if nothing had come after it."""
    went_on = 0
    for saved in list(app.get_state_history(THREAD)):
        if dangling(saved.values.get("messages", [])):
            went_on += 1
            try:
                app.invoke(None, saved.config, context=ALICE, durability="sync")
            except RingfenceError as error:
                print(error, file=sys.stderr)
    print(json.dumps({"went on": went_on}))
    guard.close()


def main(folder: Path, kind: str, step: str, who: str) -> None:
    """Take one step and print what came out of it."""
    (folder / "desk.fence").write_text(POLICY, encoding="utf-8")
    settings = Settings.of({"groups": {"leads": ["dana"]}}, folder=folder)
    guard = Guard.load(folder / "desk.fence", settings=settings, store=f"sqlite:///{folder}/guard.db")
    done = Lines(folder / "done.txt")
    out: dict[str, Any] = {}
    with SqliteSaver.from_conn_string(str(folder / "graph.db")) as saver:
        app = agent(guard, done, saver, step) if kind == "agent" else graph(guard, done, saver)
        if step == "replay":
            replay(guard, app)
            return
        given: Any = None
        if step in ("ask", "killed", "die"):
            given = HELLO if kind == "agent" else {"messages": [TURN]}
        if step == "approve":
            for question in questions(app.get_state(THREAD)):
                guard.approve(question.ticket, by="dana")
        try:
            first = step in ("ask", "killed", "die")
            context = ALICE if first else Principal(user=who) if who else None
            # A checkpoint that is still on its way would be lost with a process that dies.
            result = app.invoke(given, THREAD, context=context, durability="sync")
            out = {"asked": [q.ticket for q in questions(result)], "replies": replies(result)}
        except RingfenceError as error:
            out = {"error": type(error).__name__, "code": error.code}
        out["runs"] = [row.status for row in guard.runs.list()]
        out["divergence"] = guard.runs.latest().replay().divergence is not None
    print(json.dumps(out), flush=True)
    if step == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    guard.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4] if len(sys.argv) > 4 else "")
