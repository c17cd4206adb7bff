"""A store in memory whose log the contract holds up, or has fail."""

import asyncio
import json
import threading
from collections.abc import Sequence

from ringfence.engine.decision.events import CallDecided
from ringfence.engine.seams.hookspecs import hookimpl
from ringfence.engine.seams.ports import Entry, Store
from ringfence.plugins.memory import MemoryStore
from ringfence.plugins.memory.log import MemoryLog

URL = "contract:"
BROKEN = "disk 7 of rack 12 is on fire"
"""What the store says when it fails: nobody but the host may read it."""


class HeldLog(MemoryLog):
    """A log in which the commit of an allow can be held, or fails."""

    def __init__(self) -> None:
        super().__init__()
        self._gate = threading.Event()
        self._gate.set()
        self.fails = False
        """True: allows cannot be committed, and nothing after them."""
        self.allows_seen = 0
        """How often it was given one to keep, committed or not."""

    async def append(self, batch: Sequence[Entry]) -> None:
        """Keep the entries, when it may."""
        if any(_is_allow(entry) for entry in batch):
            self.allows_seen += 1
            if self.fails:
                raise OSError(BROKEN)
            if not self._gate.is_set():
                await asyncio.to_thread(self._gate.wait)
        await super().append(batch)

    def hold(self) -> None:
        """Commit no allow until `release`."""
        self._gate.clear()

    def release(self) -> None:
        """Commit what waits."""
        self._gate.set()


def _is_allow(entry: Entry) -> bool:
    if entry.kind != CallDecided.kind:
        return False
    return bool(json.loads(entry.body or b"{}").get("verdict") == "allow")


class HeldStore(MemoryStore):
    """A store in memory with such a log; it calls itself durable."""

    durable = True

    def __init__(self) -> None:
        super().__init__()
        self.url = URL
        self.log = HeldLog()
        self.events = self.log

    def release(self) -> None:
        """Let whatever waits go on, and fail no more."""
        self.log.release()


class Stores:
    """A plugin that opens one store."""

    def __init__(self, store: HeldStore) -> None:
        self._store = store

    @hookimpl
    def ringfence_store_schemes(self) -> Sequence[str]:
        """See `Hooks`."""
        return [URL.rstrip(":")]

    @hookimpl
    def ringfence_open_store(self, url: str) -> Store | None:
        """See `Hooks`."""
        return self._store if url == URL else None
