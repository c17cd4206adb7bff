"""Plans made by hand, so that tests of the engine need no policy text."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ringfence.dsl.plan import (
    AgentPlan,
    ApproverPlan,
    Budget,
    Clause,
    Condition,
    Json,
    Limit,
    Obligations,
    Parameter,
    Plan,
    Responses,
    ToolPlan,
    UnfitError,
)
from ringfence.dsl.source import Place
from ringfence.engine.decision.events import RunStarted, Stamped

PLACE = Place("test.fence", 1, 1)
SECOND_NS = 1_000_000_000
T0 = 1_800_000_000 * SECOND_NS


def text(value: Json) -> Json:
    if not isinstance(value, str):
        raise UnfitError("not a text")
    return value


def integer(value: Json) -> Json:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
        raise UnfitError("not an integer")
    return int(value)


def parameter(name: str, *, kind: str = "text", optional: bool = False) -> Parameter:
    return Parameter(name, kind, optional, integer if kind == "integer" else text, PLACE)


def clause(
    name: str,
    effect: str,
    condition: Condition | None = None,
    *,
    approver: str | None = None,
    shadow: bool = False,
    fields: tuple[str, ...] = (),
) -> Clause:
    return Clause(
        name=name,
        effect=effect,  # type: ignore[arg-type]  # the callers write literals
        condition=condition,
        core=["always"] if condition is None else ["test"],
        place=PLACE,
        approver=approver,
        shadow=shadow,
        principal_fields=fields,
    )


def budget(
    name: str,
    limit: int,
    *,
    period_ns: int | None = None,
    scope: str | None = "run",
    halts: bool = False,
    **more: Any,
) -> Budget:
    return Budget(f"{name}/{scope}", name, limit, period_ns, scope, halts, PLACE, **more)


def tool(
    name: str,
    *,
    takes: Iterable[Parameter] | None = (),
    denies: Sequence[Clause] = (),
    asks: Sequence[Clause] = (),
    allows: Sequence[Clause] | None = None,
    budgets: Sequence[Budget] = (),
    needs: Iterable[str] = (),
    fields: Sequence[str] = (),
    obligations: Obligations | None = None,
    **more: Any,
) -> ToolPlan:
    parameters = None if takes is None else {taken.name: taken for taken in takes}
    return ToolPlan(
        name=name,
        bound=name,
        description=None,
        needs=frozenset(needs),
        traits=frozenset(),
        parameters=parameters,
        denies=tuple(denies),
        asks=tuple(asks),
        allows=(clause(f"{name}.allow", "allow"),) if allows is None else tuple(allows),
        budgets=tuple(budgets),
        obligations=obligations or Obligations(),
        place=PLACE,
        required=frozenset(n for n, p in (parameters or {}).items() if not p.optional),
        principal_fields=tuple((field, f"{name}.allow", PLACE) for field in fields),
        **more,
    )


def limit(reason: str, at_most: int | None) -> Limit | None:
    return None if at_most is None else Limit(reason, at_most, PLACE)


def plan(
    *tools: ToolPlan,
    stop_ns: int | None = None,
    calls: int | None = None,
    denials: int | None = None,
    requests: int | None = None,
    holds: Iterable[str] = (),
    approvers: Sequence[ApproverPlan] = (),
    principal: Mapping[str, Parameter] | None = None,
    may_start: Iterable[str] = (),
    **more: Any,
) -> Plan:
    agent = AgentPlan(
        "main",
        frozenset(holds),
        limit("main.stop", stop_ns),
        limit("main.calls", calls),
        limit("main.denials", denials),
        limit("main.requests", requests),
        None,
        frozenset(may_start),
    )
    return Plan(
        policy="test",
        version=None,
        edition=1,
        file="test.fence",
        text="",
        digest="sha256:" + "0" * 64,
        core={},
        tools={t.name: t for t in tools},
        by_bound_name={t.bound: t for t in tools},
        agents={"main": agent},
        approvers={a.name: a for a in approvers},
        capabilities={held: frozenset() for held in holds},
        principal=principal or {},
        responses=Responses(),
        **more,
    )


def approver(
    name: str = "lead", *, quorum: int = 1, never_requester: bool = True, otherwise: str | None = None
) -> ApproverPlan:
    return ApproverPlan(name, "group", quorum, never_requester, None, otherwise, PLACE)


def run_started(
    of: Plan,
    *,
    principal: Mapping[str, Json] | None = None,
    capabilities: Iterable[str] | None = None,
    agent: str = "main",
    at_ns: int = T0,
) -> Stamped:
    held = of.agents["main"].holds if capabilities is None else frozenset(capabilities)
    event = RunStarted(
        session="s1",
        session_head=None,
        agent=agent,
        principal={"user": "alice", "workspace": "w1"} if principal is None else principal,
        capabilities=tuple(sorted(held)),
        policy=of.policy,
        policy_digest=of.digest,
        policy_text=of.text,
        policy_file=of.file,
        mode="enforce",
        framework="python",
        external_id=None,
        resume_of=None,
        parent=None,
    )
    return Stamped(1, at_ns, event)
