"""`--tools WHAT`: which reader, and that what it has read is a set of tools.

No framework is imported but the one that is asked for.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from importlib import import_module
from typing import Any

from ringfence.cli.exits import CommandError
from ringfence.cli.tool_sets.files import of_file
from ringfence.dsl.live import LiveTool

WHAT = (
    "`FILE.json` (as MCP's `tools/list` gives it), `langchain:MODULE:TOOLS`, `pydantic-ai:MODULE:NAME`, "
    '`openai-agents:MODULE:NAME`, `python:MODULE:NAMES`, `mcp:"COMMAND …"` or `mcp:URL`'
)
_ADAPTERS = {
    "langchain": "langchain",
    "pydantic-ai": "pydantic_ai",
    "openai-agents": "openai_agents",
    "python": "callables",
}
_LONGEST_NAME = 1_000
_MOST = 10_000


def read_tools(whats: Sequence[str]) -> dict[str, LiveTool]:
    """Return the tools of all these sets, by their names.

    Raises:
        CommandError: One cannot be read, or two tools have one name.
    """
    tools: dict[str, LiveTool] = {}
    for what in whats:
        for tool in _read(what):
            _require_sound(tool, what)
            if tool.name in tools:
                # SECURITY: which of the two runs is not the policy's choice, so it could not speak of either.
                raise CommandError(
                    f"{what} holds a second tool called `{tool.name}`",
                    help="a policy tells tools apart by their names: give one of them another",
                )
            tools[tool.name] = tool
            if len(tools) > _MOST:
                raise CommandError(f"there are more than {_MOST:,} tools", help="give fewer of them at once")
    return tools


def _read(what: str) -> list[LiveTool]:
    kind, colon, rest = what.partition(":")
    if colon and kind in _ADAPTERS:
        return _of_module(what, _ADAPTERS[kind], rest)
    if colon and kind == "mcp":
        return _of_server(what, rest)
    return of_file(what)


def _of_module(what: str, adapter: str, rest: str) -> list[LiveTool]:
    module, _, names = rest.partition(":")
    if not module or not names:
        raise CommandError(f"`{what}` names no module and no tools in it", help=f"one of {WHAT}")
    live_tools = _adapter(f"{adapter}.live")
    try:
        with _from_here(), redirect_stdout(sys.stderr):  # what the module prints is not our data
            home = import_module(module)
            found = [getattr(home, name.strip()) for name in names.split(",")]
            read: list[LiveTool] = live_tools(found[0] if len(found) == 1 else found)
    except (Exception, SystemExit) as error:  # their module may raise anything: nothing is written
        raise CommandError(
            f"{what} gives no tools: {type(error).__name__}: {error}",
            help="MODULE is imported as by Python, from this folder too; behind it stands the tools' name",
        ) from error
    return read


def _of_server(what: str, rest: str) -> list[LiveTool]:
    live_tools = _adapter("mcp.live")
    try:
        read: list[LiveTool] = live_tools(rest)
    except Exception as error:  # a server may answer with anything: nothing is written
        raise CommandError(
            f"{what} gives no tools: {error or type(error).__name__}",
            help='mcp:"COMMAND …" starts a server, mcp:https://… asks one that runs',
        ) from error
    return read


def _adapter(module: str) -> Callable[[Any], list[LiveTool]]:
    try:
        found: Callable[[Any], list[LiveTool]] = import_module(f"ringfence.adapters.{module}").live_tools
    except ImportError as error:
        text, _, command = str(error).partition(": pip install ")
        raise CommandError(text, help=f"pip install {command}" if command else "") from error
    return found


@contextmanager
def _from_here() -> Iterator[None]:
    """Let modules of the current folder be found as well: last, so that none takes the place of another."""
    sys.path.append("")
    try:
        yield
    finally:
        sys.path.remove("")


def _require_sound(tool: LiveTool, what: str) -> None:
    if not tool.name or len(tool.name) > _LONGEST_NAME:
        raise CommandError(f"{what} holds a tool whose name is empty, or longer than {_LONGEST_NAME}")
    try:
        tool.name.encode()
    except UnicodeEncodeError as error:
        raise CommandError(f"{what} holds a tool whose name is no text") from error
