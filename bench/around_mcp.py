"""What the gateway adds to a call of an MCP tool over stdio: allowed calls, taking turns with a bare one."""

import asyncio
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mcp import Client, StdioServerParameters

from bench.harness import Row, compared_async

_POLICY = """language 1
policy bench
tool look_up {
  takes table: text, limit: integer
  allow when table in ["users", "orders"]
  require row_cap: limit >= 1 and limit <= 1000
  rate 1000000 per hour for each workspace
}
"""
_SERVER = '''
from mcp.server.mcpserver import MCPServer

server = MCPServer("bench")

@server.tool()
def look_up(table: str, limit: int) -> str:
    """Look rows up."""
    return f"{limit} rows of {table}"

server.run("stdio")
'''


def rows() -> Iterator[Row]:
    """Measure both, interleaved."""
    with tempfile.TemporaryDirectory() as folder:
        bare_ns, guarded_ns = asyncio.run(_measured(Path(folder)))
    yield Row("MCP tools/call over stdio, bare, p50", bare_ns / 1000, "us")
    yield Row("MCP tools/call over stdio, through the gateway, p50", guarded_ns / 1000, "us")
    yield Row("what the gateway adds to tools/call", (guarded_ns / bare_ns - 1) * 100, "%")


async def _measured(folder: Path) -> tuple[float, float]:
    (folder / "bench.fence").write_text(_POLICY, "utf-8")
    (folder / "server.py").write_text(_SERVER, "utf-8")
    server = [sys.executable, str(folder / "server.py")]
    words = ["mcp", "--policy", str(folder / "bench.fence"), "--store", "memory:"]
    words += ["--user", "alice", "--workspace", "w1", "--", *server]
    bare = StdioServerParameters(command=server[0], args=server[1:])
    behind = StdioServerParameters(
        command=sys.executable,
        args=["-m", "ringfence", *words],
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=folder,
    )
    items: list[dict[str, Any]] = [{"table": "users", "limit": 1 + i % 900} for i in range(200)]
    async with Client(bare, cache=None) as one, Client(behind, cache=None) as other:

        async def plainly(arguments: dict[str, Any]) -> object:
            return await one.call_tool("look_up", arguments)

        async def guarded(arguments: dict[str, Any]) -> object:
            result = await other.call_tool("look_up", arguments)
            assert not result.is_error
            return result

        first, second = await compared_async([plainly, guarded], items, rounds=3)
    return first.p50_ns, second.p50_ns
