"""What is asked for, on whose behalf, and what was decided."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Literal, NamedTuple

from ringfence.dsl.canonical import canonical, quoted
from ringfence.dsl.plan import Json, Obligations, Reason, Verdict


class Principal:
    """On whose behalf a run acts: `Principal(user="alice", workspace="w1", tier="gold")`.

    Equal if all values are equal.  Attributes are what the policy's `principal has` declares.
    """

    __slots__ = ("values",)

    def __init__(self, user: str | None = None, workspace: str | None = None, **attributes: Json) -> None:
        said = {"user": user, "workspace": workspace, **attributes}
        self.values: Mapping[str, Json] = {name: value for name, value in said.items() if value is not None}
        """What the host has said; absent names were not said."""

    @property
    def user(self) -> str | None:
        """The user's id, or None if the host did not say it."""
        return self.values.get("user")

    @property
    def workspace(self) -> str | None:
        """The workspace's id, or None if the host did not say it."""
        return self.values.get("workspace")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Principal) and dict(self.values) == dict(other.values)

    def __hash__(self) -> int:
        return hash(tuple(sorted((name, repr(value)) for name, value in self.values.items())))

    def __repr__(self) -> str:
        inside = ", ".join(f"{name}={value!r}" for name, value in self.values.items())
        return f"Principal({inside})"


class ToolCall(NamedTuple):
    """One request to run a tool, as it reached the innermost wrapper.

    A named tuple because an adapter makes one per call, and the guard another: a frozen dataclass of this
    width costs three times as much.
    """

    tool: str
    """The framework's name of the tool."""
    arguments: Mapping[str, Json]
    """The *validated* arguments, as JSON values; injected ones (state, runtime) are not among them."""
    call_id: str | None = None
    """The model's id for the call: not unique, sometimes absent; for the record only."""
    task: str | None = None
    """The framework's durable id of the task that makes the call, where it has one."""
    attempt: str | None = None
    """Differs each time the framework starts to execute that task (resume, retry); None: unknown."""
    schema_names: frozenset[str] | None = None
    """The parameter names in the bound tool's schema; None: not bound."""


def call_digest(tool: str, arguments: Mapping[str, Json]) -> str:
    """Return the digest that approvals and records bind to: of the tool's name and its arguments.

    Raises:
        ValueError: the arguments are no JSON values.
    """
    return digest_of(tool, canonical(dict(arguments)))


def digest_of(tool: str, said: bytes) -> str:
    """Return the same digest from the arguments' canonical form: that of the list `[tool, arguments]`."""
    return "sha256:" + sha256(b"[" + quoted(tool).encode() + b"," + said + b"]").hexdigest()


def key_base(call: ToolCall, said: bytes | None = None) -> str:
    """Return the part of the call key that is the same whenever the framework makes this call again.

    Args:
        said: The canonical form of the arguments, where the caller has it already.

    The key is `BASE.ORDINAL`; `State.next_ordinal` counts.  Arguments that are no JSON values are left
    out of it: such calls are denied, so all that a shared base costs is a higher ordinal.
    """
    try:
        said = canonical(dict(call.arguments)) if said is None else said
    except (ValueError, TypeError, RecursionError):
        said = b"unfit"  # fails closed: the call is decided (and denied) under a key of its own ordinal
    named = f"{call.task or call.call_id or ''}|{call.tool}".encode("utf-8", "backslashreplace")
    return sha256(named + b"|" + sha256(said).digest()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Charge:
    """One budget that a call will be charged to, under one key."""

    budget: str
    """The budget's id."""
    key: str
    """The value of the budget's scope: a user's id, a run's id; "" for one budget per policy."""
    amount: int
    limit: int
    period_ns: int | None
    """None: per run."""
    members: tuple[str, ...] = ()
    """Of a blast radius: the resources that the call touches, of which at most `limit` may differ in any
    window; `amount` is how many there are here, and is not counted.  Empty: `amount` is what counts."""
    counting: Literal["calls", "attempts", "successes"] = "calls"
    """What keeps it: the dispatch, the request alone, or the success of the body."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A budget that had no room.  `free_ns`: nanoseconds until it has; None if no time can be said.

    (It is a budget per run, the amount never fits, or reservations that are held without end fill it.)
    """

    budget: str
    key: str
    free_ns: int | None


@dataclass(frozen=True, slots=True)
class Facts:
    """What a decision rests on beside plan, state and call.

    Gathered by the guard, recorded with the decision, used again by replay.
    """

    reserved: tuple[Refusal, ...] | None = None
    """The ledger's answer: empty if all wider budgets were reserved; None if it was not asked."""
    approved_by: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Approver -> the people who approved this very call (digest of arguments, run, policy)."""
    answers: Mapping[str, Json] = field(default_factory=dict)
    """What plugins answered: `Question.key` -> `["gave", value]` or `["failed", why]`."""
    attempted: tuple[Refusal, ...] | None = None
    """The ledger's answer for budgets that count attempts, which are charged whatever the verdict; None:
    it was not asked."""
    failed: str | None = None
    """Why the store, the ledger or a plugin could not answer; such a call is denied."""
    above: tuple[Reason, ...] = ()
    """What the runs around this one refuse, since they count the calls of the whole tree."""


NO_FACTS = Facts()
"""The ledger was not asked and nobody has approved."""

RESERVED = Facts(reserved=())
"""All wider budgets were reserved."""


_ALLOW = Verdict.ALLOW


class Decision(NamedTuple):
    """Verdict, reasons and obligations for one call.

    A named tuple because one is made per call: a frozen dataclass of this width costs three times as much.
    """

    verdict: Verdict
    reasons: tuple[Reason, ...]
    """Every rule that spoke, in the order of the steps and then of the source."""
    arguments: Mapping[str, Json]
    """The canonical arguments: matched, decided, shown, digested and executed.  As given if unfit."""
    obligations: Obligations = Obligations()
    charges: tuple[Charge, ...] = ()
    asks: tuple[str, ...] = ()
    """The approvers that must all approve."""
    halt: Reason | None = None
    """Set if this call ends the run."""
    shadow: tuple[Reason, ...] = ()
    """What shadow rules would have said."""
    label: int | None = None
    """The rank of the result that the call would give; None: the tool says none, so the session's own."""

    @property
    def allowed(self) -> bool:
        """True if the body may run now."""
        return self.verdict is _ALLOW


Status = Literal["running", "suspended", "halted", "done", "failed"]
"""The status of a run; `halted`, `done` and `failed` are final."""
