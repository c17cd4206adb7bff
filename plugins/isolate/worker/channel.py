"""The one descriptor that leads out: frames to and from the parent, blocking."""

import os
import sys
from typing import Any

from ringfence.plugins.isolate import frames


class Channel:
    """Our end of the socket pair."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def send(self, value: object) -> None:
        """Send one frame; raise `FrameError` and send nothing if it would be too large."""
        rest = memoryview(frames.written(value))
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]

    def receive(self) -> dict[str, Any]:
        """Return the next frame; end this process in silence where there is none."""
        return frames.read(self._exactly(frames.length(self._exactly(frames.HEADER_BYTES))))

    def _exactly(self, size: int) -> bytes:
        parts = bytearray()
        while len(parts) < size:
            part = os.read(self._descriptor, min(1 << 18, size - len(parts)))
            if not part:
                sys.exit(0)
            parts += part
        return bytes(parts)
