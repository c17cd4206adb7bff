"""What was done in one run, gathered from its events as they are read: what they said is not kept.

No more than a page of events is held, and of each call, question and model request a few words.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from ringfence.dsl.plan import Json, Plan
from ringfence.engine.decision import events as e
from ringfence.engine.retrospect.policies import policy_of
from ringfence.engine.retrospect.record import RecordError, stamped
from ringfence.engine.retrospect.whatif import Rule
from ringfence.engine.seams.ports import Entry

PAGE = 250

Pages = Callable[[str, int, int], Sequence[Entry]]
"""Returns of a run the entries after an event, at most so many."""

CALLS = frozenset({"CallRequested", "CallDecided"})
"""The kinds that tell which calls were made, and how each was decided."""

EVERYTHING = CALLS | {
    "ApprovalAsked", "ApprovalAnswered", "CallStarted", "CallFinished", "CallFailed", "ModelAsked",
    "ModelAnswered", "RunHalted",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Unread:
    """A run of which something that was asked for cannot be read."""

    run: str
    because: str


@dataclass(frozen=True, slots=True)
class Said:
    """One decision of a call."""

    verdict: str
    rules: tuple[Rule, ...]
    """Those that it rests on: of an allow all that spoke, else all that did not allow."""
    told: tuple[Rule, ...]
    """Of these, those whose effect is the verdict itself, or that halted the run."""


@dataclass(slots=True)
class CallFacts:
    """One call, from its request to what became of it."""

    tool: str
    """The framework's name."""
    said: list[Said] = field(default_factory=list)
    started: bool = False
    outcome: str | None = None
    """`finished`, or how it failed; None: nothing is known."""
    duration_ns: int | None = None

    @property
    def verdict(self) -> str:
        """The last verdict; `undecided` if there is none."""
        return self.said[-1].verdict if self.said else "undecided"


@dataclass(slots=True)
class TicketFacts:
    """One question to people."""

    approver: str
    asked_ns: int
    approvals: dict[str | None, int] = field(default_factory=dict)
    """Who approved, in order -> when the run learnt of it; who does so twice counts once."""
    closed: tuple[str, int] | None = None
    """`reject`, `expire` or `withdraw`, and when."""


@dataclass(slots=True)
class ModelFacts:
    """One request to a model."""

    model: str | None
    answered: bool = False
    failed: bool = False
    usage: Json = None
    duration_ns: int | None = None


@dataclass(slots=True)
class RunFacts:
    """All that was gathered of a run."""

    first: Entry | None = None
    """Its beginning, not read yet."""
    events: int = 0
    calls: dict[str, CallFacts] = field(default_factory=dict)
    tickets: dict[str, TicketFacts] = field(default_factory=dict)
    models: dict[str, ModelFacts] = field(default_factory=dict)
    halts: list[str] = field(default_factory=list)

    @property
    def policy(self) -> Plan | None:
        """The policy that the run began with; None if it cannot be read or does not load in this version."""
        first = self.first
        if first is None or first.body is None:
            return None
        try:
            begun = stamped(first, first.body).event
            return policy_of(begun) if isinstance(begun, e.RunStarted) else None
        except (RecordError, TypeError):  # a policy that is not known translates nothing
            return None

    def take(self, event: e.RunEvent, at_ns: int) -> None:
        """Take the next event."""
        match event:
            case e.CallRequested():
                self.calls.setdefault(_text(event.call), CallFacts(_text(event.tool)))
            case e.ModelAsked():
                self.models[_text(event.request)] = ModelFacts(_text_or_none(event.model))
            case e.ModelAnswered():
                asked = self.models.setdefault(_text(event.request), ModelFacts(None))
                asked.answered, asked.failed = True, event.error is not None
                asked.usage, asked.duration_ns = event.usage, _number(event.duration_ns)
            case e.ApprovalAsked():
                self.tickets[_text(event.ticket)] = TicketFacts(_text(event.approver), at_ns)
            case e.ApprovalAnswered():
                _answer(self.tickets.get(_text(event.ticket)), event, at_ns)
            case e.RunHalted():
                self.halts.append(_text(event.reason))
            case _:
                call = self.calls.get(_text(getattr(event, "call", "")))
                if call is not None:
                    _tell(call, event)


def gathered(run: str, pages: Pages, kinds: frozenset[str] = EVERYTHING) -> RunFacts:
    """Return what the events of these kinds tell of a run.

    Raises:
        RecordError: One of them is missing, was purged, was written by a newer version, or is none.
    """
    facts = RunFacts()
    for entry in _entries(run, pages):
        facts.events += 1
        if entry.seq == 1:
            facts.first = entry
        if type(entry.schema) is not int or entry.schema > e.SCHEMA or entry.kind not in e.KINDS:
            stamped(entry, b"{}")  # says what is wrong with it
        if entry.kind not in kinds:
            continue
        if entry.body is None:
            raise RecordError(f"event {entry.id} ({entry.kind}) was purged")
        one = stamped(entry, entry.body)
        try:
            facts.take(one.event, one.at_ns)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise RecordError(f"event {entry.id} holds what no guard writes: {error}") from error
    return facts


def _entries(run: str, pages: Pages) -> Iterator[Entry]:
    after = 0
    while page := pages(run, after, PAGE):
        for entry in page:
            after += 1
            if entry.seq != after:
                raise RecordError(f"event {run}:{after} is missing: {entry.id} stands in its place")
            yield entry
        if len(page) < PAGE:
            return


def _tell(call: CallFacts, event: e.RunEvent) -> None:
    match event:
        case e.CallDecided():
            call.said.append(_said(event))
        case e.CallStarted():
            call.started, call.outcome, call.duration_ns = True, None, None
        case e.CallFinished():
            call.outcome, call.duration_ns = "finished", _number(event.duration_ns)
        case e.CallFailed():
            call.outcome, call.duration_ns = _text(event.outcome), _number(event.duration_ns)


def _said(event: e.CallDecided) -> Said:
    verdict = _text(event.verdict)
    spoke = [(_text(one["effect"]), _rule(one)) for one in event.reasons or ()]
    rules = tuple(rule for effect, rule in spoke if verdict == "allow" or effect != "allow")
    return Said(verdict, rules, tuple(rule for effect, rule in spoke if effect in (verdict, "halt")))


def _rule(reason: dict[str, Json]) -> Rule:
    return Rule(
        _text(reason["name"]), _text_or_none(reason.get("place")), _text_or_none(reason.get("because"))
    )


def _answer(ticket: TicketFacts | None, event: e.ApprovalAnswered, at_ns: int) -> None:
    if ticket is None or ticket.closed is not None:
        return
    if event.verdict == "approve":
        ticket.approvals.setdefault(_text_or_none(event.by), at_ns)
    elif event.verdict in ("reject", "expire", "withdraw"):
        ticket.closed = event.verdict, at_ns


def _text(value: Json) -> str:
    if not isinstance(value, str):
        raise TypeError("a text was expected")
    return value


def _text_or_none(value: Json) -> str | None:
    return None if value is None else _text(value)


def _number(value: Json) -> int:
    if type(value) is not int or value < 0:
        raise TypeError("a duration was expected")
    return value
