"""Everything that happens in a run, as immutable past-tense events.

Bodies are flat and hold JSON values only, so an event is its body and a body is its event:
`body_of` and `event_of` are inverse.  A run's state is a fold over them.
"""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from operator import attrgetter
from typing import ClassVar, Final, NamedTuple

from ringfence.dsl.plan import Json

SCHEMA = 1
"""The version of the bodies below, recorded with every event."""

MARK = "[redacted]"
"""What stands in the place of what is hidden."""


@dataclass(frozen=True, slots=True)
class RunStarted:
    """A run began (or a sub-run: `parent`)."""

    kind: ClassVar[str] = "RunStarted"
    session: str
    session_head: str | None
    """Hash of the last event of the session's previous run: the head that this run continues."""
    agent: str
    principal: Mapping[str, Json]
    capabilities: tuple[str, ...]
    """What the run holds: never more than its agent."""
    policy: str
    policy_digest: str
    policy_text: str
    mode: str
    framework: str
    external_id: str | None
    resume_of: str | None
    parent: str | None
    policy_file: str = "policy.fence"
    """What the places of the policy's rules call it."""
    files: tuple[Json, ...] = ()
    """The other texts that the policy is made from, as records: role (`use`, `ceiling`), name, text."""
    continues: tuple[Json, ...] = ()
    """What is remembered at its beginning: `[run, seq]` of the runs (of its session, and the one around it)
    whose memory up to that event, and all that this one continued, is joined in this order.  A third member,
    `unknown`, says that it could not be read then: everything is undecided."""
    orders: int = 0
    """The last order to stop when it began: it obeys every later one that names it."""
    versions: Mapping[str, Json] | None = None
    """What it ran on: `ringfence`, `python` and the framework's packages, each with its version.  None:
    recorded before versions were."""
    redacted: tuple[str, ...] = ()
    """The fields of which something was hidden before they were recorded, and `principal.NAME` for each of
    its values: such a value counts as not said.  Recorded only then."""


@dataclass(frozen=True, slots=True)
class PromptGiven:
    """Text reached the model from outside.

    `source` is `user`, `system`, `attachment`; `model`, what a model wrote for a sub-agent, which is no new
    source; or `host`: messages whose origin the host did not say, of the highest level, matching no source.
    """

    kind: ClassVar[str] = "PromptGiven"
    source: str
    text: Json
    redacted: tuple[str, ...] = ()
    """The fields of which something was hidden before they were recorded; recorded only then."""


@dataclass(frozen=True, slots=True)
class ModelAsked:
    """A model was asked; messages as the framework serialises them."""

    kind: ClassVar[str] = "ModelAsked"
    request: str
    model: str | None
    messages: Json
    tools: Json
    parameters: Json
    parent: str | None
    redacted: tuple[str, ...] = ()
    """The fields of which something was hidden before they were recorded; recorded only then."""


@dataclass(frozen=True, slots=True)
class ModelAnswered:
    """The answer to `request`; `error` is set instead of `messages` if it failed."""

    kind: ClassVar[str] = "ModelAnswered"
    request: str
    messages: Json
    usage: Json
    duration_ns: int
    error: str | None
    redacted: tuple[str, ...] = ()
    """The fields of which something was hidden before they were recorded; recorded only then."""


@dataclass(frozen=True, slots=True)
class CallRequested:
    """A tool call reached the guard, with the arguments as they were given."""

    kind: ClassVar[str] = "CallRequested"
    call: str
    """The call key, unique in the run."""
    tool: str
    arguments: Json
    call_id: str | None
    task: str | None
    parent: str | None
    attempt: str | None = None
    """The framework's execution attempt of the task; tells a resume from a sibling that starts late."""
    schema_names: tuple[str, ...] | None = None
    """The parameter names in the bound tool's schema, sorted; None: not bound."""
    withheld: str | None = None
    """Why `arguments` are not the ones that were decided: `keyed` (audit minimal), `secret` (something in the
    call is, by the settings), `redacted` (by the policy: what redactors gave stands in the decision),
    `too large`, `not JSON`.  Such a call is not replayable; one that is `redacted` is, unless a redaction had
    a condition, or failed.  None: they are."""
    ahead: bool = False
    """True if it was asked about before the framework makes it; recorded only then."""


