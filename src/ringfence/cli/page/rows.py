"""The steps of a run in the order in which a person reads them: inner calls under their outer one."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ringfence.dsl.plan import Json
from ringfence.engine.decision import events as e
from ringfence.engine.retrospect.record import RunRecord
from ringfence.engine.retrospect.timeline import CallStep, Moment, timeline

MOST = 1_500
"""Rows of one run that are shown."""
_FIRST, _LAST = 700, 300
"""Of a run with more, those at its beginning and at its end that are shown whatever they are."""


@dataclass(slots=True)
class Row:
    """A step, with the numbers of all its events."""

    step: Moment | CallStep
    seqs: list[int]
    depth: int = 0
    asked: Mapping[str, Json] | None = None
    """Of a model's answer: the body of its request."""
    before: Mapping[str, Json] | None = None
    """The body of the request before that one."""
    rises: list[int] = field(default_factory=list)
    """The events, of this step, that raised the session's level."""
    left_out: int = 0
    """How many rows are missing before this one."""

    @property
    def striking(self) -> bool:
        """True if a reader looks for it first: what was refused, asked, failed, or has no outcome."""
        if isinstance(self.step, Moment):
            return self.step.step in ("halted", "asked") or bool(self.step.said.get("error"))
        return self.step.verdict != "allow" or self.step.outcome != "finished" or bool(self.step.tickets)


def rows(record: RunRecord) -> list[Row]:
    """Return every row of a run."""
    events = [one.event for one in record.events]
    asked = {event.request: e.body_of(event) for event in events if isinstance(event, e.ModelAsked)}
    found = [Row(step, [step.seq]) for step in timeline(record.events, gone=record.gone)]
    answered = {_answers(row.step) for row in found} - {None}
    by_call = {row.step.call: row for row in found if isinstance(row.step, CallStep)}
    before: dict[str, Mapping[str, Json] | None] = {}
    last: Mapping[str, Json] | None = None
    for one in record.events:
        event = one.event
        if isinstance(event, e.ModelAsked):
            before[event.request] = last
            last = asked[event.request]
            if event.request not in answered:
                moment = Moment("asked", one.at_ns, last, one.seq)
                found.append(Row(moment, [one.seq], before=before[event.request]))
            continue
        row = by_call.get(getattr(event, "call", None) or "")
        if row is not None and one.seq != row.seqs[0]:
            row.seqs.append(one.seq)
    for row in found:
        request = _answers(row.step)
        if request is not None:
            row.asked, row.before = asked.get(request), before.get(request)
    found.sort(key=lambda row: row.seqs[0])
    return list(_nested(found))


def _answers(step: Moment | CallStep) -> str | None:
    """Return the request that a step answers; None: it is no answer of a model."""
    return str(step.said["request"]) if isinstance(step, Moment) and step.step == "model" else None


def _nested(found: Sequence[Row]) -> Iterator[Row]:
    """Put each inner call behind the call that made it, in their order, however deep."""
    inner: dict[int, list[Row]] = {}
    outer: list[Row] = []
    for row in found:
        within = row.step.within if isinstance(row.step, CallStep) else None
        if within is None:
            outer.append(row)
        else:
            inner.setdefault(within, []).append(row)
    stack = outer[::-1]
    while stack:
        row = stack.pop()
        yield row
        if isinstance(row.step, CallStep):
            below = inner.pop(row.step.number, [])
            for one in below:
                one.depth = row.depth + 1
            stack += below[::-1]


def chosen(found: Sequence[Row], most: int = MOST) -> list[Row]:
    """Return at most so many rows: the first, the last, and of those between what is striking."""
    if len(found) <= most:
        return list(found)
    first, last = most * _FIRST // MOST, most * _LAST // MOST
    room = most - first - last
    kept: list[Row] = []
    missing = 0
    for index, row in enumerate(found):
        edge = index < first or index >= len(found) - last
        if edge or (row.striking and room > 0):
            room -= not edge
            row.left_out, missing = missing, 0
            kept.append(row)
        else:
            missing += 1
    return kept
