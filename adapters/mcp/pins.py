"""Pins: what models read of a tool is what a person saw, or what the tool said the first time.

A server may change a description after it was trusted (a "rug pull").  A definition that differs from the
pinned one is quarantined: its tool is neither shown nor called until a person approves exactly what was
seen, by its digest.  The gateway asks at the list and again at every call.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Literal

from ringfence.adapters.mcp.definitions import (
    Definition,
    ServerIdentity,
    UnfitError,
    definition_digest,
    oddities,
)
from ringfence.adapters.mcp.pin_file import Entry, Identity, PinFile, Pinned, PinsError, Seen, Server
from ringfence.adapters.mcp.pin_file import alone as _alone
from ringfence.adapters.mcp.pin_file import read as _read
from ringfence.adapters.mcp.pin_file import write as _write
from ringfence.engine.seams.escape import escaped

__all__ = ["Pins", "PinsError", "Standing", "Tool", "pins_beside"]

Standing = Literal["known", "new", "changed"]

FIRST_USE = "first use"
"""Who pinned what nobody looked at."""

MOST_TOOLS = 2_000
"""Of more tools of one server no definition is kept; they stay unknown."""


def pins_beside(policy: Path) -> Path:
    """Return where the pins of a policy are: `support.fence` has `support.pins.json`."""
    return policy.with_suffix(".pins.json")


@dataclass(frozen=True, slots=True)
class Tool:
    """One row of the file, for people."""

    server: str
    name: str
    pinned: Pinned | None
    waiting: Seen | None
    pinned_from: ServerIdentity | None
    waiting_from: ServerIdentity | None


def _named(server: str, tool: object) -> str:
    return escaped(f"`{tool}` of `{server}`"[:200])


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


class Pins:
    """The pins of one policy.  Several gateways may use one file; each sees what the others pin."""

    def __init__(self, path: Path, now: Callable[[], str]) -> None:
        self.path = path
        self._now = now
        self._met: dict[str, ServerIdentity] = {}
        self._content = PinFile()
        self._mark: tuple[int, int, int] | None = None
        self._read_anew()

    @classmethod
    def open(cls, path: str | Path, *, now: Callable[[], str] = _now) -> "Pins":
        """Read the pins; where there is no file yet, the first pin makes it.

        Raises:
            PinsError: The file is damaged.  Nothing is known then, and the gateway must not start.
        """
        return cls(Path(path), now)

    def meet(self, server: str, where: str, instructions: str | None) -> None:
        """Say who a server is, before its tools are judged: a pin covers it.

        Args:
            where: Its command line or its URL.
            instructions: What it tells every model, if anything.
        """
        self._met[server] = ServerIdentity(where, instructions)

    def judge(self, server: str, tool: Definition) -> Standing:
        """Say whether a definition is the pinned one; a changed one is kept for a person to see.

        What cannot be pinned at all (no JSON, too deep, too long) is "changed".
        """
        digest = self._digest(server, tool)
        if digest is None:
            return "changed"
        self._read_anew()
        standing = self._standing(server, tool, digest)
        if standing == "changed" and not self._waits(server, tool, digest):
            with _alone(self.path):
                self._read_anew()
                standing = self._standing(server, tool, digest)
                if standing == "changed":
                    self._hold(server, tool, digest)
                    self._put()
        return standing

    def accept(self, server: str, tool: Definition, by: str) -> None:
        """Pin a definition as it is, on somebody's word.

        Raises:
            PinsError: It cannot be pinned, or the file cannot be written.
        """
        digest = self._digest(server, tool)
        if digest is None:
            raise PinsError(
                f"{_named(server, tool.get('name'))} cannot be pinned: {' '.join(oddities(tool))}"
            )
        with _alone(self.path):
            self._read_anew()
            self._pin(server, tool, digest, by)
            self._put()

    def settle(
        self, server: str, tools: Sequence[Definition], *, first_use: bool = True
    ) -> list[tuple[Standing, str]]:
        """Judge a whole list at once; return a standing for each tool and, unless it is known, why.

        Only what is "known" may be shown or called.  A tool that is met for the first time is pinned and
        known at once, unless it is odd (`oddities`) or `first_use` is False: then it waits for a person.
        Of two tools of one name neither is known.
        """
        self._read_anew()
        names = Counter(str(tool.get("name")) for tool in tools)
        judged = [self._judged(server, tool, names, first_use) for tool in tools]
        if all(kept for *_, kept in judged):
            return [(standing, why) for standing, why, _ in judged]
        with _alone(self.path):
            self._read_anew()
            done = [self._settled(server, tool, names, first_use) for tool in tools]
            self._put()
        return done

    def _judged(
        self, server: str, tool: Definition, names: Counter[str], first_use: bool
    ) -> tuple[Standing, str, bool]:
        """Return the standing, why, and whether the file says so already."""
        if names[str(tool.get("name"))] > 1:
            return "changed", "two tools have this name", True
        digest = self._digest(server, tool)
        if digest is None:
            return "changed", " ".join(oddities(tool)), True
        standing = self._standing(server, tool, digest)
        if standing == "known":
            return standing, "", True
        odd = oddities(tool)
        if standing == "new" and first_use and not odd:
            return "known", "", False
        why = "; ".join(odd) or ("not what is pinned" if standing == "changed" else "nobody has pinned it")
        return standing, why, self._waits(server, tool, digest)

    def _settled(
        self, server: str, tool: Definition, names: Counter[str], first_use: bool
    ) -> tuple[Standing, str]:
        standing, why, kept = self._judged(server, tool, names, first_use)
        digest = None if kept else self._digest(server, tool)
        if digest is not None and standing == "known":
            if not self._has_room(server, tool):
                return "new", f"more than {MOST_TOOLS} tools"
            self._pin(server, tool, digest, FIRST_USE)
        elif digest is not None:
            self._hold(server, tool, digest)
        return standing, why

    def tools(self) -> list[Tool]:
        """Return every tool in the file, those of one server together."""
        self._read_anew()
        return [
            Tool(
                server_name,
                name,
                entry.pinned,
                entry.waiting,
                server.identity(entry.pinned) if entry.pinned else None,
                server.identity(entry.waiting) if entry.waiting else None,
            )
            for server_name, server in self._content.servers.items()
            for name, entry in server.tools.items()
        ]

    def approve(self, server: str, name: str, digest: str, by: str) -> None:
        """Pin what waits for a person, if it is still what that person saw.

        Args:
            digest: Of the definition that was looked at; if the server has changed it meanwhile, nothing
                is approved.
        """
        with _alone(self.path):
            self._read_anew()
            entry = self._entry(server, name)
            if entry is None or entry.waiting is None:
                raise PinsError(f"nothing of {_named(server, name)} waits")
            if entry.waiting.digest != digest:
                raise PinsError(
                    f"{_named(server, name)} has changed again since: what waits is {entry.waiting.digest}",
                    help="look at it once more; nothing was approved",
                )
            seen = entry.waiting
            entry.pinned = Pinned(
                digest=seen.digest, at=self._now(), server=seen.server, tool=seen.tool, by=by
            )
            entry.waiting = None
            self._put()

    def _digest(self, server: str, tool: Definition) -> str | None:
        """Return the digest of a definition; None: it cannot be pinned."""
        identity = self._met.get(server)
        if identity is None:
            raise PinsError(
                f"server `{escaped(server)}` was never met: say where it is before its tools are judged"
            )
        if not isinstance(tool.get("name"), str):
            return None
        try:
            return definition_digest(server, identity, tool)
        except UnfitError:
            return None  # fails closed: it is known to nobody

    def _entry(self, server: str, name: str) -> Entry | None:
        found = self._content.servers.get(server)
        return None if found is None else found.tools.get(name)

    def _standing(self, server: str, tool: Definition, digest: str) -> Standing:
        entry = self._entry(server, str(tool["name"]))
        if entry is None or entry.pinned is None:
            return "new"
        return "known" if entry.pinned.digest == digest else "changed"

    def _waits(self, server: str, tool: Definition, digest: str) -> bool:
        entry = self._entry(server, str(tool["name"]))
        return entry is not None and entry.waiting is not None and entry.waiting.digest == digest

    def _has_room(self, server: str, tool: Definition) -> bool:
        known = self._content.servers.get(server)
        return known is None or len(known.tools) < MOST_TOOLS or str(tool["name"]) in known.tools

    def _hold(self, server: str, tool: Definition, digest: str) -> None:
        if self._has_room(server, tool):
            kept, entry, identity = self._place(server, tool)
            entry.waiting = Seen(digest=digest, at=self._now(), server=identity, tool=tool)
            kept.tools[str(tool["name"])] = entry

    def _pin(self, server: str, tool: Definition, digest: str, by: str) -> None:
        kept, entry, identity = self._place(server, tool)
        entry.pinned = Pinned(digest=digest, at=self._now(), server=identity, tool=tool, by=by)
        entry.waiting = None
        kept.tools[str(tool["name"])] = entry

    def _place(self, server: str, tool: Definition) -> tuple[Server, Entry, str]:
        kept = self._content.servers.setdefault(server, Server())
        who = self._met[server]
        short = sha256(repr((who.where, who.instructions)).encode("utf-8", "backslashreplace")).hexdigest()[
            :16
        ]
        kept.identities.setdefault(short, Identity(where=who.where, instructions=who.instructions))
        return kept, kept.tools.get(str(tool["name"])) or Entry(), short

    def _put(self) -> None:
        """Write the file; if that fails, what was changed here is forgotten, and read again."""
        content, before = self._content, self._mark
        self._content, self._mark = PinFile(), None if before is None else (0, 0, 0)
        _write(self.path, content)
        self._content, self._mark = content, self._stat()

    def _stat(self) -> tuple[int, int, int] | None:
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise PinsError(f"{escaped(str(self.path))} cannot be read: {error.strerror or error}") from error
        return found.st_mtime_ns, found.st_size, found.st_ino

    def _read_anew(self) -> None:
        """Read the file if it is another one than before."""
        mark = self._stat()
        if mark is not None and mark == self._mark:
            return
        found = _read(self.path)
        if found is None and self._mark is not None:
            # SECURITY: without its file every tool would be new, and a changed one would be pinned as such.
            raise PinsError(
                f"{escaped(str(self.path))} is gone",
                help="put it back, or start the gateway again without it",
            )
        self._content, self._mark = found or PinFile(), mark