@dataclass(frozen=True, slots=True)
class CallDecided:
    """The call was decided; recorded before anything runs."""

    kind: ClassVar[str] = "CallDecided"
    call: str
    verdict: str
    reasons: Json
    """A list of records: name, effect, place, because, detail."""
    shadow: Json
    arguments: Json
    """The canonical arguments, None where they equal the requested ones."""
    digest: str
    """Digest of tool and canonical arguments."""
    charges: Json
    """A list of records: budget, key, amount; those made in this decision."""
    asks: tuple[str, ...]
    facts: Json
    """`reserved`, `approved_by`, `answers`, `attempted`, `failed`, perhaps `above`: replay decides again with
    these."""
    label: str | None = None
    """The level that the result will have; None: the tool says none."""
    edited: Json = None
    """The arguments that it was decided with, where the record has had others since: of several edits an
    earlier one is taken again after a resume, or of two at once the first.  Recorded only then."""
    redacted: tuple[str, ...] = ()
    """The fields of which something was hidden before they were recorded; recorded only then."""


@dataclass(frozen=True, slots=True)
class BudgetRefunded:
    """A reservation was given back; `because` is refused, expired, withdrawn, denied, not dispatched, or
    lapsed: its lease ran out while people were asked, and it is reserved once more.
    """

    kind: ClassVar[str] = "BudgetRefunded"
    call: str
    because: str


@dataclass(frozen=True, slots=True)
class ApprovalAsked:
    """A ticket was opened (durable before it is shown)."""

    kind: ClassVar[str] = "ApprovalAsked"
    call: str
    ticket: str
    approver: str
    expires_ns: int | None


@dataclass(frozen=True, slots=True)
class ApprovalAnswered:
    """A ticket was answered; `verdict` is approve, reject, expire, withdraw, or ignored."""

    kind: ClassVar[str] = "ApprovalAnswered"
    call: str
    ticket: str
    verdict: str
    by: str | None
    edited: Json
    because: str | None
    redacted: tuple[str, ...] = ()
    """The fields of which something was hidden before they were recorded; recorded only then."""


@dataclass(frozen=True, slots=True)
class CallStarted:
    """The allow was consumed: the body is dispatched."""

    kind: ClassVar[str] = "CallStarted"
    call: str


@dataclass(frozen=True, slots=True)
class IsolateStarted:
    """The body of a started call runs as JavaScript, in an isolate: with these inputs, its arguments and the
    answers to the calls that it makes, it gives the same bytes again.
    """

    kind: ClassVar[str] = "IsolateStarted"
    call: str
    isolate: str
    """The policy's name."""
    runs: str
    """`body`, our own, called with the arguments; or `code`, that a model wrote."""
    name: str
    """The file, as the policy writes it, or the parameter that holds the code."""
    source: str
    """Digest of the text: a file's is in the policy's files, code in the call's arguments."""
    now_ms: int
    """What its clock said, milliseconds since the epoch."""
    tick_ms: int | None
    """The steps of a coarse clock; None: it stood still."""
    seed: str
    """Hex of the 128 bits that random numbers started from."""
    limits: Json
    """A record: memory_bytes, cpu_ms, time_ms, output_bytes, lockdown."""


@dataclass(frozen=True, slots=True)
class IsolateEnded:
    """The isolate is gone; how the call ended stands in its own event."""

    kind: ClassVar[str] = "IsolateEnded"
    call: str
    v8: str
    """V8's version; empty if it is not known."""
    layers: tuple[str, ...]
    """The walls that stood, as the worker proved them."""
    failure: str | None
    """Why there is no result, `stopped` if it was not waited for; None: it gave one."""
    message: str | None
    line: int | None
    """Of the source, from 1."""
    column: int | None
    output: str | None = None
    """Digest of the result's JSON text, to the byte as the isolate gave it; None: there is none, or the
    policy keeps it out."""
    calls: int = 0
    """How many calls the code made."""
    answers: Json = None
    """What it was given for them: a list of batches, each of calls that were made at once and answered
    together.  Of each call a record: `result`, the digest of the JSON text (None if the policy keeps it out),
    or `error`, the text that it was rejected with, or neither: it was not answered; `withheld`, why the
    result is not in the record; `filled`, the arguments that the host filled in before it was decided.  None:
    it was not answered.  None for all: recorded before answers were."""


@dataclass(frozen=True, slots=True)
class CallFinished:
    """The body returned; `result` is what was handed to the model, after limits."""

    kind: ClassVar[str] = "CallFinished"
    call: str
    result: Json
    truncated: Json
    """None, or a record: rows or bytes before and after."""
    duration_ns: int
    redacted: tuple[str, ...] = ()
    """The fields of which something was hidden before they were recorded; recorded only then."""


