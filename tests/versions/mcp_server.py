"""A server of MCP 1.x over stdio; notes every call that reaches it in the file that it is given."""

import json
import sys
from pathlib import Path
from typing import Any

from mcp.server.fastmcp import FastMCP

server = FastMCP("office", log_level="ERROR")


def note(tool: str, **arguments: Any) -> None:
    with Path(sys.argv[1]).open("a", encoding="utf-8") as file:
        file.write(json.dumps([tool, arguments]) + "\n")


@server.tool()
def add(a: int, b: int = 1) -> int:
    """Add two numbers."""
    note("add", a=a, b=b)
    return a + b


@server.tool()
def send(to: str, body: str = "") -> str:
    """Send a message."""
    note("send", to=to, body=body)
    return f"sent to {to}"


@server.tool()
def wipe(what: str) -> str:
    """Wipe something out."""
    note("wipe", what=what)
    return f"wiped {what}"


@server.tool()
def fail(what: str) -> str:
    """Fail."""
    note("fail", what=what)
    raise ValueError(f"{what} is broken")


if __name__ == "__main__":
    server.run("stdio")
