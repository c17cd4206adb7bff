"""The tools of all servers as they are defined now: named, looked at, pinned, and none of them twice."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import mcp_types as types
from mcp.shared.exceptions import MCPError

from ringfence.adapters.mcp.back import Back
from ringfence.adapters.mcp.link import ServerAwayError
from ringfence.adapters.mcp.pins import PinsError
from ringfence.adapters.mcp.process import Say
from ringfence.adapters.mcp.results import is_limited
from ringfence.adapters.mcp.schemas import ArgumentSchema, UnfitSchemaError
from ringfence.adapters.mcp.servers import RESERVED
from ringfence.dsl.plan import Plan
from ringfence.engine.seams.escape import escaped

Definition = dict[str, Any]
Judgement = Literal["known", "new", "changed"]


_Schemas = dict[str, tuple[dict[str, Any], ArgumentSchema | None]]
"""By the tool's name: its input schema, and what checks it."""


class Judge(Protocol):
    """What says of definitions whether they may be shown: the pins."""

    def meet(self, server: str, where: str, instructions: str | None) -> None:
        """Say who a server is, before its tools are judged."""
        ...

    def settle(
        self, server: str, tools: Sequence[Definition], *, first_use: bool
    ) -> list[tuple[Judgement, str]]:
        """Judge a whole list; only what is known may be shown or called."""
        ...


@dataclass(frozen=True, slots=True)
class Entry:
    """One tool of one server."""

    back: Back
    tool: types.Tool
    bound: str
    """As a policy names it."""
    shown: str
    """As the client names it."""
    lacking: str | None
    """Why it is neither shown nor called, whatever the policy says; None: nothing."""
    schema: ArgumentSchema | None


class Catalogue:
    """All tools of all servers; looked up anew whenever they may have changed."""

    def __init__(
        self, backs: Sequence[Back], plan: Plan, pins: Judge | None, say: Say, *, first_use: bool = True
    ) -> None:
        self._backs = backs
        self._plan = plan
        self._pins = pins
        self._first_use = first_use
        self._say = say
        self._said: set[str] = set()
        self._listed: dict[str, dict[str, Any]] = {}
        self._schemas: dict[str, _Schemas] = {}
        """By server: those of its last list, and no others."""

    async def entries(self) -> list[Entry]:
        """Return every tool as its server defines it now; of a server that is away, nothing.

        A name that two tools have is there twice, and neither of them may be used.
        """
        found = await self._of(self._backs)
        self._listed = {entry.shown: entry.tool.input_schema for entry in found if entry.lacking is None}
        return found

    async def find(self, shown: str) -> Entry | None:
        """Return the tool that the client calls so, as it is defined now; one that is there twice lacks."""
        # Only these can have a tool of that name; no other one is asked, or waited for.
        backs = [back for back in self._backs if shown.startswith(back.spec.shown(""))]
        return next((entry for entry in await self._of(backs) if entry.shown == shown), None)

    async def _of(self, backs: Sequence[Back]) -> list[Entry]:
        listed = await asyncio.gather(*[self._entries(back) for back in backs])
        return self._without_doubles([entry for entries in listed for entry in entries])

    def schema_of(self, shown: str) -> dict[str, Any] | None:
        """Return a tool's input schema as it was listed last: for the headers of HTTP alone."""
        return self._listed.get(shown)

    async def _entries(self, back: Back) -> list[Entry]:
        try:
            if (await back.capabilities()).tools is None:
                return []
            tools = await back.tools()
            judged = self._judged(back, tools, await back.instructions())
        except (ServerAwayError, MCPError, ValueError, RuntimeError, PinsError) as error:
            # fails closed: what cannot be listed or judged is neither shown nor called
            self._tell(f"{back.spec.said} lists no tools: {error}")
            return []
        before, self._schemas[back.spec.argument] = self._schemas.get(back.spec.argument, {}), {}
        return [self._entry(back, tool, lacking, before) for tool, lacking in zip(tools, judged, strict=True)]

    def _judged(self, back: Back, tools: Sequence[types.Tool], instructions: str | None) -> list[str | None]:
        """Return for each tool why its definition must not be used; None: it may."""
        if self._pins is None:
            return [None] * len(tools)
        server = back.spec.argument
        self._pins.meet(server, back.spec.where, instructions)
        settled = self._pins.settle(server, [definition_of(one) for one in tools], first_use=self._first_use)
        return [None if standing == "known" else f"{standing}: {why}" for standing, why in settled]

    def _entry(self, back: Back, tool: types.Tool, lacking: str | None, before: "_Schemas") -> Entry:
        spec = back.spec
        bound, shown = spec.bound(tool.name), spec.shown(tool.name)
        schema: ArgumentSchema | None = None
        if not spec.name and tool.name.startswith(f"{RESERVED}/"):
            lacking = f"its name begins with `{RESERVED}/`, which names the protocol's own requests"
        if lacking is None:
            schema = self._schema(spec.argument, tool, before)
            lacking = None if schema is not None else "its input schema is no JSON Schema"
        if lacking is not None and bound in self._plan.by_bound_name:
            self._tell(f"the tool `{bound}` is held back: {lacking}; see `ringfence pins`")
        return Entry(back, tool, bound, shown, lacking, schema)

    def _schema(self, server: str, tool: types.Tool, before: "_Schemas") -> ArgumentSchema | None:
        known = before.get(tool.name)
        if known is None or known[0] != tool.input_schema:
            try:
                known = tool.input_schema, ArgumentSchema(tool.input_schema)
            except UnfitSchemaError:  # fails closed: nothing fits it
                known = tool.input_schema, None
        self._schemas[server][tool.name] = known
        return known[1]

    def _without_doubles(self, found: list[Entry]) -> list[Entry]:
        by_name: dict[str, list[Entry]] = {}
        for entry in found:
            by_name.setdefault(entry.shown, []).append(entry)
        entries: list[Entry] = []
        for shown, same in by_name.items():
            if len(same) == 1:
                entries += same
                continue
            # SECURITY: whichever were taken, the other one's author would choose what is run.
            whose = " and ".join(f"`{one.tool.name}` of {one.back.spec.said}" for one in same)
            why = f"two tools are called `{shown}`: {whose}; neither is used"
            self._tell(why)
            entries += [Entry(e.back, e.tool, e.bound, e.shown, why, None) for e in same]
        return entries

    def _tell(self, what: str) -> None:
        """Tell people, once."""
        text = escaped(what[:500])
        if text not in self._said and len(self._said) < 1_000:
            self._said.add(text)
            self._say(text)


def definition_of(tool: types.Tool) -> Definition:
    """Return the definition as it is pinned: all that could be shown of it."""
    return tool.model_dump(mode="json", by_alias=True, exclude_none=True)


def offered(entry: Entry, plan: Plan) -> types.Tool:
    """Return what the client is shown of a tool."""
    changes: dict[str, Any] = {"name": entry.shown, "execution": None}
    if is_limited(plan.by_bound_name.get(entry.bound)):
        # What is cut may no longer be of the form that the server promised.
        changes["output_schema"] = None
    return entry.tool.model_copy(update=changes)
