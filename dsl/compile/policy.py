"""Stage `compile`: from a draft without errors to the plan."""

from types import MappingProxyType

from ringfence.dsl import syntax
from ringfence.dsl.canonical import digest
from ringfence.dsl.compile import core as core_form
from ringfence.dsl.compile.tools import Compiler, Tools
from ringfence.dsl.draft import Draft
from ringfence.dsl.plan import AgentPlan, ApproverPlan, Limit, Plan, Responses, TextFile
from ringfence.dsl.source import Place, Source


def compile_policy(draft: Draft, files: tuple[TextFile, ...] = ()) -> Plan:
    """Return the plan of a draft in which no stage found an error."""
    header, source = draft.header, draft.document.source
    assert header is not None and not draft.failed
    # INVARIANT: a condition is only ever missing where an error was reported.
    parts = [part for clauses in draft.clauses.values() for part in clauses]
    parts += [part for rule in draft.rules.values() for part in rule.variants]
    assert all(part.core is not None for part in parts)
    core = core_form.core_of(draft)
    compiler = Compiler(draft, header.name.text)
    return Plan(
        policy=header.name.text,
        version=header.version.value if header.version else None,
        edition=1,
        file=source.name,
        text=source.text,
        files=files,
        digest=digest(core),
        core=core,
        tools=Tools(compiler, {name: name for name in draft.tools}),
        by_bound_name=Tools(
            compiler,
            {
                entry.node.bound.value if entry.node.bound else name: name
                for name, entry in draft.tools.items()
            },
        ),
        agents=MappingProxyType(_agents(draft)),
        approvers=MappingProxyType({name: _approver(source, node) for name, node in draft.approvers.items()}),
        capabilities=MappingProxyType(dict(draft.capabilities)),
        principal=MappingProxyType(
            {name: compiler.parameter(slot) for name, slot in draft.principal.items()}
        ),
        responses=Responses(**core_form.responses(draft)),
    )


def _approver(source: Source, node: syntax.Approver) -> ApproverPlan:
    form = core_form.approver(node)
    within_ms, otherwise = form["within_ms"], form["otherwise"]
    return ApproverPlan(
        name=node.name.text,
        group=form["group"],
        quorum=form["quorum"],
        never_requester=form["never_requester"],
        within_ns=None if within_ms is None else within_ms * 1_000_000,
        otherwise_ask=None if otherwise == "deny" else otherwise[1],
        place=source.place(node.name.span),
    )


def _agents(draft: Draft) -> dict[str, AgentPlan]:
    if not draft.agents:
        # With no agent block there is one agent that holds everything declared (LANGUAGE, section 4).
        return {"main": AgentPlan("main", frozenset(draft.capabilities), None, None, None, None, None)}
    return {name: _agent(draft.document.source, node) for name, node in draft.agents.items()}


def _agent(source: Source, node: syntax.Agent) -> AgentPlan:
    form = core_form.agent(node)
    limits: dict[str, Limit] = {}
    for clause in node.clauses:
        if isinstance(clause, syntax.StopAfter):
            limits["stop"] = _limit(source, node, "stop", clause.duration.ns, clause)
        elif isinstance(clause, syntax.AtMost):
            kind = core_form.noun(clause.noun)
            limits[kind] = _limit(source, node, kind, clause.count.value, clause)
    place: Place = source.place(node.name.span)
    return AgentPlan(
        name=node.name.text,
        holds=frozenset(form["holds"]),
        stop=limits.get("stop"),
        calls=limits.get("calls"),
        denials=limits.get("denials"),
        requests=limits.get("requests"),
        place=place,
    )


def _limit(
    source: Source, node: syntax.Agent, kind: str, at_most: int, clause: syntax.StopAfter | syntax.AtMost
) -> Limit:
    return Limit(f"{node.name.text}.{kind}", at_most, source.place(clause.span))
