"""Small agents with tools that note what they did."""

from collections.abc import Sequence
from typing import Any

from pydantic_ai import Agent, DeferredToolRequests
from pydantic_ai.messages import ModelMessage

from ringfence.adapters.pydantic_ai import Guarded
from ringfence.engine.decision import events as e
from ringfence.engine.decision.calls import Principal
from ringfence.engine.enforcement.guard import Guard
from ringfence.testing import Asked, Told
from tests.adapters.pydantic_ai.scripted import Script, told

ALICE = Principal(user="alice", workspace="w1")


class Notes:
    """What ran."""

    def __init__(self) -> None:
        self.ran: list[tuple[str, dict[str, Any]]] = []

    def note(self, tool: str, **arguments: Any) -> str:
        """Note that a body began."""
        self.ran.append((tool, arguments))
        return f"{tool} did it"

    def look(self, what: str) -> str:
        """Look something up."""
        return self.note("look", what=what)

    def send(self, to: str = "eve") -> str:
        """Send something."""
        return self.note("send", to=to)

    def wipe(self, what: str) -> str:
        """Wipe something out."""
        return self.note("wipe", what=what)


class Played:
    """An agent's run to its end."""

    def __init__(self, result: Any) -> None:
        self.output = result.output
        self.messages: list[ModelMessage] = result.all_messages()
        self.told: list[Told] = told(self.messages)

    def texts(self) -> list[tuple[str, bool]]:
        """Return what was told, and whether it was a failure."""
        return [(one.text, one.failed) for one in self.told]


def asked(tool: str, /, id: str = "c1", **arguments: Any) -> Sequence[Asked]:
    """Return a turn of one call."""
    return [Asked(tool, arguments, id)]


async def play(
    guard: Guard,
    *turns: Sequence[Asked],
    capabilities: Sequence[Any] = (),
    before: Sequence[Any] = (),
    output_type: Any = (str, DeferredToolRequests),
    run: Any = None,
    guarded: Guarded | None = None,
    script: Script | None = None,
    **agent: Any,
) -> Played:
    """Run an agent whose model asks for these turns.

    Args:
        capabilities: Those that stand after the guard's in the list.
        before: Those that stand before it.
        run: What is passed to `run` beside the prompt.
    """
    script = script or Script(turns)
    capability = guarded or Guarded(guard, principal=ALICE)
    made: Agent[Any, Any] = Agent(
        script.model(),
        capabilities=[*before, capability, *capabilities],
        output_type=list(output_type) if isinstance(output_type, tuple) else output_type,
        **agent,
    )
    return Played(await made.run("go", **(run or {})))


async def events(guard: Guard, *kinds: type[Any]) -> list[Any]:
    """Return the events of these kinds of all runs, the oldest run first."""
    found: list[Any] = []
    for row in reversed(await guard.runs.alist()):
        record = await guard.runs.aget(row.run)
        found += [one.event for one in record.events if isinstance(one.event, kinds)]
    return found


async def verdicts(guard: Guard) -> list[tuple[str, str]]:
    """Return tool and verdict of every decision."""
    named = {one.call: one.tool for one in await events(guard, e.CallRequested)}
    return [(named[one.call], one.verdict) for one in await events(guard, e.CallDecided)]


async def statuses(guard: Guard) -> list[str]:
    """Return how each run stands, the oldest first."""
    return [row.status for row in reversed(await guard.runs.alist())]