@dataclass(frozen=True, slots=True)
class CallFailed:
    """The body raised, ran out of time, was cancelled or was abandoned; `outcome` says which."""

    kind: ClassVar[str] = "CallFailed"
    call: str
    outcome: str
    """`raised`, `timeout`, `cancelled`, `abandoned`, `interrupted` (by its framework; before its body could
    start, by a store that failed), `refused result`, or `refused` (before its body could start)."""
    error: str
    duration_ns: int
    redacted: tuple[str, ...] = ()
    """The fields of which something was hidden before they were recorded; recorded only then."""

    @property
    def has_not_succeeded(self) -> bool:
        """Say whether the body has surely not succeeded: what counts successes is given back for that alone.

        One that was abandoned may yet, one that was interrupted goes on, and one whose result was refused had
        its effect.
        """
        return self.outcome in ("raised", "timeout", "cancelled", "refused")


@dataclass(frozen=True, slots=True)
class SubrunStarted:
    """A call of this run started a run of its own."""

    kind: ClassVar[str] = "SubrunStarted"
    run: str
    call: str | None


@dataclass(frozen=True, slots=True)
class SubrunCounted:
    """A call of a run inside of this one counts here too: what is `per run` counts the whole tree."""

    kind: ClassVar[str] = "SubrunCounted"
    run: str
    """The run that made the call: begun by this run, or inside of one that was."""
    call: str
    tool: str
    """The framework's name."""
    counted: str
    """`decided`, `unanswered` (denied, since a store was away), `asked` (one more ticket),
    `started`, `refunded`, `failed`."""
    verdict: str | None
    """Of `decided` and `unanswered`."""
    asks: tuple[str, ...]
    """Of `decided` and `asked`: the approvers."""
    charges: Json
    """Of `decided`: the charges made, as in the decision."""


@dataclass(frozen=True, slots=True)
class SubrunJoined:
    """What the sub-run remembers up to `seq` is remembered here too: its result arrived."""

    kind: ClassVar[str] = "SubrunJoined"
    run: str
    call: str | None
    seq: int


@dataclass(frozen=True, slots=True)
class RunSuspended:
    """Nothing is in flight and a ticket is open: the framework has put the run away."""

    kind: ClassVar[str] = "RunSuspended"
    tickets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RunResumed:
    """A suspended run went on, perhaps in another process."""

    kind: ClassVar[str] = "RunResumed"
    process: str


UNCLEAN_END: Final = "unclean end"
"""The reason of a halt that another process recorded: the run's own has died."""


@dataclass(frozen=True, slots=True)
class RunHalted:
    """The run was ended by a limit, a budget, an operator or an unclean end; nothing starts after it."""

    kind: ClassVar[str] = "RunHalted"
    reason: str
    by: str | None
    detail: str | None


@dataclass(frozen=True, slots=True)
class RunEnded:
    """The last event of a run, but for its purge; `status` is done, failed or halted."""

    kind: ClassVar[str] = "RunEnded"
    status: str
    error: str | None


@dataclass(frozen=True, slots=True)
class BodiesPurged:
    """What the events of an ended run said was removed, to keep it no longer; that they were there stays."""

    kind: ClassVar[str] = "BodiesPurged"
    upto: int
    """The bodies and salts of the run's events 1 to this are gone; those of this kind stay."""
    before_ns: int
    """What was older than this moment was to go."""
    by: str | None
    """Who asked for it; None: not known."""
    listed: str
    """Digest of what the list of runs says of the run: it followed from what is gone."""


RunEvent = (
    RunStarted
    | PromptGiven
    | ModelAsked
    | ModelAnswered
    | CallRequested
    | CallDecided
    | BudgetRefunded
    | ApprovalAsked
    | ApprovalAnswered
    | CallStarted
    | IsolateStarted
    | IsolateEnded
    | CallFinished
    | CallFailed
    | SubrunStarted
    | SubrunCounted
    | SubrunJoined
    | RunSuspended
    | RunResumed
    | RunHalted
    | RunEnded
    | BodiesPurged
)

