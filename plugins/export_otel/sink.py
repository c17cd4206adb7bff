"""The sink `export_otel`: spans sent to a collector as they are completed, off the engine's loop.

What waits to be sent is bounded: while it is full no event is taken, and what the log has meanwhile is read
from there afterwards.  What only begins is not sent: a span is sent when it has ended.
"""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Sequence
from typing import Annotated, ClassVar, Final

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from ringfence.plugin import AuditSink, Event
from ringfence.plugins.export_otel.endpoint import traces_url
from ringfence.plugins.export_otel.headers import headers_of
from ringfence.plugins.export_otel.otlp import Sender, SendError
from ringfence.plugins.export_otel.span import Span
from ringfence.plugins.export_otel.traces import Ask, Traces

WAITING_AT_MOST: Final = 2_048
"""Spans that wait to be sent before no more events are taken."""
BATCH: Final = 256
"""Spans of one request."""

_log = logging.getLogger("ringfence")


class OtelSettings(BaseModel):
    """The keys of `[sinks.export_otel]`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    endpoint: str
    """The collector's address for OTLP over HTTP, like `http://localhost:4318`."""
    headers: SecretStr = SecretStr("")
    """`NAME=VALUE,NAME=VALUE`: what goes with each request."""
    service_name: str | None = None
    """What the spans call the service that they come from; None: `OTEL_SERVICE_NAME` says, or `ringfence`."""
    content: bool = False
    """True: prompts, messages, arguments, results and errors are sent, too."""
    within_s: Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)] = 5.0
    """Seconds that all attempts for one batch of spans have."""

    @field_validator("endpoint")
    @classmethod
    def _an_address(cls, value: str) -> str:
        traces_url(value)
        return value

    @field_validator("headers")
    @classmethod
    def _some_headers(cls, value: SecretStr) -> SecretStr:
        headers_of(value.get_secret_value())
        return value


class OtelSink(AuditSink):
    """Makes spans of events; to return from `write` means that those it completed are the collector's."""

    name = "export_otel"
    Settings: ClassVar[type[BaseModel]] = OtelSettings
    settings: OtelSettings

    def __init__(self, settings: BaseModel) -> None:
        super().__init__(settings)
        self._lock = threading.Lock()
        self._waiting: deque[Span] = deque()
        self._traces = Traces(self._waiting, content=self.settings.content)
        self._sender: Sender | None = None

    async def open(self) -> None:
        """Make ready to send; whether the collector is there shows with the first spans."""
        if self._sender is None:
            self._sender = await asyncio.to_thread(self._make)

    async def write(self, events: Sequence[Event]) -> None:
        """Take the events and send the spans that they complete; raise if these were not taken."""
        if self._sender is None:
            raise RuntimeError("the sink is not open")
        for event in events:
            if len(self._waiting) >= WAITING_AT_MOST:
                await asyncio.to_thread(self._send)
            await self._take(event)
        if self._waiting:
            await asyncio.to_thread(self._send)

    async def close(self) -> None:
        """Send what still waits, and disconnect."""
        sender = self._sender
        if sender is None:
            return
        try:
            await asyncio.to_thread(self._send)
        except SendError as error:  # the log has it all
            _log.warning(
                "%d spans were not sent (%s); `ringfence export --otel` sends them",
                len(self._waiting),
                error.message,
            )
        finally:
            self._sender = None
            await asyncio.to_thread(sender.close)

    def _make(self) -> Sender:
        return Sender(
            self.settings.endpoint,
            headers=headers_of(self.settings.headers.get_secret_value()),
            service_name=self.settings.service_name,
            within_s=self.settings.within_s,
        )

    async def _take(self, event: Event) -> None:
        asking = self._traces.take(event)
        ask = next(asking, None)
        while ask is not None:
            events = await self._read(ask)
            try:
                ask = asking.send(events)
            except StopIteration:
                return

    async def _read(self, ask: Ask) -> Sequence[Event]:
        if self.past is None:
            return ()
        return await self.past.read(ask.run, after_seq=ask.after_seq, limit=ask.limit)

    def _send(self) -> None:
        with self._lock:  # a write that was given up may still be sending
            while self._waiting and self._sender is not None:
                batch = [self._waiting[n] for n in range(min(BATCH, len(self._waiting)))]
                self._sender.send(batch)
                for _ in batch:
                    self._waiting.popleft()
