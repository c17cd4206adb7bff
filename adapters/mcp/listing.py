"""`tools/list`: what the policy lets the client see of what the servers have."""

from collections.abc import Iterable
from typing import Any, Final

import mcp_types as types

from ringfence.adapters.mcp.catalogue import Catalogue, Entry, offered
from ringfence.adapters.mcp.connections import Connections, Context
from ringfence.engine.enforcement.catalogue import undeclared
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.seams.errors import RunHaltedError

FRESH_MS: Final = 0
"""How long a client may keep a list: what a policy shows can end at any time."""


class Listing:
    """Answers lists of tools."""

    def __init__(self, guard: Guard, connections: Connections, catalogue: Catalogue) -> None:
        self._guard = guard
        self._connections = connections
        self._catalogue = catalogue

    def schema_of(self, shown: str) -> dict[str, Any] | None:
        """Return a tool's input schema as it was listed last: for the headers of HTTP alone."""
        return self._catalogue.schema_of(shown)

    async def tools(
        self, context: Context, params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        """Answer with all of them on one page."""
        connection = self._connections.of(context)
        run = await self._connections.run(connection, context)
        try:
            run.check_live()
        except RunHaltedError:  # nothing of it may be called any more
            return types.ListToolsResult(tools=[], ttl_ms=FRESH_MS, cache_scope="private")
        usable = {entry.bound: entry for entry in await self._catalogue.entries() if entry.lacking is None}
        name_undeclared(self._guard, usable.values())
        names = self._guard.visible(run, usable)
        return types.ListToolsResult(
            tools=[offered(usable[name], self._guard.plan) for name in names],
            ttl_ms=FRESH_MS,
            cache_scope="private",
        )


def name_undeclared(guard: Guard, entries: Iterable[Entry]) -> None:
    """Name, once, the tools that the policy does not declare, for each server that has some."""
    bound: dict[str, list[str]] = {}
    for entry in entries:
        bound.setdefault(entry.back.spec.name, []).append(entry.bound)
    for server, names in bound.items():
        undeclared(guard, names, f"mcp:{server}=COMMAND" if server else "mcp:COMMAND")
