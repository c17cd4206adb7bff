"""One tool call, from its request to what became of it, as a span with the decision in its attributes.

A refused call has a span too.  Its status is an error, `error.type` is `denied`: to the agent, which asked
for the tool to run, the operation failed, as with an HTTP client that is told 403.  It ends with the
decision, and has no duration of a body.
"""

from dataclasses import dataclass, field
from typing import Any, Final

from ringfence.plugin import Event, Json
from ringfence.plugins.export_otel.span import (
    Moment,
    Span,
    Value,
    content_of,
    count_of,
    id_of,
    known,
    name_of,
    names_of,
    span_id,
)

UNDECLARED: Final = "_OTHER"
"""The name of a tool that the policy does not declare: a model made it up, and it may say anything."""

_MOMENTS_AT_MOST: Final = 64
_TICKETS_AT_MOST: Final = 32
_NO_ERROR: Final = frozenset({"finished", "not run", "interrupted"})
_OUTCOMES: Final = frozenset({"raised", "timeout", "cancelled", "abandoned", "refused result", "refused"})


@dataclass(slots=True)
class OpenIsolate:
    """An isolate that the call's body runs in."""

    id: int
    start_ns: int
    attributes: dict[str, Value]


@dataclass(slots=True)
class OpenCall:
    """A call that has not ended."""

    run: str
    trace: int
    key: str
    parent: int
    """The span that it stands in: of its run, of the call around it, or of that one's isolate."""
    start_ns: int
    shared: dict[str, Value]
    """What each span of the run says."""
    tool: str | None
    call_id: str | None
    content: bool
    arguments: Json = None
    decided: dict[str, Value] = field(default_factory=dict)
    verdict: str | None = None
    declared: bool = False
    asked: dict[str, int] = field(default_factory=dict)
    """Ticket -> when it was opened; those that are open."""
    tickets: list[str] = field(default_factory=list)
    charges: int = 0
    waited_ns: int = 0
    waiting_ns: int = 0
    """Since when people are waited for; 0: they are not."""
    started: bool = False
    interrupted: bool = False
    moments: list[Moment] = field(default_factory=list)
    isolate: OpenIsolate | None = None

    @property
    def id(self) -> int:
        """The id of its span."""
        return span_id(self.run, "call", self.key)

    @property
    def inside(self) -> int:
        """The id of the span that the calls which its code makes stand in."""
        return self.isolate.id if self.isolate is not None else self.id

    def take(self, event: Event, body: dict[str, Any]) -> list[Span]:
        """Take one event of the call; return the spans that it completes."""
        match event.kind:
            case "CallDecided":
                return self._decide(event, body)
            case "ApprovalAsked":
                self._ask(event, body)
            case "ApprovalAnswered":
                self._answer(event, body)
            case "BudgetRefunded":
                self._note("refunded", event.at_ns, ringfence__because=name_of(body.get("because")))
            case "CallStarted":
                self.started, self.interrupted = True, False
                self._note("started", event.at_ns)
            case "IsolateStarted":
                self._enter(event, body)
            case "IsolateEnded":
                return self._leave(event, body)
            case "CallFinished":
                return [*self._left(event.at_ns), self._end(event.at_ns, "finished", body)]
            case "CallFailed":
                outcome = body.get("outcome")
                if outcome == "interrupted":  # it goes on later, under the same key
                    self.interrupted = True
                    self._note("interrupted", event.at_ns)
                    return []
                outcome = outcome if isinstance(outcome, str) and outcome in _OUTCOMES else "unknown"
                return [*self._left(event.at_ns), self._end(event.at_ns, outcome, body)]
        return []

    def close(self, at_ns: int) -> list[Span]:
        """Return the spans of a call that the run has ended without a word about."""
        outcome = "interrupted" if self.interrupted else "unknown" if self.started else "not run"
        return [*self._left(at_ns), self._end(at_ns, outcome, {})]

    def _decide(self, event: Event, body: dict[str, Any]) -> list[Span]:
        verdict = body.get("verdict")
        self.verdict = verdict if verdict in ("unknown", "deny", "ask", "allow") else None
        reasons = [one for one in _records(body.get("reasons")) if isinstance(one.get("name"), str)]
        self.declared = all(one["name"] != "unknown" for one in reasons)
        spoke = [one for one in reasons if verdict == "allow" or one.get("effect") != "allow"]
        self.charges += len(_records(body.get("charges")))
        places = [one.get("place") for one in spoke]
        self.decided = known(
            ringfence__verdict=self.verdict,
            ringfence__rules=names_of([one["name"] for one in spoke]),
            ringfence__rule__place=next((name_of(place) for place in places if place), None),
            ringfence__label=name_of(body.get("label")),
            ringfence__charges=self.charges,
            ringfence__event=event.id if id_of(event.id) else None,
            ringfence__hash=event.hash,
        )
        if body.get("arguments") is not None:
            self.arguments = body["arguments"]
        self._note("decided", event.at_ns, ringfence__verdict=self.verdict)
        if self.verdict in ("ask", "allow"):
            return []
        return [self._end(event.at_ns, "denied", {})]

    def _ask(self, event: Event, body: dict[str, Any]) -> None:
        ticket = name_of(body.get("ticket"))
        if ticket is None:
            return
        if not self.asked:
            self.waiting_ns = event.at_ns
        self.asked[ticket] = event.at_ns
        if len(self.tickets) < _TICKETS_AT_MOST:
            self.tickets.append(ticket)
        approver = name_of(body.get("approver"))
        self._note("approval_asked", event.at_ns, ringfence__ticket=ticket, ringfence__approver=approver)

    def _answer(self, event: Event, body: dict[str, Any]) -> None:
        ticket = name_of(body.get("ticket"))
        answer = name_of(body.get("verdict"))
        if answer != "ignored" and self.asked.pop(ticket or "", None) is not None and not self.asked:
            self.waited_ns += max(0, event.at_ns - self.waiting_ns)
            self.waiting_ns = 0
        said = known(ringfence__ticket=ticket, ringfence__answer=answer)
        if self.content:
            said |= known(ringfence__by=name_of(body.get("by")))
            if body.get("because") is not None:
                said["ringfence.because"] = content_of(body["because"])
        self._remember(Moment("ringfence.approval_answered", event.at_ns, said))

    def _enter(self, event: Event, body: dict[str, Any]) -> None:
        limits = body.get("limits")
        lockdown = limits.get("lockdown") if isinstance(limits, dict) else None
        self.isolate = OpenIsolate(
            span_id(self.run, "isolate", self.key, str(event.seq)),
            event.at_ns,
            known(
                ringfence__isolate=name_of(body.get("isolate")),
                ringfence__isolate__runs=name_of(body.get("runs")),
                ringfence__isolate__lockdown=name_of(lockdown),
            ),
        )

    def _leave(self, event: Event, body: dict[str, Any]) -> list[Span]:
        if self.isolate is None:
            return []
        failure = name_of(body.get("failure"))
        said = known(
            ringfence__isolate__v8=name_of(body.get("v8")),
            ringfence__isolate__layers=names_of(body.get("layers")),
            ringfence__isolate__calls=count_of(body.get("calls")),
            error__type=None if failure is None else failure.replace(" ", "_"),
        )
        return self._left(event.at_ns, said)

    def _left(self, at_ns: int, said: dict[str, Value] | None = None) -> list[Span]:
        """Return the isolate's span, if one is open."""
        isolate, self.isolate = self.isolate, None
        if isolate is None:
            return []
        said = said if said is not None else {"error.type": "unknown"}
        name = isolate.attributes.get("ringfence.isolate")
        return [
            Span(
                self.trace, isolate.id, self.id, f"isolate {name}" if name else "isolate", "internal",
                isolate.start_ns, max(at_ns, isolate.start_ns),
                {**self.shared, **isolate.attributes, **said},
                failed="error.type" in said,
            )
        ]  # fmt: skip

    def _end(self, at_ns: int, outcome: str, body: dict[str, Any]) -> Span:
        if self.asked:
            self.waited_ns += max(0, at_ns - self.waiting_ns)
        # SECURITY: what a model made up is content; only names that the policy declares are sent.
        tool = self.tool if self.declared and self.tool is not None else UNDECLARED
        duration_ns = count_of(body.get("duration_ns"))
        failed = outcome not in _NO_ERROR
        said = known(
            gen_ai__operation__name="execute_tool",
            gen_ai__tool__name=tool,
            gen_ai__tool__type="function",
            gen_ai__tool__call__id=self.call_id,
            ringfence__call=id_of(self.key),
            ringfence__outcome=outcome,
            ringfence__tickets=tuple(self.tickets),
            ringfence__waited_s=self.waited_ns / 1e9 if self.tickets else None,
            ringfence__duration_s=None if duration_ns is None else duration_ns / 1e9,
            error__type=outcome.replace(" ", "_") if failed else None,
        )
        if self.content:
            if self.arguments is not None:
                said["gen_ai.tool.call.arguments"] = content_of(self.arguments)
            for field_, attribute in (("result", "gen_ai.tool.call.result"), ("error", "ringfence.error")):
                if body.get(field_) is not None:
                    said[attribute] = content_of(body[field_])
        return Span(
            self.trace, self.id, self.parent, f"execute_tool {tool}", "internal",
            self.start_ns, max(at_ns, self.start_ns), {**self.shared, **self.decided, **said},
            tuple(self.moments), failed,
        )  # fmt: skip

    def _note(self, name: str, at_ns: int, **said: Value | None) -> None:
        self._remember(Moment(f"ringfence.{name}", at_ns, known(**said)))

    def _remember(self, moment: Moment) -> None:
        if len(self.moments) < _MOMENTS_AT_MOST:
            self.moments.append(moment)


def _records(value: object) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
