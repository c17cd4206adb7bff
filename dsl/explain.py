"""A plan in words: its core form, clause by clause, then what each agent may do.

Everything is printed from the plan, nothing from the text: what is read here is what decides.
"""

from collections.abc import Iterator

from ringfence.dsl.plan import AgentPlan, ApproverPlan, Budget, Clause, Plan, ToolPlan
from ringfence.dsl.spelling import spell
from ringfence.dsl.types import duration_text, size_text


def explain(plan: Plan) -> str:
    """Return the core form of a plan and, in sentences, what each agent may do."""
    version = f' version "{plan.version}"' if plan.version else ""
    lines = [f"policy {plan.policy}{version}, language {plan.edition}, {plan.file}", plan.digest]
    for approver in plan.approvers.values():
        lines += ["", *_approver(approver)]
    for tool in plan.tools.values():
        lines += ["", *_tool(plan, tool)]
    said = {"unknown": plan.responses.unknown, "deny": plan.responses.deny, "failure": plan.responses.failure}
    lines += ["", "what the model is told"]
    lines += [
        f"  {occasion:<8} {_quoted(text) if text is not None else 'because'}"
        for occasion, text in said.items()
    ]
    for agent in plan.agents.values():
        lines += ["", *_agent(plan, agent)]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def _approver(approver: ApproverPlan) -> Iterator[str]:
    yield f"approver {approver.name}  [{approver.place}]"
    if approver.group is not None:
        yield f"  group {_quoted(approver.group)}"
    yield f"  quorum {approver.quorum}"
    if approver.never_requester:
        yield "  never the requester"
    if approver.within_ns is not None:
        otherwise = f"ask {approver.otherwise_ask}" if approver.otherwise_ask else "deny"
        yield f"  answer within {duration_text(approver.within_ns)} otherwise {otherwise}"


def _tool(plan: Plan, tool: ToolPlan) -> Iterator[str]:
    bound = f" is {_quoted(tool.bound)}" if tool.bound != tool.name else ""
    yield f"tool {tool.name}{bound}  [{tool.place}]"
    if tool.needs:
        traits = ", ".join(sorted(tool.traits)) or "no traits"
        yield f"  needs {', '.join(sorted(tool.needs))}  ({traits})"
    if tool.parameters is None:
        yield "  takes what its schema says; unbound, anything"
    else:
        taken = (f"{p.name}: {p.type}{' optional' if p.optional else ''}" for p in tool.parameters.values())
        yield f"  takes {', '.join(taken) or 'nothing'}"
    for clause in sorted((*tool.denies, *tool.asks, *tool.allows), key=_written_at):
        yield from _clause(plan, clause)
    for budget in tool.budgets:
        yield f"  budget {_budget(budget)}  {budget.reason}  [{budget.place}]"
    duties = tool.obligations
    if duties.max_rows is not None:
        yield f"  result at most {duties.max_rows} rows"
    if duties.max_bytes is not None:
        yield f"  result at most {size_text(duties.max_bytes)}"
    if duties.stop_ns is not None:
        yield f"  stop after {duration_text(duties.stop_ns)}"
    yield f"  audit {duties.audit}"


def _written_at(clause: Clause) -> tuple[int, int]:
    return clause.place.line, clause.place.column


def _clause(plan: Plan, clause: Clause) -> Iterator[str]:
    effect = f"ask {clause.approver}" if clause.effect == "ask" else clause.effect
    when = "always" if clause.condition is None else f"when {spell(clause.core, plan.levels)}"
    yield f"  {effect} {when}  {clause.name}  [{clause.place}]"
    if clause.because is not None:
        yield f"    because {_quoted(clause.because)}"


def _budget(budget: Budget) -> str:
    period = "in a run" if budget.period_ns is None else f"in any {duration_text(budget.period_ns)}"
    scope = (
        ""
        if budget.scope == "run"
        else f", for each {budget.scope}"
        if budget.scope
        else ", for the whole policy"
    )
    return f"{budget.limit} {period}{scope}, then {'halt' if budget.halts else 'deny'}"


def _agent(plan: Plan, agent: AgentPlan) -> Iterator[str]:
    yield f"Agent {agent.name} holds {', '.join(sorted(agent.holds)) or 'no capability'}."
    if agent.stop is not None:
        yield f"  Its run ends after {duration_text(agent.stop.at_most)}."
    for limit, what in (
        (agent.calls, "calls"),
        (agent.denials, "denials"),
        (agent.requests, "approval requests"),
    ):
        if limit is not None:
            yield f"  Its run has at most {limit.at_most} {what}; one more ends it."
    hidden = []
    for tool in plan.tools.values():
        if tool.needs <= agent.holds:
            yield from _may(plan, tool)
        else:
            hidden.append(tool.bound)
    if hidden:
        yield f"  To it, these tools do not exist: {', '.join(hidden)}."


def _may(plan: Plan, tool: ToolPlan) -> Iterator[str]:
    if not tool.allows or any(clause.condition is None for clause in tool.denies):
        yield f"  It may never call {tool.bound}."
        return
    if any(clause.condition is None for clause in tool.allows):
        sentence = f"  It may call {tool.bound}"
    else:
        allows = (spell(clause.core, plan.levels) for clause in tool.allows)
        sentence = f"  It may call {tool.bound} when {', or when '.join(allows)}"
    for clause in tool.denies:
        sentence += f"; never when {spell(clause.core, plan.levels)}"
    for clause in tool.asks:
        when = "" if clause.condition is None else f" when {spell(clause.core, plan.levels)}"
        sentence += f"; {clause.approver} must approve{when}"
    for budget in tool.budgets:
        sentence += f"; at most {_budget(budget)}"
    yield sentence + "."
