"""A run told in order: its events gathered into steps, one step a tool call however many events it has."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ringfence.dsl.plan import Json
from ringfence.engine.decision import events as e
from ringfence.engine.decision.retold import shown_of


@dataclass(slots=True)
class Moment:
    """Something that happened at once: a prompt, a model's answer, a halt, an end."""

    step: str
    """`prompt`, `model`, `suspended`, `resumed`, `subrun`, `halted`, `ended` or `purged`."""
    at_ns: int
    said: dict[str, Json]
    """The event's own fields."""
    seq: int = 0
    """The event's number in the run."""


@dataclass(slots=True)
class CallStep:
    """One tool call, from the request to what became of it."""

    at_ns: int
    call: str
    tool: str
    arguments: Json
    """As they were given, with marks for what is hidden; each decision says the canonical ones where they
    differ.
    """
    call_id: str | None
    parent: str | None
    step: str = "call"
    number: int = 0
    """From 1, in the order of the requests; `why RUN 3` takes it."""
    seq: int = 0
    """The number of its first event in the run."""
    withheld: str | None = None
    """Why the arguments are not the ones that were decided, as the request says; None: they are."""
    decisions: list[dict[str, Json]] = field(default_factory=list)
    tickets: list[dict[str, Json]] = field(default_factory=list)
    started_ns: int | None = None
    outcome: str = "not run"
    """`not run`, `running`, `finished`, `unknown`, or how it failed: `raised`, `timeout`, `cancelled`, ...

    `unknown`: its process died, and the log does not say whether it ran, or how it ended.
    """
    result: Json = None
    truncated: Json = None
    error: str | None = None
    duration_ns: int | None = None
    refunded: str | None = None
    within: int | None = None
    """The number of the call whose code, or body, made this one; None: none of this run."""
    isolate: dict[str, Json] | None = None
    """Where its body is JavaScript: what the record says of the isolate, at its start and at its end."""

    @property
    def verdict(self) -> str:
        """The last verdict; `undecided` if the run ended before there was one."""
        return str(self.decisions[-1]["verdict"]) if self.decisions else "undecided"

    @property
    def rules(self) -> tuple[str, ...]:
        """The names of the rules that the last verdict rests on, in the order in which they spoke."""
        reasons = self.decisions[-1]["reasons"] if self.decisions else ()
        return tuple(
            str(one["name"]) for one in reasons if self.verdict == "allow" or one["effect"] != "allow"
        )

    def __str__(self) -> str:
        return f"{self.number}, {self.tool}: {self.verdict} by {', '.join(self.rules)}; {self.outcome}"


Step = Moment | CallStep

_MOMENTS: Mapping[str, str] = {
    e.PromptGiven.kind: "prompt",
    e.ModelAnswered.kind: "model",
    e.RunSuspended.kind: "suspended",
    e.RunResumed.kind: "resumed",
    e.SubrunStarted.kind: "subrun",
    e.RunHalted.kind: "halted",
    e.RunEnded.kind: "ended",
    e.BodiesPurged.kind: "purged",
}


def timeline(events: Iterable[e.Stamped], *, gone: bool = False) -> list[Step]:
    """Return the steps of a run in the order in which they began.

    Args:
        gone: The run's process is dead, though the log does not say so yet.
    """
    steps: list[Step] = []
    calls: dict[str, CallStep] = {}
    over = False
    for stamped in events:
        event = stamped.event
        if isinstance(event, e.CallRequested):
            if event.call not in calls:
                step = CallStep(
                    stamped.at_ns, event.call, event.tool, shown_of(event), event.call_id, event.parent,
                    number=len(calls) + 1, seq=stamped.seq, withheld=event.withheld,
                )  # fmt: skip
                around = calls.get(event.parent or "")
                step.within = None if around is None else around.number
                steps.append(step)
                calls[event.call] = step
        elif event.kind in _MOMENTS:
            steps.append(Moment(_MOMENTS[event.kind], stamped.at_ns, e.body_of(event), stamped.seq))
        elif (call := calls.get(getattr(event, "call", ""))) is not None:
            _tell(call, event, stamped.at_ns)
        gone = gone or (isinstance(event, e.RunHalted) and event.reason == e.UNCLEAN_END)
        over = over or isinstance(event, e.RunEnded)
    for call in calls.values():
        if (call.outcome == "running" and (gone or over)) or (call.outcome == "not run" and gone):
            _is_unknown(call)
    return steps


def _is_unknown(step: CallStep) -> None:
    """Say of a call without an outcome that nobody knows it; one that was refused did not run."""
    # What was recorded last may have died with the process: after a request, the allow and the start too.
    if step.outcome == "running" or step.verdict not in ("deny", "unknown"):
        step.outcome = "unknown"


def _tell(step: CallStep, event: e.RunEvent, at_ns: int) -> None:
    """Add what one event says of a call to its step."""
    match event:
        case e.CallDecided():
            step.decisions.append({**e.body_of(event), "at_ns": at_ns})
        case e.ApprovalAsked():
            step.tickets.append({**e.body_of(event), "asked_ns": at_ns, "answers": []})
        case e.ApprovalAnswered():
            for ticket in step.tickets:
                if ticket["ticket"] == event.ticket:
                    ticket["answers"].append({**e.body_of(event), "at_ns": at_ns})
        case e.CallStarted():
            step.started_ns, step.outcome = at_ns, "running"
        case e.IsolateStarted():
            step.isolate = _of_isolate(event)
        case e.IsolateEnded():
            step.isolate = {**(step.isolate or {}), **_of_isolate(event)}
        case e.CallFinished():
            step.outcome, step.result, step.truncated = "finished", event.result, event.truncated
            step.duration_ns = event.duration_ns
        case e.CallFailed():
            step.outcome, step.error, step.duration_ns = event.outcome, event.error, event.duration_ns
        case e.BudgetRefunded():
            step.refunded = event.because


def _of_isolate(event: e.IsolateStarted | e.IsolateEnded) -> dict[str, Json]:
    return {name: value for name, value in e.body_of(event).items() if name != "call"}
