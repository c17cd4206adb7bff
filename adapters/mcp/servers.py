"""Which servers stand behind the gateway, and what their tools are called on either side of it."""

import os
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,31}")
RESERVED: Final = "mcp"
"""`mcp/…` names the protocol's own requests in a policy."""
ONLY: Final = "main"
"""What a policy's `server` argument says of a server that has no name."""
_INHERITED: Final = ("HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "TZ", "USER")


class ServerMistakeError(ValueError):
    """A server that cannot be what was said of it, in a sentence for the person who said it."""


@dataclass(frozen=True, slots=True)
class ServerSpec:
    """One server: a command to start, or a URL to reach."""

    name: str = ""
    """Prefixes its tools; empty: the only server, whose tools keep their names."""
    command: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Variables that it gets beside the few that every program needs; nothing else of ours."""
    url: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Sent to the URL with every request: never those of the client in front."""
    target: Any = field(default=None, repr=False, compare=False)
    """A server in this process, for tests."""

    def __post_init__(self) -> None:
        # SECURITY: with `_` at its end, another server could take away its tools, by naming one like them.
        doubtful = "__" in self.name or self.name.endswith("_") or self.name == RESERVED
        if self.name and (doubtful or not _NAME.fullmatch(self.name)):
            raise ServerMistakeError(
                f"`{self.name}` is no name for a server: lower-case letters, digits, `-` and single `_`, "
                f"a letter first, no `_` last, and not `{RESERVED}`"
            )
        if (bool(self.command) + (self.url is not None) + (self.target is not None)) != 1:
            raise ServerMistakeError(f"{self.said}: a server has either a command or a url")
        if self.url is not None:
            parts = urlsplit(self.url)
            if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
                raise ServerMistakeError(f"{self.said}: the url must be http or https, without user names")

    @property
    def said(self) -> str:
        """What messages call it."""
        return f"server `{self.name}`" if self.name else "the server"

    @property
    def argument(self) -> str:
        """What the argument `server` of the protocol's own requests says."""
        return self.name or ONLY

    @property
    def where(self) -> str:
        """Where it is reached: part of what is pinned."""
        return self.url if self.url is not None else shlex.join(self.command) or "in this process"

    def environment(self) -> dict[str, str]:
        """Return the whole environment of its process."""
        # SECURITY: a server sees none of our variables, which hold keys of models and stores.
        plain = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        return {**plain, **self.env}

    def bound(self, tool: str) -> str:
        """Return the name by which a policy binds a tool."""
        return f"{self.name}/{tool}" if self.name else tool

    def shown(self, tool: str) -> str:
        """Return the name by which a client knows a tool."""
        return f"{self.name}__{tool}" if self.name else tool


def parse_server(said: str, *, env: Mapping[str, str]) -> ServerSpec:
    """Read `NAME=COMMAND` or `NAME=URL` of a command line."""
    name, equals, rest = said.partition("=")
    if not equals or not name or not rest.strip():
        raise ServerMistakeError(f"`{said}` is no server: write NAME=COMMAND or NAME=URL")
    if rest.startswith(("http://", "https://")):
        return ServerSpec(name, url=rest)
    try:
        words = shlex.split(rest)
    except ValueError as error:
        raise ServerMistakeError(f"the command of server `{name}` cannot be read: {error}") from error
    return ServerSpec(name, command=tuple(words), env=env)


def server_of(said: str) -> ServerSpec:
    """Read `COMMAND`, `URL`, or one of them with `NAME=` before it, as `ringfence mcp` calls the server."""
    name, equals, _ = said.partition("=")
    if equals and _NAME.fullmatch(name):
        return parse_server(said, env={})
    if said.startswith(("http://", "https://")):
        return ServerSpec(url=said)
    try:
        words = shlex.split(said)
    except ValueError as error:
        raise ServerMistakeError(f"the command of the server cannot be read: {error}") from error
    return ServerSpec(command=tuple(words))


def refuse_doubles(specs: Iterable[ServerSpec]) -> tuple[ServerSpec, ...]:
    """Return the servers; raise ServerMistakeError if two have one name, or one of several has none."""
    found = tuple(specs)
    names = [spec.name for spec in found]
    if len(names) > 1 and "" in names:
        raise ServerMistakeError("of several servers each must have a name: the tools of one are bound by it")
    for name in names:
        if names.count(name) > 1:
            raise ServerMistakeError(f"two servers are called `{name}`: give one of them another name")
    return found
