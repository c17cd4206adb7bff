"""`tools/list`: what the policy lets the client see of what the servers have."""

from typing import Any, Final

import mcp_types as types

from ringfence.adapters.mcp.catalogue import Catalogue, offered
from ringfence.adapters.mcp.connections import Connections, Context
from ringfence.engine.enforcement.catalogue import undeclared
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.seams.errors import RunHaltedError

FRESH_MS: Final = 0
"""How long a client may keep a list: what a policy shows can end at any time."""

_OF_ONE: Final = 'mcp:"COMMAND …"'
_OF_SEVERAL: Final = 'mcp:"NAME=COMMAND …"'
"""What `ringfence init --tools` reads a server's tools from."""


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
        named = any(entry.bound != entry.tool.name for entry in usable.values())
        undeclared(self._guard, usable, _OF_SEVERAL if named else _OF_ONE)
        names = self._guard.visible(run, usable)
        return types.ListToolsResult(
            tools=[offered(usable[name], self._guard.plan) for name in names],
            ttl_ms=FRESH_MS,
            cache_scope="private",
        )
