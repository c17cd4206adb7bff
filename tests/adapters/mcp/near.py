"""A gateway, its servers and its client in one process: for what is about the gateway alone."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import mcp_types as types
from mcp import Client
from mcp.shared.exceptions import MCPError

from ringfence.adapters.mcp import Gateway, Options, ServerSpec
from ringfence.engine.decision.events import RunEvent
from ringfence.engine.enforcement.guard import Guard
from tests.guards import ALICE, make_guard

ERAS = ("legacy", "auto")


@dataclass(slots=True)
class Near:
    """What a test sees."""

    guard: Guard
    gateway: Gateway
    client: Client
    said: list[str] = field(default_factory=list)

    async def told(self, tool: str, /, **arguments: Any) -> str:
        """Return what a call told: its text, or the error's, with a mark."""
        try:
            return text_of(await self.client.call_tool(tool, arguments))
        except MCPError as error:
            return f"! {error}"

    async def names(self) -> list[str]:
        return [tool.name for tool in (await self.client.list_tools()).tools]

    def events(self, *kinds: type[RunEvent]) -> list[Any]:
        found = [
            stamped.event for row in self.guard.runs.list() for stamped in self.guard.runs.get(row.run).events
        ]
        return [event for event in found if not kinds or isinstance(event, kinds)]


def text_of(result: types.CallToolResult) -> str:
    texts = [block.text for block in result.content if isinstance(block, types.TextContent)]
    return ("? " if result.is_error else "") + "\n".join(texts)


@asynccontextmanager
async def near(
    policy: str,
    servers: Any,
    *,
    era: Any = "auto",
    options: dict[str, Any] | None = None,
    settings: dict[str, Any] | None = None,
    **client: Any,
) -> AsyncIterator[Near]:
    """Connect all of it; `servers` is the only one, or several by their names."""
    named = servers if isinstance(servers, dict) else {"": servers}
    guard = make_guard(policy, **(settings or {}))
    said: list[str] = []
    chosen = Options(**{"principal": ALICE, "say": said.append, **(options or {})})
    specs: Sequence[ServerSpec] = [ServerSpec(name, target=server) for name, server in named.items()]
    try:
        async with (
            Gateway(guard, specs, chosen) as gateway,
            Client(gateway.server(), mode=era, cache=None, **client) as connected,
        ):
            yield Near(guard, gateway, connected, said)
    finally:
        await guard.aclose()


def answers(action: Any, approve: bool | None = None, seen: list[str] | None = None) -> Any:
    """Return a client's answer to forms."""

    async def elicit(_: Any, params: Any) -> types.ElicitResult:
        if seen is not None:
            seen.append(params.message)
        return types.ElicitResult(action=action, content=None if approve is None else {"approve": approve})

    return elicit
