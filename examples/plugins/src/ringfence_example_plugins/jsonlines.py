"""An audit sink that appends each event as one line of JSON to a file.

`write` returns when the lines are on disk (fsync).  The file may be rotated under it (`logrotate`
without `copytruncate`), several processes may append to it, and a batch that fails leaves nothing behind.
"""

import asyncio
import fcntl
import json
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from ringfence.plugin import AuditSink, Event, SettingsPath, hookimpl


class JsonLinesSettings(BaseModel):
    """The keys of `[sinks.jsonlines]`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: SettingsPath
    """The file; its folder must exist.  Relative to `ringfence.toml`."""


class JsonLinesSink(AuditSink):
    """The sink `jsonlines`."""

    name = "jsonlines"
    Settings = JsonLinesSettings
    settings: JsonLinesSettings

    def __init__(self, settings: JsonLinesSettings) -> None:
        super().__init__(settings)
        self._file: int | None = None
        self._lock = threading.Lock()
        self._last: dict[str, int] = {}
        """Run -> the highest `seq` in the file.  Those of a run rise: what is not above it came before."""

    async def open(self) -> None:
        """Open the file and learn what it holds."""
        await asyncio.to_thread(self._open)

    async def write(self, events: Sequence[Event]) -> None:
        """Append the events that are new, and wait until they are on disk."""
        await asyncio.to_thread(self._write, events)

    async def close(self) -> None:
        """Close the file."""
        await asyncio.to_thread(self._close)

    def _open(self) -> None:
        with self._lock:
            self._last.clear()
            for path in (self.settings.path.with_name(self.settings.path.name + ".1"), self.settings.path):
                for run, seq in _held(path):
                    self._last[run] = max(seq, self._last.get(run, 0))
            self._reopen()

    def _write(self, events: Sequence[Event]) -> None:
        with self._lock:
            if self._file is None:
                raise RuntimeError("the sink is not open")
            if self._rotated(self._file):
                self._reopen()
            last, lines = dict(self._last), []
            for event in events:
                if event.seq > last.get(event.run, 0):
                    last[event.run] = event.seq
                    lines.append(json.dumps(event.record(), separators=(",", ":")) + "\n")
            if lines:
                _append(self._file, "".join(lines).encode("ascii"))
            self._last = last  # only now: a batch that failed will come again

    def _close(self) -> None:
        with self._lock:
            if self._file is not None:
                os.close(self._file)
                self._file = None

    def _reopen(self) -> None:
        path = self.settings.path
        file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            _drop_torn_line(file)
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)  # the name of a new file must be as durable as its lines
            finally:
                os.close(folder)
        except BaseException:
            os.close(file)
            raise
        if self._file is not None:
            os.close(self._file)
        self._file = file

    def _rotated(self, file: int) -> bool:
        try:
            there = os.stat(self.settings.path)
        except FileNotFoundError:  # moved away: a new one is made
            return True
        here = os.fstat(file)
        return (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino)


def _append(file: int, data: bytes) -> None:
    """Append all of `data` durably, or nothing."""
    fcntl.flock(file, fcntl.LOCK_EX)
    try:
        before = os.fstat(file).st_size
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(file, view) :]
            os.fsync(file)
        except BaseException:
            os.ftruncate(file, before)
            raise
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)


def _drop_torn_line(file: int) -> None:
    """Cut off a last line without an end: the process died while writing it, so `write` never returned."""
    fcntl.flock(file, fcntl.LOCK_EX)
    try:
        end = size = os.fstat(file).st_size
        while end and os.pread(file, 1, end - 1) != b"\n":
            end -= 1
        if end < size:
            os.ftruncate(file, end)
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)


def _held(path: Path) -> Iterator[tuple[str, int]]:
    if not path.exists():
        return
    with path.open("rb") as lines:
        for line in lines:
            if line.endswith(b"\n"):
                record = json.loads(line)
                yield record["run"], record["seq"]


@hookimpl
def ringfence_audit_sinks() -> Sequence[type[AuditSink]]:
    """Offer the sink `jsonlines`."""
    return [JsonLinesSink]
