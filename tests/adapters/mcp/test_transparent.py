"""Where the policy allows everything, a client is told the same with the gateway as without it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters

from ringfence.adapters.mcp import Gateway, Options, ServerSpec
from ringfence.engine.decision.events import CallFinished
from tests.adapters.mcp.everything.server import everything
from tests.adapters.mcp.everything.tools import TOOLS
from tests.adapters.mcp.judges.places import (
    CHECKOUT,
    EVERYTHING,
    environment,
    free_port,
    gateway,
    serving,
)
from tests.adapters.mcp.judges.policy import allow_all
from tests.adapters.mcp.rig import answering
from tests.adapters.mcp.seen import seen_of_everything
from tests.guards import make_guard

pytestmark = [
    # The tools of servers of the older era use what the newer one has given up.
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]
ERAS = ["legacy", "auto"]
POLICY = allow_all(tool.name for tool in TOOLS)


@asynccontextmanager
async def over_http(command: list[str], log: Path, port: int) -> AsyncIterator[str]:
    served = serving(command, port, log)
    address = await asyncio.to_thread(served.__enter__)
    try:
        yield address
    finally:
        await asyncio.to_thread(served.__exit__, None, None, None)


async def seen(target: Any, mode: Any) -> dict[str, Any]:
    async with Client(target, mode=mode, cache=None, **answering([])) as client:
        return await seen_of_everything(client)


@pytest.mark.parametrize("mode", ERAS)
@pytest.mark.parametrize("behind", ["memory", "stdio", "http"])
async def test_a_client_in_this_process_is_told_the_same(mode: str, behind: str, tmp_path: Path) -> None:
    alone = await seen(everything(), mode)
    guard = make_guard(POLICY)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(guard.aclose)
        if behind == "memory":
            spec = ServerSpec(target=everything())
        elif behind == "stdio":
            spec = ServerSpec(command=tuple(EVERYTHING))
        else:
            port = free_port()
            command = [*EVERYTHING, str(port)]
            spec = ServerSpec(url=await stack.enter_async_context(over_http(command, tmp_path / "log", port)))
        async with Gateway(guard, [spec], Options(say=lambda _: None)) as between:
            told = await seen(between.server(), mode)
        (row,) = guard.runs.list()
        events = guard.runs.get(row.run).events
    assert told == alone
    assert sum(isinstance(stamped.event, CallFinished) for stamped in events) > 20


@pytest.mark.parametrize("mode", ERAS)
async def test_a_client_of_the_command_line_is_told_the_same(mode: str, tmp_path: Path) -> None:
    policy = tmp_path / "all.fence"
    policy.write_text(POLICY)
    first, *rest = gateway(policy, tmp_path / "log.db", "--", *EVERYTHING)
    between = StdioServerParameters(command=first, args=rest, env=environment(), cwd=CHECKOUT)
    assert await seen(between, mode) == await seen(everything(), mode)


@pytest.mark.parametrize("mode", ERAS)
async def test_a_client_over_http_is_told_the_same(mode: str, tmp_path: Path) -> None:
    policy = tmp_path / "all.fence"
    policy.write_text(POLICY)
    port = free_port()
    command = gateway(policy, tmp_path / "log.db", "--listen", f"127.0.0.1:{port}", "--", *EVERYTHING)
    async with over_http(command, tmp_path / "log", port) as address:
        assert await seen(address, mode) == await seen(everything(), mode)
