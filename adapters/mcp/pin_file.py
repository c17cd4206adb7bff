"""The file of pins: read whole, written whole, by one process at a time.

It stands beside the policy, and is text that can be reviewed and kept with it.  Whoever may write it says
what models read, as whoever may write the policy does.
"""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ringfence.adapters.mcp.definitions import ServerIdentity, UnfitError, definition_digest
from ringfence.engine.seams.errors import RingfenceError
from ringfence.engine.seams.escape import escaped

try:
    import fcntl
except ImportError:  # no such locks here: `alone` refuses to write
    fcntl = None  # type: ignore[assignment]


class PinsError(RingfenceError):
    """The pins cannot be read or written, so no tool is known."""

    code = "pins"


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


class Seen(_Strict):
    """A definition as a server sent it."""

    digest: str
    at: str
    """When it was first seen so, or pinned: UTC, ISO 8601."""
    server: str
    """Names one of the identities of the server."""
    tool: dict[str, Any]


class Pinned(Seen):
    """A definition that models may read, and who said so."""

    by: str


class Entry(_Strict):
    """One tool: what is pinned of it, and what waits for a person."""

    pinned: Pinned | None = None
    waiting: Seen | None = None


class Identity(_Strict):
    """Where a server is reached, and its instructions."""

    where: str
    instructions: str | None


class Server(_Strict):
    """One server of the gateway: who it was at any of its pins, and its tools."""

    identities: dict[str, Identity] = Field(default_factory=dict)
    tools: dict[str, Entry] = Field(default_factory=dict)

    def identity(self, seen: Seen) -> ServerIdentity:
        """Return who the server was when it sent this."""
        found = self.identities[seen.server]
        return ServerIdentity(found.where, found.instructions)


class PinFile(_Strict):
    """All that the file holds."""

    ringfence_pins: Annotated[int, Literal[1]] = 1
    servers: dict[str, Server] = Field(default_factory=dict)


def read(path: Path) -> PinFile | None:
    """Return what the file holds; None: there is no file.

    Raises:
        PinsError: It cannot be read, or holds what no gateway wrote.
    """
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise _damaged(path, str(error)) from error
    try:
        found = PinFile.model_validate(json.loads(text, object_pairs_hook=_record))
        if found.ringfence_pins != 1:
            raise ValueError(f"it is of version {found.ringfence_pins}, and this one reads 1")
        for name, server in found.servers.items():
            for tool, entry in server.tools.items():
                for seen in filter(None, (entry.pinned, entry.waiting)):
                    _require_whole(name, server, tool, seen)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise _damaged(path, f"{'.'.join(map(str, first['loc']))[:200]}: {first['msg']}") from error
    except (ValueError, RecursionError) as error:
        raise _damaged(path, str(error)) from error
    return found


def _require_whole(name: str, server: Server, tool: str, seen: Seen) -> None:
    """Refuse a definition that is not the one its digest was taken of."""
    if seen.server not in server.identities:
        raise ValueError(f"tool `{tool}` of `{name}` names no identity of that server")
    try:
        digest = definition_digest(name, server.identity(seen), seen.tool)
    except UnfitError as error:
        raise ValueError(f"tool `{tool}` of `{name}`: {error}") from error
    if digest != seen.digest or seen.tool.get("name") != tool:
        # SECURITY: a definition edited by hand would be shown to a reviewer and never to a model.
        raise ValueError(f"tool `{tool}` of `{name}` is not what its digest was taken of")


def _record(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) != len(pairs):
        raise ValueError("a name stands twice in a record")
    return record


def _damaged(path: Path, why: str) -> PinsError:
    return PinsError(
        escaped(f"{path} cannot be used: {why[:500]}"),
        help="put the file back as it was; without it every tool would be new, so move it away only "
        "if you mean to pin all tools again",
    )


def write(path: Path, content: PinFile) -> None:
    """Put `content` in the file's place: a reader sees the old one or the new one, never a part."""
    for server in content.servers.values():
        used = {
            seen.server for entry in server.tools.values() for seen in (entry.pinned, entry.waiting) if seen
        }
        server.identities = {name: who for name, who in server.identities.items() if name in used}
    text = json.dumps(content.model_dump(exclude_none=False), indent=2, ensure_ascii=True, allow_nan=False)
    fresh = ""
    try:
        target = path.resolve()
        handle, fresh = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:60]}.")
        with open(handle, "w", encoding="ascii", newline="\n") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.chmod(fresh, target.stat().st_mode & 0o777 if target.exists() else 0o644)
        os.replace(fresh, target)
    except OSError as error:
        if fresh and os.path.exists(fresh):
            os.unlink(fresh)
        raise PinsError(
            escaped(f"{path} cannot be written: {error.strerror or error}"),
            help="the gateway writes what it pins beside the policy; give it the right to",
        ) from error


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Keep every other process from writing the file for a moment.

    The lock is on a file of its own, since the pins' file is another one after each writing.
    """
    if fcntl is None:
        raise PinsError(
            "pins need locks of files, which this system does not have", help="use Linux or macOS"
        )
    lock = path.resolve().with_name(f".{path.name}.lock")
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    except OSError as error:
        raise PinsError(
            escaped(f"{lock} cannot be opened: {error.strerror or error}"),
            help="the gateway writes what it pins beside the policy; give it the right to",
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)  # and with it the lock
