"""Live tool sets as commands read them: from a file, from a module, from a server."""

from ringfence.cli.tool_sets.reading import WHAT, read_tools

__all__ = ["WHAT", "read_tools"]
