"""The one descriptor that leads out: frames to and from the parent, blocking."""

import os
import sys
from typing import Any

from ringfence.plugins.isolate import frames

_FIRST = 1 << 13
"""Read at once where a header is expected: most frames are whole then."""
_CHUNK = 1 << 18


class Channel:
    """Our end of the socket pair."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._unread = bytearray()
        """What came with the frames that were read, and belongs to the next one."""

    def send(self, value: object) -> None:
        """Send one frame; raise `FrameError` and send nothing if it would be too large."""
        rest = memoryview(frames.written(value))
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]

    def receive(self) -> dict[str, Any]:
        """Return the next frame; end this process in silence where there is none."""
        return frames.read(self._exactly(frames.length(self._exactly(frames.HEADER_BYTES))))

    def _exactly(self, size: int) -> bytes:
        unread = self._unread
        while len(unread) < size:
            part = os.read(self._descriptor, min(_CHUNK, max(_FIRST, size - len(unread))))
            if not part:
                sys.exit(0)
            unread += part
        wanted = bytes(unread[:size])
        del unread[:size]
        return wanted
