"""The sink `witness`: after each commit of the log, one signed line with the heads of the runs in it.

The file stands where who may write the log may not change it: on another host, or append-only.
Several guards may share it; a lock of the kernel keeps their lines apart.
"""

import asyncio
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import BaseModel, ConfigDict

from ringfence.plugin import AuditSink, Event, SettingsPath
from ringfence.plugins.witness.keys import private_key
from ringfence.plugins.witness.lines import START, Line, LineError, digest, read, written

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

LOCKS = True
try:
    import fcntl
except ImportError:  # Windows: one guard to a file
    LOCKS = False

_PIECE = 65_536


class WitnessSettings(BaseModel):
    """The keys of `[sinks.witness]`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: SettingsPath
    """Where the lines are appended."""
    key: SettingsPath
    """The private key that signs them: Ed25519, PEM, no password, readable by its owner alone."""


class WitnessSink(AuditSink):
    """Appends signed heads to a file; an event that comes again is witnessed again: that changes nothing."""

    name = "witness"
    Settings: ClassVar[type[BaseModel]] = WitnessSettings
    settings: WitnessSettings

    def __init__(self, settings: BaseModel) -> None:
        super().__init__(settings)
        self._lock = threading.Lock()
        self._key: Ed25519PrivateKey | None = None
        self._file: int | None = None
        self._end = (0, 0, START)
        """Size, number of the last line and its digest, as this sink left the file."""

    async def open(self) -> None:
        """Read the key and open the file; raise if the key is no key, or another's lines stand there."""
        await asyncio.to_thread(self._open)

    async def write(self, events: Sequence[Event]) -> None:
        """Sign and append the last event of each run; raise if the line is not durable."""
        if events:
            await asyncio.to_thread(self._write, events)

    async def close(self) -> None:
        """Close the file."""
        await asyncio.to_thread(self._close)

    def _open(self) -> None:
        with self._lock:
            if self._file is not None:
                return
            self._key = private_key(self.settings.key)
            path = self.settings.file
            file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
            try:
                with _Locked(file):
                    self._end = self._last(file)
                if os.name == "posix":
                    folder = os.open(path.parent, os.O_RDONLY)
                    try:
                        os.fsync(folder)  # the name of a new file must be as durable as its lines
                    finally:
                        os.close(folder)
            except BaseException:
                os.close(file)
                raise
            self._file = file

    def _write(self, events: Sequence[Event]) -> None:
        with self._lock:
            if self._file is None or self._key is None:
                raise RuntimeError("the sink is not open")
            _same_file(self._file, self.settings.file)
            heads: dict[str, tuple[int, str]] = {}
            for event in events:
                if event.seq > heads.get(event.run, (0, ""))[0]:
                    heads[event.run] = (event.seq, event.hash)
            with _Locked(self._file):
                size, line, prev = self._known(self._file)
                made = Line(line + 1, prev, max(event.at_ns for event in events), heads)
                text = written(made, self._key)
                _append(self._file, text, size)
                self._end = (size + len(text), line + 1, digest(text))

    def _close(self) -> None:
        with self._lock:
            if self._file is not None:
                os.close(self._file)
                self._file = None

    def _known(self, file: int) -> tuple[int, int, str]:
        """Return where the file ends; another guard may have appended to it meanwhile."""
        if os.fstat(file).st_size == self._end[0]:
            return self._end
        found = self._last(file)
        if found[1] < self._end[1]:  # fails closed: somebody took back what was witnessed
            raise RuntimeError(
                f"the witness `{self.settings.file}` was cut off: "
                f"it had {self._end[1]} lines, and has {found[1]}"
            )
        return found

    def _last(self, file: int) -> tuple[int, int, str]:
        """Return size, number and digest of the last line; one without an end was never answered for."""
        assert self._key is not None
        tail, start = b"", os.fstat(file).st_size
        while start and tail.count(b"\n") < 2:
            piece = min(_PIECE, start)
            start -= piece
            os.lseek(file, start, os.SEEK_SET)
            tail = os.read(file, piece) + tail
        end = tail.rfind(b"\n") + 1
        if len(tail) > end:
            os.ftruncate(file, start + end)
        if not end:
            return 0, 0, START
        text = tail[tail.rfind(b"\n", 0, end - 1) + 1 : end]
        try:
            said = read(text, self._key.public_key())
        except LineError as error:  # fails closed: nothing is appended to what cannot be trusted
            raise RuntimeError(
                f"the last line of the witness `{self.settings.file}` {error}; name another file for this key"
            ) from None
        return start + end, said.line, digest(text)


class _Locked:
    """Holds a file against other guards."""

    def __init__(self, file: int) -> None:
        self._file = file

    def __enter__(self) -> None:
        if LOCKS:
            fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        if LOCKS:
            fcntl.flock(self._file, fcntl.LOCK_UN)


def _same_file(file: int, path: Path) -> None:
    here, there = os.fstat(file), os.stat(path)
    if (here.st_dev, here.st_ino) != (there.st_dev, there.st_ino):
        raise RuntimeError(f"the witness `{path}` was replaced while it was in use")


def _append(file: int, text: bytes, size: int) -> None:
    """Append all of it durably, or nothing."""
    try:
        rest = memoryview(text)
        while rest:
            rest = rest[os.write(file, rest) :]
        os.fsync(file)
    except BaseException:
        os.ftruncate(file, size)
        raise
