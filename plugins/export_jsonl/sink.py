"""The sink `export_jsonl`: which events are new, off the engine's loop."""

import asyncio
import threading
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from ringfence.plugin import AuditSink, Event, Past, SettingsPath
from ringfence.plugins.export_jsonl.file import LinesFile, held


class JsonlSettings(BaseModel):
    """The keys of `[sinks.export_jsonl]`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: SettingsPath
    """The file; its folder must exist.  A relative path starts at the folder of `ringfence.toml`."""


class JsonlSink(AuditSink):
    """Appends each event as a line; to return from `write` means that the lines are on the disk."""

    name = "export_jsonl"
    Settings = JsonlSettings
    settings: JsonlSettings

    def __init__(self, settings: JsonlSettings) -> None:
        super().__init__(settings)
        self._lock = threading.Lock()
        self._file: LinesFile | None = None
        self._last: dict[str, int] = {}
        """Run -> the highest `seq` in the file.  Those of a run rise: one that does not came before."""

    async def open(self) -> None:
        """Open the file, and learn from it and the one that was rotated away last what they hold."""
        await asyncio.to_thread(self._open)

    async def write(self, events: Sequence[Event]) -> None:
        """Append the events that are new, all or none of them, and before them those that the file lacks."""
        if self.past is not None and self._lacks(events):
            await asyncio.to_thread(self._learn)  # another process may have written them meanwhile
            events = await self._whole(events, self.past)
        await asyncio.to_thread(self._write, events)

    async def close(self) -> None:
        """Close the file."""
        await asyncio.to_thread(self._close)

    def _lacks(self, events: Sequence[Event]) -> bool:
        """Say whether a process may have been killed after the log had events and before the file did.

        A run that was put away had all of its events taken before.
        """
        last: dict[str, int] = {}
        for event in events:
            known = last.get(event.run, self._last.get(event.run, 0))
            if event.seq > known + 1 and event.kind != "RunResumed":
                return True
            last[event.run] = max(known, event.seq)
        return False

    async def _whole(self, events: Sequence[Event], past: Past) -> list[Event]:
        """Return the events, each after those that the file lacks before it, as the log has them."""
        whole: list[Event] = []
        last: dict[str, int] = {}
        for event in events:
            known = last.get(event.run, self._last.get(event.run, 0))
            while event.kind != "RunResumed" and event.seq > known + 1:
                page = await past.read(event.run, after_seq=known, limit=min(250, event.seq - 1 - known))
                missed = [one for one in page if known < one.seq < event.seq]
                if not missed:
                    break
                whole += missed
                known = missed[-1].seq
            whole.append(event)
            last[event.run] = max(known, event.seq)
        return whole

    def _learn(self) -> None:
        """Read once more what the file holds."""
        with self._lock:
            for run, seq in held(self.settings.path):
                self._last[run] = max(seq, self._last.get(run, 0))

    def _open(self) -> None:
        path = self.settings.path
        with self._lock:
            if self._file is not None:
                self._file.close()
            self._file = None
            file = LinesFile(path)
            try:
                last: dict[str, int] = {}
                for one in (path.with_name(f"{path.name}.1"), path):
                    for run, seq in held(one):
                        last[run] = max(seq, last.get(run, 0))
            except BaseException:
                file.close()
                raise
            self._file, self._last = file, last

    def _write(self, events: Sequence[Event]) -> None:
        with self._lock:
            if self._file is None:
                raise RuntimeError("the sink is not open")
            last: dict[str, int] = {}
            lines: list[str] = []
            for event in events:
                if event.seq > last.get(event.run, self._last.get(event.run, 0)):
                    last[event.run] = event.seq
                    lines.append(event.line())
            if lines:
                self._file.append(lines)
            self._last.update(last)  # only now: a batch that failed comes again

    def _close(self) -> None:
        with self._lock:
            file, self._file = self._file, None
            if file is not None:
                file.close()
