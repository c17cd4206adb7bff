"""Agents for playbacks: their tools and models fail the test if anything of them runs."""

import socket
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.tools import BaseTool, tool
from langchain_core.utils.function_calling import convert_to_openai_tool

from ringfence.adapters.langchain import Playback
from tests.adapters.langchain.model import ScriptedModel


@pytest.fixture(autouse=True)
def closed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Close what was played, whatever became of it: an open guard keeps its event loop and its threads."""
    made: list[Playback] = []
    begin = Playback.__init__

    def kept(self: Playback, *arguments: Any) -> None:
        begin(self, *arguments)
        made.append(self)

    monkeypatch.setattr(Playback, "__init__", kept)
    yield
    for one in made:
        one.close()


class OfferedModel(ScriptedModel):
    """A scripted model whose requests say what was bound, as those of a provider do."""

    def bind_tools(self, tools: Sequence[Any], **settings: Any) -> Any:
        return self.bind(
            tools=[convert_to_openai_tool(one) for one in tools], **{k: v for k, v in settings.items() if v}
        )


def offering(*script: Any) -> OfferedModel:
    """Return a model with this script that says which tools it was offered."""
    return OfferedModel(script=list(script))


def add(a: int) -> str:
    """Add one."""
    raise AssertionError("a tool ran in a playback")


def send(to: str) -> str:
    """Send a message."""
    raise AssertionError("a tool ran in a playback")


ADDS: BaseTool = tool(add)
SENDS: BaseTool = tool(send)


def agent_in(
    played: Playback, tools: Sequence[Any] = (ADDS,), middleware: Sequence[Any] = (), **more: Any
) -> Any:
    """Return an agent in a playback."""
    return create_agent(played.model, list(tools), middleware=[*middleware, played.middleware()], **more)


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Return what forbids every connection from then on."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a playback went to the network")

    def forbid() -> None:
        monkeypatch.setattr(socket.socket, "connect", refuse)
        monkeypatch.setattr(socket.socket, "connect_ex", refuse)
        monkeypatch.setattr(socket, "getaddrinfo", refuse)

    return forbid
