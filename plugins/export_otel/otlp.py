"""Spans on their way: OTLP over HTTP, by OpenTelemetry's own exporter (extra `otel`).

TLS, proxies, compression and repeated attempts are the exporter's, with its variables
(`OTEL_EXPORTER_OTLP_CERTIFICATE`, …).  It says no more than that it failed, so the session that it is given
remembers why.
"""

import logging
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from ringfence.plugins.export_otel.endpoint import traces_url
from ringfence.plugins.export_otel.headers import surrounding
from ringfence.plugins.export_otel.span import Span

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan

HELP: Final = 'install it with pip install "ringfence[otel]"'
_LIBRARY: Final = ("opentelemetry", "opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")

_LATEST_NS: Final = 2**63 - 1

_log = logging.getLogger("ringfence")
logging.getLogger("opentelemetry").addHandler(logging.NullHandler())  # what it says of a failure, we say too


class SendError(RuntimeError):
    """Spans could not be delivered; the text quotes no header."""

    def __init__(self, message: str, *, help: str) -> None:
        super().__init__(f"{message}; {help}")
        self.message = message
        self.help = help


def is_installed() -> bool:
    """Say whether the extra `otel` is there, without loading it."""
    try:
        return all(find_spec(name) is not None for name in _LIBRARY)
    except ModuleNotFoundError:  # the package around one of them
        return False


class Sender:
    """Sends spans to one collector; one thread at a time.

    Args:
        endpoint: The collector's address; see `traces_url`.
        headers: They go with each request, beside those of the environment.
        service_name: What the spans call the service; None: what the environment says, or `ringfence`.
        within_s: Seconds that all attempts for one batch have.

    Raises:
        ValueError: The address or the environment's headers cannot be used.
        SendError: The extra is missing.
    """

    def __init__(
        self, endpoint: str, *, headers: Mapping[str, str], service_name: str | None, within_s: float
    ) -> None:
        if not is_installed():
            raise SendError("OpenTelemetry is not installed", help=HELP)
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope

        self.url = traces_url(endpoint)
        self.refused = 0
        """Spans that the collector took note of and would not have."""
        self._resource = _resource(service_name)
        self._scope = InstrumentationScope("ringfence", _version())
        self._session = _session()
        self._exporter = OTLPSpanExporter(
            endpoint=self.url,
            headers={**surrounding(), **headers},
            timeout=within_s,
            session=self._session,
        )

    def send(self, spans: Sequence[Span]) -> None:
        """Send the spans; raise SendError if they were not taken."""
        from opentelemetry.sdk.trace.export import SpanExportResult

        self._session.answer = self._session.failure = None
        readable = [self._readable(span) for span in spans]
        try:
            taken = self._exporter.export(readable) is SpanExportResult.SUCCESS
        except Exception:  # some of its versions pass on what the session raised; nobody took the spans
            taken = False
        answer, failure = self._session.answer, self._session.failure
        # The exporter passes a redirection for a success: nobody took the spans.
        if answer is not None and not 200 <= answer.status_code < 300:
            raise _refused(self.url, answer.status_code)
        if not taken or answer is None:
            raise _away(self.url, failure)
        self.refused += self._told(answer.content, len(spans))

    def close(self) -> None:
        """Disconnect."""
        self._exporter.shutdown()  # type: ignore[no-untyped-call]  # by its library

    def _told(self, content: bytes, sent: int) -> int:
        """Return how many of the spans the collector says it has not taken; they must not be sent again."""
        from google.protobuf.message import DecodeError
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

        try:
            said: int = ExportTraceServiceResponse.FromString(content).partial_success.rejected_spans
        except DecodeError:  # another form of answer; its status says that it took them
            return 0
        refused = max(0, min(sent, said))
        if refused:
            _log.warning("the collector has refused %d of %d spans", refused, sent)
        return refused

    def _readable(self, span: Span) -> "ReadableSpan":
        from opentelemetry.sdk.trace import Event, ReadableSpan
        from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

        def context(id: int) -> SpanContext:
            return SpanContext(span.trace, id, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))

        return ReadableSpan(
            name=span.name,
            context=context(span.id),
            parent=None if span.parent is None else context(span.parent),
            resource=self._resource,
            attributes=span.attributes,
            events=[Event(one.name, one.said, _fit(one.at_ns)) for one in span.moments],
            kind=SpanKind.CLIENT if span.kind == "client" else SpanKind.INTERNAL,
            status=Status(StatusCode.ERROR if span.failed else StatusCode.UNSET),
            start_time=_fit(span.start_ns),
            end_time=_fit(span.end_ns),
            instrumentation_scope=self._scope,
        )


def _version() -> str | None:
    try:
        return version("ringfence")
    except PackageNotFoundError:  # it runs from its source
        return None


def _resource(service_name: str | None) -> "Resource":
    """Return what all spans come from, with what OTEL_RESOURCE_ATTRIBUTES says of it."""
    from opentelemetry.sdk.resources import Resource

    if service_name is None:
        there = str(Resource.create().attributes.get("service.name", ""))
        service_name = "ringfence" if there.startswith("unknown_service") or not there else there
    return Resource.create({"service.name": service_name})


def _fit(ns: int) -> int:
    """Return a moment that a span can say; a log that was changed may hold others."""
    return min(max(0, ns), _LATEST_NS)


def _session() -> Any:
    import requests

    class Remembering(requests.Session):
        """A session that remembers what came of its last request."""

        answer: requests.Response | None = None
        failure: Exception | None = None
        met = False
        """True once there was an answer."""

        def request(self, *args: Any, **named: Any) -> requests.Response:
            """Make a request, and remember its answer or its failure."""
            self.answer = self.failure = None
            named["allow_redirects"] = False  # SECURITY: the headers are for this address alone
            try:
                self.answer = super().request(*args, **named)
            except requests.ConnectionError as error:
                self.failure = error
                if not self.met:  # an address where nobody ever answered is not tried again at once
                    raise RuntimeError("nobody answers") from error
                raise
            except Exception as error:
                self.failure = error
                raise
            self.met = True
            return self.answer

    return Remembering()


def _refused(url: str, status: int) -> SendError:
    if status in (401, 403):
        help = "say who sends in OTEL_EXPORTER_OTLP_HEADERS, such as `authorization=Bearer%20TOKEN`"
    elif status in (404, 405) or status < 400:
        help = "is this the address for OTLP over HTTP? A collector's is `http://HOST:4318`"
    elif status in (400, 413, 415):
        help = "the collector does not take spans in this form: see its own log"
    else:
        help = "try again later, or see the collector's own log"
    return SendError(f"the collector at {url} has refused the spans with status {status}", help=help)


def _away(url: str, failure: Exception | None) -> SendError:
    # SECURITY: only the kind of the failure: its words may quote what was sent.
    kind = "no answer in time" if failure is None else type(failure).__name__
    return SendError(
        f"the collector at {url} cannot be reached ({kind})", help="is it running, and is this its address?"
    )
