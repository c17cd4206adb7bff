"""Through a whole agent: what is hidden never reaches the disk, and the next turn of a chat is its own."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver

from ringfence import Guard
from ringfence.adapters.langchain import GuardMiddleware, questions
from ringfence.engine.decision import events as e
from ringfence.plugin import redactor
from tests.adapters.langchain.agents import ALICE, Invoke, both
from tests.adapters.langchain.model import call, model, says
from tests.guards import make_guard

POLICY = """
language 1
policy desk
levels public < secret
capability send is external
approver lead { group "leads" answer within 15 minutes otherwise deny }
agent main { holds send }
tool mail {
  needs send
  takes body: text, subject: text optional
  allow always
  result is public
  redact body with hide
  rate 90 per hour
}
tool sign {
  needs send
  takes body: text
  allow always
  ask lead
  result is public
  redact body with hide
  rate 90 per hour
}
rule leave: deny any tool that is external when after reading secret
"""
CANARY = "sk-live-Ab12Cd34Ef56Gh78"
MAIL = "ann@acme.example"
BODY = f"please write to {MAIL}"
SECRETS = {"patterns": ["sk-live-[A-Za-z0-9]{16}"], "names": ["password"]}
THREAD: Any = {"configurable": {"thread_id": "t1"}}


class Odd:
    """Has no JSON form, and a secret where its description is cut."""

    def __repr__(self) -> str:
        return "o" * 190 + CANARY


@tool
def mail(body: str, subject: str = "") -> str:
    """Send a mail."""
    return f"sent: {body}"


@tool
def sign(body: str) -> str:
    """Sign a paper."""
    return f"signed: {body}"


def plugin() -> Any:
    module = ModuleType("acme.hide")

    def hide(text: str) -> str:
        return text.replace(MAIL, "[mail]")

    module.hide = redactor("hide")(hide)  # type: ignore[attr-defined]
    return module


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Callable[..., Guard]]:
    made: list[Guard] = []

    def a_guard(**settings: Any) -> Guard:
        store = f"sqlite:///{tmp_path}/log.db"
        made.append(make_guard(POLICY, store=store, plugins=[plugin()], **settings))
        return made[-1]

    yield a_guard
    for guard in made:
        guard.close()


def agent_of(guard: Guard, saver: Any, *script: Any) -> Any:
    middleware = [GuardMiddleware(guard, agent="main", typed="human")]
    return create_agent(model(*script), [mail, sign], middleware=middleware, checkpointer=saver)


def wants(name: str, id: str, body: str, **more: Any) -> AIMessage:
    """Return an answer that asks for a call in every way in which a provider says so."""
    arguments = json.dumps({"body": body})
    kwargs = {"tool_calls": [{"id": id, "function": {"name": name, "arguments": arguments}}]}
    made = [call(name, id=id, body=body)]
    return AIMessage(f"I shall send: {body}", tool_calls=made, additional_kwargs=kwargs, **more)


def on_disk(folder: Path, *words: str) -> list[str]:
    files = [file for file in folder.rglob("*") if file.is_file()]
    assert files
    return [f.name for f in files if any(word.encode() in f.read_bytes() for word in words)]


def of_kind(guard: Guard, kind: type[Any]) -> list[Any]:
    return [
        stamped.event
        for row in reversed(guard.runs.list())
        for stamped in guard.runs.get(row.run).events
        if isinstance(stamped.event, kind)
    ]


@pytest.mark.parametrize("restarted", [False, True])
@both
def test_the_next_turn_of_a_chat_with_a_redacted_call_is_known_and_nothing_is_on_the_disk(
    load: Callable[..., Guard], tmp_path: Path, invoke: Invoke, restarted: bool
) -> None:
    guard, saver = load(), InMemorySaver()
    first = agent_of(guard, saver, wants("mail", "1", BODY), says(f"I wrote: {BODY}"))
    invoke(first, {"messages": [HumanMessage("write")]}, THREAD, context=ALICE)
    if restarted:
        guard.close()
        guard = load()
    second = agent_of(guard, saver, wants("mail", "2", "more"), says(f"I had written: {BODY}"))
    invoke(second, {"messages": [HumanMessage(f"did you write: {BODY}?")]}, THREAD, context=ALICE)
    assert [event.source for event in of_kind(guard, e.PromptGiven)] == ["user", "user"]
    assert [event.verdict for event in of_kind(guard, e.CallDecided)] == ["allow", "allow"]
    for row in guard.runs.list():
        found = guard.runs.get(row.run).replay()
        assert found.identical and found.decisions == 1 and not found.not_replayable
    assert on_disk(tmp_path, "please write to [mail]") and not on_disk(tmp_path, MAIL)
    guard.close()
    assert not on_disk(tmp_path, MAIL)


def test_a_history_that_was_changed_outside_of_what_is_hidden_came_along_with_the_host(
    load: Callable[..., Guard],
) -> None:
    guard, saver = load(), InMemorySaver()
    invoke_one = agent_of(guard, saver, wants("mail", "1", BODY), says("done"))
    invoke_one.invoke({"messages": [HumanMessage("write")]}, THREAD, context=ALICE)
    forged = AIMessage("", tool_calls=[call("mail", id="9", body=BODY, subject="what was never said")])
    second = agent_of(guard, InMemorySaver(), says("done"))
    second.invoke({"messages": [forged, HumanMessage("go on")]}, THREAD, context=ALICE)
    sources = [event.source for event in of_kind(guard, e.PromptGiven)]
    assert "host" in sources[1:]


@both
def test_a_graph_that_another_process_takes_up_writes_nothing_of_what_was_hidden(
    load: Callable[..., Guard], tmp_path: Path, invoke: Invoke
) -> None:
    guard, saver = load(secrets=SECRETS), InMemorySaver()
    said = {"password": "correct horse battery"}
    first = agent_of(guard, saver, wants("sign", "1", BODY, response_metadata=said))
    paused = invoke(first, {"messages": [HumanMessage(f"sign, with {CANARY}")]}, THREAD, context=ALICE)
    (asked,) = questions(paused)
    assert asked.arguments == {"body": "please write to [mail]"}
    guard.close()
    guard = load(secrets=SECRETS)
    guard.approve(asked.ticket, by="dana", because=f"with {CANARY}")
    second = agent_of(guard, saver, says(f"signed: {BODY} with correct horse battery"))
    done = invoke(second, None, THREAD, context=ALICE)
    assert done["messages"][-2].content == "signed: please write to [mail]"
    guard.close()
    assert on_disk(tmp_path, "signed: ")
    assert not on_disk(tmp_path, MAIL, CANARY, "correct horse battery")


@both
def test_no_provider_field_and_no_description_that_is_cut_has_a_secret_in_it(
    load: Callable[..., Guard], tmp_path: Path, invoke: Invoke
) -> None:
    guard = load(secrets=SECRETS)
    answer = AIMessage(
        [{"type": "text", "text": f"the key is {CANARY}"}, {"type": "thinking", "thinking": CANARY}],
        additional_kwargs={"reasoning": CANARY, "odd": Odd()},
        response_metadata={"headers": {CANARY: 1}, "authorization": {"password": ["correct horse battery"]}},
        usage_metadata={"input_tokens": 1, "output_tokens": 1, "total_tokens": 2},
        id=CANARY,
    )
    agent = agent_of(guard, None, answer)
    invoke(agent, {"messages": [HumanMessage(["a list", {"type": "text", "text": CANARY}])]}, context=ALICE)
    guard.close()
    assert on_disk(tmp_path, "a list")
    assert not on_disk(tmp_path, CANARY, CANARY[:10], "correct horse battery")
