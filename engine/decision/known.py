"""What a run's events say of one call: the part of the state that belongs to a call key."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from ringfence.dsl.plan import Json, Verdict
from ringfence.engine.decision.calls import ToolCall
from ringfence.engine.decision.events import CallDecided, CallRequested
from ringfence.engine.decision.records import call_of

_NOTHING: frozenset[str] = frozenset()
"""One for all calls: each of its own would take 200 bytes of every call."""


@dataclass(slots=True)
class Outcome:
    """How a call ended: what its body gave, as it is in the record."""

    finished: bool
    """True: it returned `result`; False: it failed, as `failure` and `error` say."""
    result: Json
    failure: str | None
    error: str | None
    epoch: int
    """The epoch in which it ended."""
    withheld: bool = False
    """True: `result` is not what the body gave, something in it was hidden."""


@dataclass(slots=True)
class OpenTicket:
    """One ticket as the run's events tell it."""

    id: str
    call: str
    approver: str
    expires_ns: int | None
    answer: str | None = None
    """None while it is open; then approve, reject, expire or withdraw."""
    approved_by: tuple[str, ...] = ()


class HeldCharge(NamedTuple):
    """A charge to a run-wide budget."""

    budget: str
    key: str
    units: Any
    """An amount, or of a blast radius the members: what its window takes."""
    period_ns: int | None
    counts_success: bool = False


class KnownCall:
    """All that the run's events say of one call key."""

    __slots__ = (
        "_request",
        "adopted",
        "approvers_asked",
        "asked_as",
        "asks",
        "attempted",
        "charges",
        "decided_arguments",
        "decided_ns",
        "digest",
        "edited",
        "epoch",
        "given_back",
        "holds",
        "key",
        "outcome",
        "parent",
        "started_epoch",
        "started_ns",
        "successes",
        "takes_place",
        "tickets",
        "tool",
        "verdict",
        "withheld",
    )

    def __init__(self, key: str, event: CallRequested, epoch: int) -> None:
        self.key = key
        self.tool = event.tool
        self.parent = event.parent
        """The call whose body made it; None: no body did."""
        self._request: CallRequested | ToolCall = event
        self.epoch = epoch
        """The epoch of its latest request."""
        self.withheld = event.withheld
        self.verdict: Verdict | None = None
        """Of its latest decision; None: not decided."""
        self.digest = ""
        self.decided_ns: int | None = None
        self.decided_arguments: Mapping[str, Json] | None = None
        """The canonical arguments of its latest decision; None: those of the request were canonical."""
        self.asks: tuple[str, ...] = ()
        self.approvers_asked = _NOTHING
        self.tickets: tuple[OpenTicket, ...] = ()
        self.charges: tuple[HeldCharge, ...] = ()
        """Run-wide charges that are held."""
        self.successes: tuple[tuple[HeldCharge, int], ...] = ()
        """Those that count successes, and when they were stamped: given back if the body fails."""
        self.attempted = False
        """True once its attempt was charged: that is kept, and not charged again."""
        self.edited = _NOTHING
        """The parameters whose values an approver wrote."""
        self.holds = False
        """True from a decision that charged until the refund: it is not charged again."""
        self.takes_place = False
        """True while it counts against `at most … calls`."""
        self.asked_as: CallRequested | None = event if event.ahead else None
        """Its latest request ahead of being made; None: it was never asked about ahead."""
        self.adopted = False
        """True once the call that was asked about ahead was made."""
        self.given_back = False
        """True from a refund until it is decided again: it was refused, withdrawn, or never dispatched."""
        self.started_ns: int | None = None
        self.started_epoch = 0
        self.outcome: Outcome | None = None

    @property
    def request(self) -> ToolCall:
        """As it was asked for; after an approval with edits, with the edited arguments."""
        asked = self._request
        if isinstance(asked, CallRequested):  # made when it is wanted: most calls end without that
            asked = self._request = call_of(asked)
        return asked

    @request.setter
    def request(self, edited: ToolCall) -> None:
        self._request = edited
        self.decided_arguments = None

    def decided_in(self, event: CallDecided) -> ToolCall:
        """Return the call that a decision is about: as it stands, or with the edits that it names."""
        if event.edited is None or not isinstance(event.edited, Mapping):
            return self.request
        return self.request._replace(arguments=event.edited)

    @property
    def told(self) -> Mapping[str, Json] | None:
        """The arguments as they were decided last; None: they are not in the record."""
        if self.withheld is None:
            return self.arguments
        return self.decided_arguments if self.withheld == "redacted" else None

    @property
    def arguments(self) -> Mapping[str, Json]:
        """The arguments as they were decided last."""
        decided = self.decided_arguments
        return self.request.arguments if decided is None else decided

    @property
    def in_flight(self) -> bool:
        """True while its body runs."""
        return self.started_ns is not None and self.outcome is None
