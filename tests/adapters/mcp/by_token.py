"""A gateway over HTTP, and two clients with a token each."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.server.mcpserver import MCPServer

from ringfence.adapters.mcp import Gateway, Options, ServerSpec
from ringfence.adapters.mcp.http import PATH, listen, serving
from ringfence.adapters.mcp.tokens import Tokens
from ringfence.engine.enforcement.guard import Guard
from tests.guards import make_guard

POLICY = """
language 1
policy shared
principal has tier: text
agent main { at most 3 calls }
tool mine { takes what: text  allow when what == principal.user }
"""
_TIER = 'tier = "gold"\n'
ANN, BOB = "ann's token, which is long enough", "bob's token, which is long enough"


def echo() -> MCPServer:
    """Return a server whose one tool says what it was given."""
    server = MCPServer("mine")

    @server.tool(structured_output=False)
    def mine(what: str) -> str:
        return f"of {what}"

    return server


@asynccontextmanager
async def served(
    folder: Path, *, policy: str = POLICY, server: Any = None, settings: Any = None, **options: Any
) -> AsyncIterator[tuple[Guard, str, Gateway]]:
    """Serve a gateway over HTTP to whoever has the token of Ann or Bob."""
    file = folder / "tokens.toml"
    file.write_text(
        f'[ann]\ntoken = "{ANN}"\nuser = "ann"\n{_TIER if "tier" in policy else ""}'
        f'[bob]\nsha256 = "{sha256(BOB.encode()).hexdigest()}"\nuser = "bob"\n'
    )
    file.chmod(0o600)
    guard = make_guard(policy, **(settings or {}))
    tokens = Tokens.read(file, guard.plan)
    chosen = Options(whose=tokens.whose, say=lambda _: None, **options)
    try:
        with listen("127.0.0.1", 0) as listening:
            url = f"http://127.0.0.1:{listening.getsockname()[1]}{PATH}"
            async with (
                Gateway(guard, [ServerSpec(target=server or echo())], chosen) as gateway,
                serving(gateway, listening, host="127.0.0.1", tokens=tokens),
            ):
                yield guard, url, gateway
    finally:
        await guard.aclose()


@asynccontextmanager
async def client_of(url: str, token: str, era: Any, **answers: Any) -> AsyncIterator[Client]:
    """Connect a client that has a token."""
    async with (
        httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}) as http,
        Client(streamable_http_client(url, http_client=http), mode=era, cache=None, **answers) as client,
    ):
        yield client
