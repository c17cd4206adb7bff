"""A collector for OTLP over HTTP on this machine: it decodes with the protocol's own library."""

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status


@dataclass(frozen=True)
class Received:
    """A span as it came over the wire."""

    span: Span
    resource: dict[str, Any]

    @property
    def id(self) -> str:
        return self.span.span_id.hex()

    @property
    def name(self) -> str:
        return self.span.name

    @property
    def parent(self) -> str | None:
        return self.span.parent_span_id.hex() or None

    @property
    def trace(self) -> str:
        return self.span.trace_id.hex()

    @property
    def said(self) -> dict[str, Any]:
        return {one.key: _value(one.value) for one in self.span.attributes}

    @property
    def failed(self) -> bool:
        assert self.span.status.code in (Status.STATUS_CODE_UNSET, Status.STATUS_CODE_ERROR)
        return self.span.status.code == Status.STATUS_CODE_ERROR

    @property
    def moments(self) -> list[tuple[str, dict[str, Any]]]:
        return [(one.name, {a.key: _value(a.value) for a in one.attributes}) for one in self.span.events]


@dataclass
class Collector:
    """What was sent; `status` and `rejects` say how the next requests are answered."""

    url: str = ""
    status: int = 200
    rejects: int = 0
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    taken: list[Received] = field(default_factory=list)
    where: str | None = None
    """Where an answer of status 3xx points to."""

    @property
    def spans(self) -> dict[str, Received]:
        """The spans by id, as a store that tells spans apart by their ids has them: the last one counts."""
        return {one.id: one for one in self.taken}

    @property
    def sent(self) -> bytes:
        return b"\n".join(body for _, body in self.requests)

    def named(self, name: str) -> Received:
        (found,) = [one for one in self.spans.values() if one.name == name]
        return found

    def take(self, path: str, headers: dict[str, str], body: bytes) -> bytes:
        data = gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body
        self.paths.append(path)
        self.requests.append((headers, data))
        if self.status != 200:
            return b"no"
        request = ExportTraceServiceRequest.FromString(data)
        for resource in request.resource_spans:
            about = {one.key: _value(one.value) for one in resource.resource.attributes}
            for scope in resource.scope_spans:
                self.taken += [Received(span, about) for span in scope.spans]
        answer = ExportTraceServiceResponse()
        answer.partial_success.rejected_spans = self.rejects
        told: bytes = answer.SerializeToString()
        return told


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(one) for one in value.array_value.values]
    return getattr(value, str(kind))


@contextmanager
def collecting() -> Iterator[Collector]:
    """Listen on a free port of this machine until the block ends."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", "0")))
            headers = {name.lower(): value for name, value in self.headers.items()}
            answer = collector.take(self.path, headers, body)
            self.send_response(collector.status)
            if collector.where is not None:
                self.send_header("location", collector.where)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    collector.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
