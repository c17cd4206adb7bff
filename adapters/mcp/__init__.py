"""The MCP gateway: stands between a client and its MCP servers, and guards every call.

`ringfence mcp` runs it as a process of its own.  In front it is a server, behind it a client; both sides may
speak the protocol of 2025-11-25 or of 2026-07-28, each by itself.
"""

from importlib.util import find_spec
from typing import TYPE_CHECKING

if find_spec("mcp") is None:  # nothing of this adapter works without it
    raise ImportError('the MCP gateway needs the package `mcp`: pip install "ringfence[mcp]"')

if TYPE_CHECKING:
    from ringfence.adapters.mcp.gateway import Gateway, Options
    from ringfence.adapters.mcp.servers import ServerSpec

__all__ = ["Gateway", "Options", "ServerSpec"]


def __getattr__(name: str) -> object:
    """Load what is asked for: reading pins needs none of the protocol's package."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ringfence.adapters.mcp import gateway

    return getattr(gateway, name)
