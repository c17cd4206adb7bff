"""The log as OpenTelemetry spans, sent to a collector in batches: no more than a page and a batch is held.

The spans are those that the sink `export_otel` sends, with the same ids: what was sent before changes nothing
where spans are told apart by their ids.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from ringfence.cli.desk import Desk
from ringfence.cli.exits import CommandError
from ringfence.cli.exporting import Wanted, event_of, exported
from ringfence.cli.say import Say
from ringfence.dsl.plan import Json
from ringfence.engine.seams.hookspecs import Event
from ringfence.engine.seams.settings import Settings

if TYPE_CHECKING:
    from ringfence.plugins.export_otel.otlp import Sender
    from ringfence.plugins.export_otel.span import Span
    from ringfence.plugins.export_otel.traces import Ask

_BATCH = 256
_WITHIN_S = 30.0


def send_spans(desk: Desk, say: Say, wanted: Wanted, url: str, *, content: bool) -> dict[str, Json]:
    """Send the spans of the wanted runs; return how many there were.

    Args:
        wanted: With `since_ns`: only spans that have ended since.

    Raises:
        CommandError: They could not be sent, or the log cannot be read.
    """
    from ringfence.plugins.export_otel.otlp import SendError
    from ringfence.plugins.export_otel.traces import Traces

    sender = _sender(desk.settings, url)
    waiting: list[Span] = []
    traces = Traces(waiting, content=content)
    sent = 0

    def events(ask: "Ask") -> Sequence[Event]:
        page = desk.ask(desk.events.read(ask.run, after_seq=ask.after_seq, limit=ask.limit))
        return [event_of(entry) for entry in page]

    def send() -> int:
        late = [span for span in waiting if wanted.since_ns is None or span.end_ns >= wanted.since_ns]
        waiting.clear()
        for first in range(0, len(late), _BATCH):
            sender.send(late[first : first + _BATCH])
        return len(late)

    try:
        for event, _ in exported(desk, say, replace(wanted, whole_runs=True), data=False):
            traces.read(event, events)
            if len(waiting) >= _BATCH:
                sent += send()
        sent += send()
    except SendError as error:
        raise CommandError(error.message, help=error.help) from error
    finally:
        sender.close()
    if sender.refused:
        raise CommandError(
            f"the collector has refused {sender.refused} of {sent} spans", help="see the collector's own log"
        )
    return {"spans": sent, "open_runs": traces.open, "endpoint": sender.url}


def _sender(settings: Settings, url: str) -> "Sender":
    from ringfence.plugins.export_otel.endpoint import traces_url
    from ringfence.plugins.export_otel.otlp import Sender, SendError

    try:
        to = traces_url(url)
        headers, service_name = _said(settings, to)
        return Sender(url, headers=headers, service_name=service_name, within_s=_WITHIN_S)
    except SendError as error:
        raise CommandError(error.message, help=error.help) from error
    except ValueError as error:
        raise CommandError(
            f"spans cannot be sent: {error}",
            help="write --otel http://localhost:4318, headers in the environment",
        ) from None


def _said(settings: Settings, to: str) -> tuple[dict[str, str], str | None]:
    """Return headers and service that `[sinks.export_otel]` says, if it names the same collector.

    SECURITY: another address gets none of these headers.
    """
    from ringfence.plugins.export_otel.endpoint import traces_url
    from ringfence.plugins.export_otel.headers import headers_of

    section = settings.sinks.get("export_otel")
    values: dict[str, Any] = {} if section is None else section.values
    endpoint = values.get("endpoint")
    if not isinstance(endpoint, str) or traces_url(endpoint) != to:
        return {}, None
    headers, service_name = values.get("headers", ""), values.get("service_name")
    text = headers.get_secret_value() if isinstance(headers, SecretStr) else str(headers)
    return headers_of(text), service_name if isinstance(service_name, str) else None
