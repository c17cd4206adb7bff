"""A conversation that grows is recorded byte for byte as if each request were the first."""

from collections.abc import Callable
from random import Random
from typing import Any
from uuid import uuid4

import pytest
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, SystemMessage, ToolMessage

from ringfence.adapters.langchain import capture
from ringfence.adapters.langchain.capture import WITNESS, shown
from ringfence.dsl.canonical import canonical
from ringfence.engine.decision.events import ModelAsked, body_of
from ringfence.engine.enforcement.current import inside
from ringfence.engine.enforcement.runs import Run
from tests.guards import ALICE, make_guard

TOOLS = [
    {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}},
    {"type": "web"},
]


class Odd:
    """An artifact that no JSON can say."""


class Own(HumanMessage):
    """A message of somebody's own, which says what it likes."""

    def model_dump(self, **_: Any) -> dict[str, Any]:
        return {"content": "never the same", "id": uuid4().hex}


def a_message(random: Random) -> AnyMessage:
    id = f"m{random.randrange(10**6)}"
    return random.choice(
        [
            lambda: SystemMessage("be good", id=id),
            lambda: HumanMessage([{"type": "text", "text": "é"}, {"type": "image", "data": [1, True, 1.5]}]),
            lambda: HumanMessage(
                "look it up", name="alice", additional_kwargs={"raw": b"\0", "at": {1: "x"}}
            ),
            lambda: AIMessage("", tool_calls=[{"name": "look", "args": {"what": ["x"]}, "id": id}]),
            lambda: AIMessage(
                "done", usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}
            ),
            lambda: ToolMessage("3 rows", tool_call_id=id, artifact=random.choice([None, Odd(), {"n": 1}])),
            lambda: HumanMessage("and more", own=random.choice([1, True, "1"])),
        ]
    )()


def _changes(random: Random) -> Callable[[AnyMessage], None]:
    def content(message: AnyMessage) -> None:
        if isinstance(message.content, list):
            message.content.append({"type": "text", "text": "more"})
        else:
            message.content += "!"

    def metadata(message: AnyMessage) -> None:
        message.response_metadata["finish_reason"] = random.choice([1, True, 1.0, "1", None, Odd()])

    def more(message: AnyMessage) -> None:
        message.additional_kwargs.setdefault("seen", []).append(random.choice([0, False, 0.0]))

    return random.choice([content, metadata, more])


@pytest.mark.parametrize("seed", range(15))
def test_what_is_recorded_is_what_would_be_recorded_of_it_alone(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    random, guard = Random(seed), make_guard()
    noted: list[tuple[Any, bytes | None]] = []
    note = Run.note

    def seen(run: Run, event: Any, *, body: bytes | None = None) -> bool:
        noted.append((event, body))
        return note(run, event, body=body)

    monkeypatch.setattr(Run, "note", seen)
    tools = [dict(tool) for tool in TOOLS]
    conversations: list[list[AnyMessage]] = [[], []]
    with guard.run(principal=ALICE) as run, inside(run):
        for _ in range(12):
            messages = random.choice(conversations)
            messages += [a_message(random) for _ in range(random.randrange(3))]
            if messages and random.random() < 0.5:
                _changes(random)(random.choice(messages))
            if random.random() < 0.2:
                tools[0]["strict"] = random.choice([1, True])
            WITNESS.on_chat_model_start(
                None, [messages], run_id=uuid4(), metadata={}, invocation_params={"tools": tools}
            )
            asked, body = noted.pop()
            assert isinstance(asked, ModelAsked)
            alone = [shown(message, run) for message in messages]
            assert canonical(asked.messages) == canonical(alone)
            assert canonical(asked.tools) == canonical(capture._offered(tools, run))
            assert body == canonical(body_of(asked))
    guard.close()


def test_a_message_of_somebodys_own_is_asked_each_time() -> None:
    guard, message = make_guard(), Own("hello")
    with guard.run(principal=ALICE) as run, inside(run):
        for _ in range(2):
            WITNESS.on_chat_model_start(None, [[message]], run_id=uuid4(), invocation_params={})
    asked = [
        event for event in (s.event for s in guard.runs.get(run.id).events) if isinstance(event, ModelAsked)
    ]
    assert len({canonical(event.messages) for event in asked}) == 2
    guard.close()


def test_what_has_become_secret_is_hidden_where_it_is_said_again() -> None:
    guard = make_guard(secrets={"names": ["password"]})
    # Too long to be kept whole: of what is cut through its middle, nothing can be found any more.
    early = HumanMessage("x" * 490 + "Mephistopheles" + "y" * 2**20)
    late = HumanMessage("log in", additional_kwargs={"password": "Mephistopheles"})
    with guard.run(principal=ALICE) as run, inside(run):
        for messages in ([early], [late], [early]):
            WITNESS.on_chat_model_start(None, [messages], run_id=uuid4(), invocation_params={})
    events = [stamped.event for stamped in guard.runs.get(run.id).events]
    said = [canonical(event.messages) for event in events if isinstance(event, ModelAsked)]
    assert [b"Mephist" in one for one in said] == [True, False, False]
    guard.close()
