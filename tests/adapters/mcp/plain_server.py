"""A server of its own process, for tests of the command: what it tells is what it was started with."""

import json
import os
import subprocess
import sys

from mcp.server.mcpserver import MCPServer

server = MCPServer("plain")


@server.tool(structured_output=False)
def look() -> str:
    return json.dumps(dict(os.environ))


@server.tool(structured_output=False)
def spawn() -> str:
    """Leave a child behind that ignores what is asked of it."""
    code = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(600)"
    return str(subprocess.Popen([sys.executable, "-c", code]).pid)


@server.tool(structured_output=False)
def pid() -> str:
    print("this is not for the protocol", file=sys.stderr)
    return str(os.getpid())


if __name__ == "__main__":
    server.run("stdio")
