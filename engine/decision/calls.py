"""What is asked for, on whose behalf, and what was decided."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

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


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One request to run a tool, as it reached the innermost wrapper."""

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


@dataclass(frozen=True, slots=True)
class Refusal:
    """A budget that had no room; `free_ns` nanoseconds until it has, None if never in this run."""

    budget: str
    key: str
    free_ns: int | None


@dataclass(frozen=True, slots=True)
class Facts:
    """What a decision rests on beside plan, state and call: gathered by the guard, recorded, reused by replay."""

    reserved: tuple[Refusal, ...] | None = None
    """The ledger's answer: empty if all wider budgets were reserved; None if it was not asked."""
    approved_by: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Approver -> the people who approved this very call (digest of arguments, run, policy)."""
    failed: str | None = None
    """Why the store, the ledger or a plugin could not answer; such a call is denied."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Verdict, reasons and obligations for one call."""

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

    @property
    def allowed(self) -> bool:
        """True if the body may run now."""
        return self.verdict is Verdict.ALLOW


Status = Literal["running", "suspended", "halted", "done", "failed"]
"""The status of a run; `halted`, `done` and `failed` are final."""
