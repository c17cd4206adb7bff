"""All runs at once: each event becomes the spans that it completes, and what was not seen is asked for.

A sink sees a part of the log: a run may have begun in another process, and a process that was killed may
have told its sinks less than it wrote.  What is missing is read from the log, through whoever drives the
generator; so the spans are the same wherever they are made.
"""

from collections import OrderedDict
from collections.abc import Callable, Generator, MutableSequence, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from ringfence.plugin import Event
from ringfence.plugins.export_otel.run_spans import RunSpans
from ringfence.plugins.export_otel.span import Span, span_id, trace_id

_PAGE: Final = 250
_DEEP: Final = 64
"""Runs inside of runs that are followed to the trace's root."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ask:
    """The events of `run` after `after_seq`, at most `limit` of them, are wanted; none: it has no more."""

    run: str
    after_seq: int
    limit: int = _PAGE


Asking = Generator[Ask, Sequence[Event], T]


class Traces:
    """The runs that have not ended.

    Args:
        spans: Where a span is appended as soon as it is complete: who drives may be stopped at any question.
        content: True: prompts, messages, arguments, results and errors are in the spans, too.
        most: Runs that are held: for one more, that which was quiet for the longest is forgotten, and read
            again if it goes on.
    """

    def __init__(self, spans: MutableSequence[Span], *, content: bool, most: int = 10_000) -> None:
        self._spans = spans
        self._content = content
        self._most = most
        self._runs: OrderedDict[str, RunSpans] = OrderedDict()
        self._ended: OrderedDict[str, int] = OrderedDict()
        self._traces: OrderedDict[str, int] = OrderedDict()
        self._around: OrderedDict[str, int] = OrderedDict()
        """Sub-run -> the span of the call that started it."""

    @property
    def open(self) -> int:
        """How many runs have not ended."""
        return len(self._runs)

    def take(self, event: Event) -> Asking[None]:
        """Take an event; yield what must be read of the log before.

        An event that was taken before completes nothing.
        """
        known = self._runs.get(event.run)
        last = known.last if known is not None else self._ended.get(event.run, 0)
        if event.seq > last + 1:
            # Who put the run away has sent what it had completed; who was killed may not have.
            sent = known is None and event.kind == "RunResumed"
            yield from self._missed(event, last, sent=sent)
        if event.seq > last:
            yield from self._next(event)

    def read(self, event: Event, events: Callable[[Ask], Sequence[Event]]) -> None:
        """Take an event where the log can be read at once."""
        asking = self.take(event)
        ask = next(asking, None)
        while ask is not None:
            try:
                ask = asking.send(events(ask))
            except StopIteration:
                return

    def _missed(self, event: Event, last: int, *, sent: bool) -> Asking[None]:
        while last + 1 < event.seq:
            page = yield Ask(event.run, last, min(_PAGE, event.seq - 1 - last))
            for one in page:
                if not last < one.seq < event.seq:
                    return
                last = one.seq
                yield from self._next(one, sent=sent)
            if not page:  # there is no log to read
                return

    def _next(self, event: Event, *, sent: bool = False) -> Asking[None]:
        run = self._runs.get(event.run)
        if run is None:
            trace = yield from self._trace(event)
            run = self._runs[event.run] = RunSpans(event.run, trace=trace, content=self._content)
            if len(self._runs) > self._most:
                self._runs.popitem(last=False)
        self._runs.move_to_end(event.run)
        around: int | None = None
        if event.kind == "SubrunStarted":
            self._subrun(event)
        elif event.kind == "RunEnded" and run.parent is not None:
            around = yield from self._around_of(event.run, run.parent)
        completed = run.take(event, around=around)
        if event.kind == "RunEnded":
            self._runs.pop(event.run, None)
            self._keep(self._ended, event.run, event.seq)
        if not sent:
            self._spans.extend(completed)

    # ---- runs inside of runs -----------------------------------------------------------------------

    def _trace(self, event: Event) -> Asking[int]:
        """Return the trace of the run of `event`: that of the outermost run."""
        root, seen = event.run, {event.run}
        first: Event | None = event if event.seq == 1 else None
        for _ in range(_DEEP):
            if root in self._traces:
                break
            if first is None:
                page = yield Ask(root, 0, 1)
                first = page[0] if page else None
            parent = _text(first, "parent")
            if parent is None or parent in seen:
                break
            root, first = parent, None
            seen.add(parent)
        trace = self._traces.get(root) or trace_id(root)
        self._keep(self._traces, event.run, trace)
        return trace

    def _subrun(self, event: Event) -> None:
        if (run := _text(event, "run")) is not None:
            call = _text(event, "call")
            within = span_id(event.run) if call is None else span_id(event.run, "call", call)
            self._keep(self._around, run, within)

    def _around_of(self, run: str, parent: str) -> Asking[int | None]:
        """Return the span of the call of `parent` that started `run`, or of `parent` itself."""
        if run == parent:  # no guard has written that
            return None
        last = 0
        while run not in self._around:
            page = yield Ask(parent, last)
            for one in page:
                if one.kind == "SubrunStarted":
                    self._subrun(one)
            if not page or page[-1].seq <= last:
                break
            last = page[-1].seq
        return self._around.pop(run, span_id(parent))

    def _keep(self, of: "OrderedDict[str, int]", key: str, value: int) -> None:
        of[key] = value
        of.move_to_end(key)
        if len(of) > self._most:
            of.popitem(last=False)


def _text(event: Event | None, name: str) -> str | None:
    body = None if event is None else event.body
    value = body.get(name) if isinstance(body, dict) else None
    return value if isinstance(value, str) else None
