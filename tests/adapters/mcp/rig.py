"""A gateway in this process, a hostile server in a process of its own behind it, and what became of both."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mcp_types as types
from mcp import Client
from mcp.shared.exceptions import MCPError

from ringfence.adapters.mcp import Gateway, Options, ServerSpec
from ringfence.engine.decision.events import (
    CallDecided,
    CallFailed,
    CallFinished,
    CallRequested,
    CallStarted,
    RunEvent,
)
from ringfence.engine.enforcement.guard import Guard
from tests.guards import ALICE, make_guard

HOSTILE = Path(__file__).with_name("hostile_server.py")

POLICY = """
language 1
policy rig
capability read_data is read
agent main { holds read_data stop after 5 minutes }
tool look is "look" {
  needs read_data takes what: text allow when what != "secret" rate 1000 per run stop after 5 seconds
}
tool spare is "spare" { needs read_data allow always rate 1000 per run stop after 5 seconds }
"""
"""`wipe` and every other tool is not declared, so nobody may call it."""


@dataclass(slots=True)
class Rig:
    """What a test sees of a gateway and its server."""

    gateway: Gateway
    guard: Guard
    client: Client
    witness: Path
    said: list[str] = field(default_factory=list)
    """What the gateway told people."""
    recorded: list[RunEvent] = field(default_factory=list)
    """All events, once the gateway is closed."""

    async def call(self, tool: str, **arguments: Any) -> tuple[bool, str]:
        """Return whether a call ended well, and what the client was told."""
        try:
            result = await self.client.call_tool(tool, arguments)
        except MCPError as error:
            return False, str(error)
        texts = [block.text for block in result.content if isinstance(block, types.TextContent)]
        return not result.is_error, "\n".join(texts)

    async def names(self) -> list[str]:
        return [tool.name for tool in (await self.client.list_tools(cache_mode="bypass")).tools]

    def witnessed(self, what: str = "tool") -> list[Any]:
        """Return what the server saw with its own eyes: the calls that reached it, say."""
        if not self.witness.exists():
            return []
        facts = [json.loads(line) for line in self.witness.read_text().splitlines()]
        return [fact[what] for fact in facts if what in fact]

    def children(self) -> list[int]:
        return [int(pid) for pid in self.witnessed("child")]

    def events(self) -> list[RunEvent]:
        """Return what the guard recorded of all runs."""
        return [
            stamped.event for row in self.guard.runs.list() for stamped in self.guard.runs.get(row.run).events
        ]

    def require_a_sound_record(self) -> None:
        """Fail unless all that reached the server was decided and begun, and every call has an end."""
        events = self.recorded = self.events()
        asked = {event.call: event.tool for event in events if isinstance(event, CallRequested)}
        begun = [asked[event.call] for event in events if isinstance(event, CallStarted)]
        decided = {event.call for event in events if isinstance(event, CallDecided)}
        ended = {event.call for event in events if isinstance(event, CallFinished | CallFailed)}
        assert {event.call for event in events if isinstance(event, CallStarted)} <= decided & ended
        for tool in set(self.witnessed()):
            assert self.witnessed().count(tool) <= begun.count(tool), (self.witnessed(), begun)


@asynccontextmanager
async def behind(
    way: str,
    folder: Path,
    *,
    policy: str = POLICY,
    mode: Any = "auto",
    pins: Any = None,
    asks: bool = False,
) -> AsyncIterator[Rig]:
    """Stand between a client of the SDK and a server that does wrong in this way."""
    witness = folder / "witness"
    guard = make_guard(policy)
    said: list[str] = []
    options = Options(principal=ALICE, say=said.append, pins=pins)
    callbacks: dict[str, Any] = answering(said) if asks else {}
    try:
        async with (
            Gateway(guard, [spec_of(way, witness)], options) as gateway,
            Client(gateway.server(), mode=mode, cache=None, **callbacks) as client,
        ):
            rig = Rig(gateway, guard, client, witness, said)
            yield rig
        await asyncio.to_thread(rig.require_a_sound_record)
        await gone(rig.children())
    finally:
        await guard.aclose()


def spec_of(way: str, witness: Path) -> ServerSpec:
    return ServerSpec(command=(sys.executable, str(HOSTILE), way, str(witness)))


def answering(said: list[str]) -> dict[str, Any]:
    """Return a client's answers to whatever a server asks of it, each of them noted."""

    async def elicit(_: Any, params: Any) -> types.ElicitResult:
        said.append(f"the client was asked: {params.message}")
        return types.ElicitResult(action="accept", content={})

    async def sample(_: Any, params: Any) -> types.CreateMessageResult:
        said.append("the client was asked for its model")
        text = types.TextContent(type="text", text="spent")
        return types.CreateMessageResult(role="assistant", content=text, model="m")

    async def roots(_: Any) -> types.ListRootsResult:
        said.append("the client was asked for its folders")
        return types.ListRootsResult(roots=[])

    return {"elicitation_callback": elicit, "sampling_callback": sample, "list_roots_callback": roots}


async def gone(pids: list[int], within_s: float = 20.0) -> None:
    """Wait until none of these processes runs any more; fail if one does."""
    await until(lambda: not [pid for pid in pids if _runs(pid)], f"{pids} still run", within_s)


async def until(holds: Callable[[], bool], otherwise: str, within_s: float = 20.0) -> None:
    """Wait until a condition holds; fail with `otherwise` if it does not."""
    ends = asyncio.get_running_loop().time() + within_s
    while not holds():
        assert asyncio.get_running_loop().time() < ends, otherwise
        await asyncio.sleep(0.02)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat")
        return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):  # it has gone
        return False
