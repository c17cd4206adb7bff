"""`python -m tests.adapters.mcp.everything` serves on stdio; with a port, over HTTP on loopback."""

import sys
import warnings

import anyio
import uvicorn
from mcp.server.stdio import stdio_server
from mcp.shared.exceptions import MCPDeprecationWarning

from tests.adapters.mcp.everything.events import Kept
from tests.adapters.mcp.everything.server import everything


async def _stdio() -> None:
    server = everything()
    async with stdio_server() as (heard, told):
        await server.run(heard, told, server.create_initialization_options())


def main() -> None:
    # The tools that the suite asks of servers of the older era use what the newer one has given up.
    warnings.simplefilter("ignore", MCPDeprecationWarning)
    if len(sys.argv) == 1:
        anyio.run(_stdio)
        return
    app = everything().streamable_http_app(event_store=Kept(), retry_interval=100)
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")


if __name__ == "__main__":
    main()
