"""Stage `compile`: from a draft without errors to the plan."""

from collections.abc import Iterable
from functools import partial
from types import MappingProxyType

from ringfence.dsl import syntax
from ringfence.dsl.canonical import digest
from ringfence.dsl.checks.history import tools_of
from ringfence.dsl.compile import core as core_form
from ringfence.dsl.compile.tools import Compiler, Tools, cores_of, parts_of
from ringfence.dsl.compile.watches import Remembered
from ringfence.dsl.draft import Draft, GuaranteeDraft, Slot
from ringfence.dsl.names import declared, slot_of
from ringfence.dsl.plan import (
    AgentPlan,
    ApproverPlan,
    FunctionPlan,
    GuaranteePlan,
    IsolatePlan,
    Limit,
    Plan,
    Responses,
    TextFile,
)
from ringfence.dsl.source import Place, Source
from ringfence.dsl.types import written

MEMORY_BYTES, CPU_MS, TIME_MS, OUTPUT_BYTES = 64 << 20, 500, 5_000, 16 << 10
"""What bounds an isolate that does not say it."""


def compile_policy(draft: Draft, files: tuple[TextFile, ...] = ()) -> Plan:
    """Return the plan of a policy and its ceilings, in which no stage found an error."""
    header, source = draft.header, draft.document.source
    assert header is not None and not draft.failed
    layers = (draft, *draft.ceilings)
    tools = core_form.declared_tools(draft)
    remembered = _remembered(layers, tools)
    core = core_form.core_of(draft)
    compiler = Compiler(draft)
    bound = {entry.node.bound.value if entry.node.bound else name: name for name, entry in tools.items()}
    return Plan(
        policy=header.name.text,
        version=header.version.value if header.version else None,
        edition=1,
        file=source.name,
        text=source.text,
        digest=digest(core),
        core=core,
        tools=Tools(compiler, {name: name for name in tools}),
        by_bound_name=Tools(compiler, bound),
        agents=MappingProxyType(_agents(draft)),
        approvers=MappingProxyType({name: _approver(source, node) for name, node in draft.approvers.items()}),
        capabilities=MappingProxyType(dict(draft.capabilities)),
        principal=MappingProxyType(
            {name: compiler.parameter(slot) for name, slot in draft.principal.items()}
        ),
        responses=_responses(draft),
        levels=draft.levels,
        watches=MappingProxyType(remembered.watches),
        traces=remembered.traces,
        functions=MappingProxyType(
            {
                layer.function_key(name): _function(layer, compiler, node)
                for layer in layers
                for name, node in layer.functions.items()
            }
        ),
        isolates=MappingProxyType({name: _isolate(source, node) for name, node in draft.isolates.items()}),
        files=files or (TextFile("policy", source.name, source.text),),
        layers=tuple(sorted(one.layer or "" for one in draft.ceilings)),
        guarantees=tuple(_guarantee(layer, one) for layer in layers for one in layer.guarantees.values()),
    )


def _remembered(layers: tuple[Draft, ...], tools: Iterable[str]) -> Remembered:
    """Return what some clause asks of the session."""
    remembered = Remembered()
    met: set[int] = set()
    for layer in layers:
        for name in tools:
            for core in cores_of(layer, name):
                # INVARIANT: a condition is only ever missing where an error was reported.
                assert core is not None
                if id(core) not in met:
                    met.add(id(core))
                    remembered.meet(core, partial(tools_of, layer))
            remembered.traces |= any(part.effect == "ask" for part in parts_of(layer, name))
    return remembered


def _responses(draft: Draft) -> Responses:
    form = core_form.responses(draft)
    return Responses(
        unknown=form["unknown"],
        deny=form["deny"],
        failure=form["failure"],
        floor_ns=form.get("floor_ms", 0) * 1_000_000,
        step_ns=form.get("step_ms", 0) * 1_000_000,
    )


def _function(layer: Draft, compiler: Compiler, node: syntax.FunctionOf) -> FunctionPlan:
    gives = Slot("gives", declared(layer, node.gives), False, written(node.gives), node.gives.span)
    return FunctionPlan(
        name=layer.function_key(node.name.text),
        plugin=node.plugin.value,
        parameters=tuple(compiler.parameter(slot_of(layer, param)) for param in node.params),
        gives=compiler.parameter(gives),
        place=compiler.place(node.name),
    )


def _isolate(source: Source, node: syntax.Isolate) -> IsolatePlan:
    form = core_form.isolate(node)
    return IsolatePlan(
        name=node.name.text,
        lockdown=form.get("lockdown", "full"),
        memory_bytes=form.get("memory_bytes", MEMORY_BYTES),
        cpu_ns=form.get("cpu_ms", CPU_MS) * 1_000_000,
        time_ns=form.get("time_ms", TIME_MS) * 1_000_000,
        output_bytes=form.get("output_bytes", OUTPUT_BYTES),
        may_call=frozenset(form.get("may_call", ())),
        clock=form.get("clock", "frozen"),
        tick_ms=form.get("tick_ms"),
        place=source.place(node.name.span),
    )


def _guarantee(layer: Draft, entry: GuaranteeDraft) -> GuaranteePlan:
    form = core_form.guarantee(entry)
    return GuaranteePlan(
        name=entry.node.name.text,
        tools=tuple(form["tools"]),
        cores=tuple(form["when"]),
        approved_by=form["unless_approved_by"],
        place=layer.document.source.place(entry.node.name.span),
        layer=layer.layer,
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
        may_start=frozenset(form.get("may_start", ())),
    )


def _limit(
    source: Source, node: syntax.Agent, kind: str, at_most: int, clause: syntax.StopAfter | syntax.AtMost
) -> Limit:
    return Limit(f"{node.name.text}.{kind}", at_most, source.place(clause.span))
