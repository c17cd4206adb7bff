"""Events of HTTP streams, kept for a while, so that a client whose stream broke gets what it missed (2025).

They are in memory alone, bounded in all, and each belongs to one session: nobody else gets it, whatever id it
names.
"""

import secrets
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Final

import mcp_types as types
from mcp.server.lowlevel import Server
from mcp.server.streamable_http import EventCallback, EventMessage, EventStore
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

BYTES_AT_MOST: Final = 32 * 1024 * 1024
"""Of all sessions together; of more, the oldest are forgotten."""
COMES_AGAIN_MS: Final = 1_000
"""How long a client is asked to wait before it takes a broken stream up again."""
_OVERHEAD_BYTES: Final = 500


@dataclass(frozen=True, slots=True)
class _Kept:
    session: "_OfOneSession"
    stream: str
    message: types.JSONRPCMessage | None
    size: int


class KeptEvents:
    """The events of all sessions, oldest first."""

    def __init__(self, most_bytes: int = BYTES_AT_MOST) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0
        self._events: OrderedDict[str, _Kept] = OrderedDict()

    def of_a_session(self) -> EventStore:
        """Return the events of a session that begins now."""
        return _OfOneSession(self)

    def keep(self, session: "_OfOneSession", stream: str, message: types.JSONRPCMessage | None) -> str:
        """Keep an event; return its id, by which nobody can tell another's."""
        id, size = secrets.token_urlsafe(12), _OVERHEAD_BYTES + _size(message)
        self._events[id] = _Kept(session, stream, message, size)
        self._bytes += size
        while self._bytes > self._most_bytes and self._events:
            _, gone = self._events.popitem(last=False)
            self._bytes -= gone.size
        return id

    def after(self, session: "_OfOneSession", id: str) -> tuple[str, list[tuple[str, _Kept]]] | None:
        """Return the stream of an event of this session, and what came on it later; None: there is none."""
        last = self._events.get(id)
        # SECURITY: an id of another session's is none; streams of two sessions may have one name.
        if last is None or last.session is not session:
            return None
        names = iter(self._events)
        while next(names) != id:
            pass
        later = [(name, self._events[name]) for name in names]
        mine = [(name, one) for name, one in later if one.session is session and one.stream == last.stream]
        return last.stream, mine


class _OfOneSession(EventStore):
    def __init__(self, kept: KeptEvents) -> None:
        self._kept = kept

    async def store_event(self, stream_id: str, message: types.JSONRPCMessage | None) -> str:
        return self._kept.keep(self, stream_id, message)

    async def replay_events_after(self, last_event_id: str, send_callback: EventCallback) -> str | None:
        found = self._kept.after(self, last_event_id)
        if found is None:
            return None
        stream, events = found
        for id, one in events:
            if one.message is not None:
                await send_callback(EventMessage(one.message, id))
        return stream


class ResumableSessions(StreamableHTTPSessionManager):
    """Sessions whose broken streams can be taken up again."""

    def __init__(self, server: Server[Any], **settings: Any) -> None:
        self._kept = KeptEvents()
        super().__init__(server, **{"retry_interval": COMES_AGAIN_MS, **settings})

    # SECURITY: read once for each session that begins.  One store for all of them would mix their streams,
    # which are named by the numbers that clients give to their requests.
    @property
    def event_store(self) -> EventStore | None:
        """The events of a session that begins now."""
        return self._kept.of_a_session()

    @event_store.setter
    def event_store(self, _: EventStore | None) -> None:
        """Take none: each session has its own."""


def _size(message: types.JSONRPCMessage | None) -> int:
    return 0 if message is None else len(message.model_dump_json(by_alias=True, exclude_unset=True))
