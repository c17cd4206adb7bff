"""The MCP gateway: stands between a client and its MCP servers, and guards every call.

`ringfence mcp` runs it as a process of its own.  In front it is a server, behind it a client; both sides may
speak the protocol of 2025-11-25 or of 2026-07-28, each by itself.
"""

try:
    import mcp  # noqa: F401 - asked here, so that the reason is told in words
except ImportError as error:  # nothing of this adapter works without it
    raise ImportError('the MCP gateway needs the package `mcp`: pip install "ringfence[mcp]"') from error

from ringfence.adapters.mcp.gateway import Gateway, Options
from ringfence.adapters.mcp.servers import ServerSpec

__all__ = ["Gateway", "Options", "ServerSpec"]