KINDS: Mapping[str, type[RunEvent]] = {member.kind: member for member in RunEvent.__args__}
_FIELDS = {kind: tuple(f.name for f in fields(member)) for kind, member in KINDS.items()}
_GETTERS = {kind: attrgetter(*names) for kind, names in _FIELDS.items()}
TIMES = frozenset({"expires_ns", "before_ns"})
"""Moments in nanoseconds are beyond 2^53-1, which JSON cannot say: a body holds them as decimal text."""
_TUPLES = frozenset(
    {"capabilities", "asks", "continues", "files", "layers", "redacted", "tickets", "schema_names"}
)


def _moment(digits: Json) -> int:
    try:
        return int(digits)
    except OverflowError:  # JSON has no infinity, and its readers take a number that is too large for one
        raise ValueError("a time is too large") from None


_Read = Callable[[Json], Json]
_ODD: Mapping[str, Mapping[str, _Read]] = {
    kind: {name: _moment if name in TIMES else tuple for name in names if name in TIMES or name in _TUPLES}
    for kind, names in _FIELDS.items()
}
"""Kind -> the fields that an event holds otherwise than its body, and what makes one of the other."""

_SELDOM = frozenset({"ahead", "edited", "redacted"})
"""Fields that `body_of` leaves out where they are as they mostly are, in the kinds in which they may be."""

_Put = Callable[[RunEvent, Json], None]
"""Sets one field of an event, frozen or not."""


class _Usual(NamedTuple):
    """How an event of one kind is made of a body that says what nearly all of them say."""

    member: type[RunEvent]
    said: int
    """So many fields the body has."""
    plain: tuple[tuple[_Put, str], ...]
    odd: tuple[tuple[_Put, str, _Read], ...]
    silent: tuple[tuple[_Put, Json], ...]
    """The fields that it leaves out, with their defaults."""


def _usual(kind: str, member: type[RunEvent]) -> _Usual:
    put = {one.name: getattr(member, one.name).__set__ for one in fields(member)}
    may_miss = [one for one in fields(member) if one.name in _SELDOM and one.default is not MISSING]
    silent = {one.name: one.default for one in may_miss}
    said, odd = [name for name in put if name not in silent], _ODD[kind]
    return _Usual(
        member,
        len(said),
        tuple((put[name], name) for name in said if name not in odd),
        tuple((put[name], name, odd[name]) for name in said if name in odd),
        tuple((put[name], default) for name, default in silent.items()),
    )


_USUAL = {kind: _usual(kind, member) for kind, member in KINDS.items()}


def body_of(event: RunEvent) -> dict[str, Json]:
    """Return the event's body: its fields by name, as values that canonical JSON can say."""
    names = _FIELDS[event.kind]
    values = _GETTERS[event.kind](event)
    body: dict[str, Json] = dict(zip(names, values, strict=True)) if len(names) > 1 else {names[0]: values}
    if event.kind == "ApprovalAsked" and body["expires_ns"] is not None:
        body["expires_ns"] = str(body["expires_ns"])
    elif event.kind == "CallRequested" and not body["ahead"]:
        del body["ahead"]
    elif event.kind == "BodiesPurged":
        body["before_ns"] = str(body["before_ns"])
    elif event.kind == "CallDecided" and body["edited"] is None:
        del body["edited"]
    if not body.get("redacted", True):
        del body["redacted"]
    return body


def event_of(kind: str, body: Mapping[str, Json]) -> RunEvent:
    """Rebuild an event from its body; raise KeyError for an unknown kind, TypeError for other fields."""
    usual = _USUAL[kind]
    if type(body) is not dict or len(body) != usual.said:
        return _of_any(kind, body)
    # Without the constructor of a frozen class, which takes twice as long; a property compares both.
    event: RunEvent = object.__new__(usual.member)
    try:
        for put, name in usual.plain:
            put(event, body[name])
        for put, name, read in usual.odd:
            value = body[name]
            put(event, None if value is None else read(value))
    except KeyError:
        return _of_any(kind, body)
    for put, default in usual.silent:
        put(event, default)
    return event


def _of_any(kind: str, body: Mapping[str, Json]) -> RunEvent:
    """Rebuild an event from a body that may say less, or more."""
    make: Callable[..., RunEvent] = KINDS[kind]
    values = {**body}
    for name, read in _ODD[kind].items():
        value = values.get(name)
        if value is not None:
            values[name] = read(value)
    return make(**values)


@dataclass(frozen=True, slots=True)
class Stamped:
    """An event with the moment at which it was recorded."""

    seq: int
    """From 1, without gaps, in one run."""
    at_ns: int
    """The engine's clock: nanoseconds since the Unix epoch, never stepping back in one process."""
    event: RunEvent
