"""List the pinned tools of a policy's servers, and approve a definition that was changed.

`ringfence pins approve TOOL --by NAME` shows what changed and pins nothing; with --digest it pins exactly
the definition of that digest, and nothing if the server has changed it again meanwhile.
"""

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from ringfence.cli.exits import FINE, PENDING, REFUSED, CommandError
from ringfence.cli.say import Piece, Say

if TYPE_CHECKING:
    from ringfence.adapters.mcp.pins import Pins, Tool
    from ringfence.dsl.plan import Json

_SHORT = 12
_STATES = {"pinned": "green", "new": "yellow", "changed": "bold red"}


def words(command: ArgumentParser) -> None:
    """Say what the command takes."""
    command.add_argument(
        "action", metavar="ACTION", nargs="?", choices=("list", "approve"), default="list",
        help="list (if none is said), or approve",
    )  # fmt: skip
    command.add_argument("tool", metavar="TOOL", nargs="?", help="the tool, or SERVER__TOOL")
    command.add_argument("--policy", metavar="FILE", help="the policy that the pins stand beside")
    command.add_argument("--by", metavar="NAME", help="who approves")
    command.add_argument(
        "--digest", metavar="DIGEST", help="of what was looked at; without it nothing is pinned, only shown"
    )


def run(asked: Namespace, say: Say) -> int:
    """List the pins, or approve one definition; 4 if it was only shown."""
    from ringfence.adapters.mcp.pins import Pins

    path = _file(asked)
    if asked.action == "list":
        if asked.tool or asked.by or asked.digest:
            raise CommandError(
                "list takes no tool, no --by and no --digest", help="say approve TOOL --by NAME"
            )
        return _list(Pins.open(path), say)
    if not asked.tool or not asked.by or not asked.by.strip():
        raise CommandError("approve takes a tool, and --by NAME", help="see `ringfence pins --help`")
    if len(asked.by) > 200:
        raise CommandError("--by is too long for a name", help="say at most 200 characters")
    return _approve(asked, Pins.open(path), say)


def _file(asked: Namespace) -> Path:
    """Return the file of pins, which must be there."""
    from ringfence.adapters.mcp.pins import pins_beside
    from ringfence.cli.desk import settings_of
    from ringfence.engine.seams.escape import escaped

    settings = settings_of(asked)
    policy = Path(asked.policy) if asked.policy else settings.policy and settings.folder / settings.policy
    if policy is None:
        raise CommandError("no policy is named", help="say --policy FILE, or `policy` in ringfence.toml")
    if not policy.exists():
        raise CommandError(
            f"{escaped(str(policy))} does not exist", help="name the policy that the gateway was given"
        )
    path = pins_beside(policy)
    if not path.exists():
        raise CommandError(
            f"{escaped(str(path))} does not exist", help="the gateway pins tools when it first lists them"
        )
    return path


def _list(pins: "Pins", say: Say) -> int:
    tools = pins.tools()
    if say.json:
        say.data({"file": str(pins.path), "tools": [_record(tool) for tool in tools]})
        return FINE
    rows: list[tuple[Piece, ...]] = []
    for tool in tools:
        state, seen = _state(tool), tool.waiting or tool.pinned
        by = tool.pinned.by if tool.pinned else "-"
        rows.append(
            (tool.server, tool.name, (state, _STATES[state]), _short(seen.digest) if seen else "-",
             seen.at if seen else "-", by)
        )  # fmt: skip
    say.table(rows, head=("SERVER", "TOOL", "STATE", "DIGEST", "SEEN", "PINNED BY"))
    waiting = [tool for tool in tools if tool.waiting]
    if waiting:
        say.note(
            "what is new or changed is neither shown nor called: `ringfence pins approve TOOL --by NAME`"
        )
    return FINE


def _approve(asked: Namespace, pins: "Pins", say: Say) -> int:
    from ringfence.engine.seams.escape import escaped

    tool = _named(pins, asked.tool)
    if tool.waiting is None:
        raise CommandError(
            f"nothing of `{escaped(asked.tool)}` waits", help="`ringfence pins` lists what does"
        )
    seen = tool.waiting.digest
    if asked.digest is None:
        if say.json:
            say.data({**_record(tool), "approved": False})
            return PENDING
        _show(tool, say)
        say.note("nothing is pinned yet; to pin exactly this, say the same again with")
        say.note(f"  --digest {seen}")
        return PENDING
    if asked.digest != seen:
        # SECURITY: the whole digest.  Of a part of it, a server can make two definitions that agree: it
        # shows the one and has the other approved.
        _show(tool, say) if not say.json else say.data({**_record(tool), "approved": False})
        say.note(f"nothing is pinned: what waits has another digest, {seen}")
        return REFUSED
    pins.approve(tool.server, tool.name, seen, asked.by)
    if say.json:
        say.data({**_record(tool), "approved": True, "by": asked.by})
    else:
        _show(tool, say)
        say.line(("pinned", "green"), f": {tool.name} of {tool.server}, {_short(seen)}, by {asked.by}")
    return FINE


def _named(pins: "Pins", name: str) -> "Tool":
    """Return the one tool of this name."""
    from ringfence.engine.seams.escape import escaped

    tools = pins.tools()
    # First whose it is: another server may have a tool that calls itself like the whole of this name.
    found = [tool for tool in tools if name == f"{tool.server}__{tool.name}"]
    found = found or [tool for tool in tools if name == tool.name]
    if not found:
        raise CommandError(
            f"no tool `{escaped(name)}` in {escaped(str(pins.path))}", help="`ringfence pins` lists them"
        )
    if len(found) > 1:
        raise CommandError(f"{len(found)} servers have a tool `{escaped(name)}`", help="say SERVER__TOOL")
    return found[0]


def _show(tool: "Tool", say: Say) -> None:
    from ringfence.adapters.mcp.definitions import oddities

    assert tool.waiting is not None
    for line in _changed(tool):
        style = {"-": "red", "+": "green"}.get(line[:1])
        say.line((line, style) if style else line)
    for odd in oddities(tool.waiting.tool):
        say.line(("odd", "bold red"), f": {odd}")


def _changed(tool: "Tool") -> list[str]:
    from dataclasses import asdict

    from ringfence.adapters.mcp.definitions import changed_lines

    before, after = (
        {"server": asdict(who), "tool": seen.tool} if seen and who else {}
        for seen, who in ((tool.pinned, tool.pinned_from), (tool.waiting, tool.waiting_from))
    )
    return changed_lines(before, after)


def _record(tool: "Tool") -> "dict[str, Json]":
    from ringfence.adapters.mcp.definitions import oddities

    record: dict[str, Json] = {"server": tool.server, "tool": tool.name, "state": _state(tool)}
    if tool.pinned:
        record["pinned"] = {"digest": tool.pinned.digest, "at": tool.pinned.at, "by": tool.pinned.by}
    if tool.waiting:
        record["waiting"] = {
            "digest": tool.waiting.digest,
            "at": tool.waiting.at,
            "odd": list(oddities(tool.waiting.tool)),
            "diff": _changed(tool),
        }
    return record


def _state(tool: "Tool") -> str:
    if tool.waiting is None:
        return "pinned"
    return "changed" if tool.pinned else "new"


def _short(digest: str) -> str:
    return digest.removeprefix("sha256:")[:_SHORT]
