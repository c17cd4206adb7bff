"""What each agent may do under a plan, in full sentences."""

from collections.abc import Iterable, Iterator

from ringfence.dsl.plan import AgentPlan, ApproverPlan, Budget, Clause, Plan, ToolPlan
from ringfence.dsl.spelling import spell, spell_operand
from ringfence.dsl.types import duration_text, size_text


def sentences(plan: Plan) -> dict[str, list[str]]:
    """Return, for each agent, what it holds and which tools it may call, when, how often and who signs."""
    return {name: list(_agent(plan, agent)) for name, agent in plan.agents.items()}


def _agent(plan: Plan, agent: AgentPlan) -> Iterator[str]:
    yield f"Agent {agent.name} holds {', '.join(sorted(agent.holds)) or 'no capability'}."
    if agent.stop is not None:
        yield f"Its run ends after {duration_text(agent.stop.at_most)}."
    for limit, what in (
        (agent.calls, "calls"),
        (agent.denials, "denials"),
        (agent.requests, "approval requests"),
    ):
        if limit is not None:
            yield f"Its run has at most {limit.at_most} {what}; one more ends it."
    hidden = []
    asked: dict[str, None] = {}
    for tool in plan.tools.values():
        if sees(agent, tool):
            yield _may(plan, tool)
            asked |= {ask.approver: None for ask in tool.asks if ask.approver and not ask.shadow}
        else:
            hidden.append(tool.bound)
    if hidden:
        yield f"To it, these tools do not exist: {', '.join(hidden)}."
    for name in _reached(plan, asked):
        yield _signs(plan.approvers[name])


def sees(agent: AgentPlan, tool: ToolPlan) -> bool:
    """True if the tool exists for the agent: it holds what the tool needs, or may start whom it starts."""
    if tool.starts is not None:
        return tool.starts in agent.may_start
    return tool.needs <= agent.holds


def _reached(plan: Plan, asked: Iterable[str]) -> Iterator[str]:
    """Yield approvers and those that their tickets are passed on to, each once."""
    waiting, met = list(asked), set[str]()
    while waiting:
        name = waiting.pop(0)
        if name in met or name not in plan.approvers:
            continue
        met.add(name)
        yield name
        otherwise = plan.approvers[name].otherwise_ask
        waiting += [otherwise] if otherwise else []


def _signs(approver: ApproverPlan) -> str:
    who = "one person" if approver.quorum == 1 else f"{approver.quorum} different people"
    sentence = f'{approver.name} is {who} of group "{approver.group}"'
    if approver.never_requester:
        sentence += ", never the requester"
    if approver.within_ns is None:
        return sentence + "; a ticket stays open until it is answered."
    then = f"{approver.otherwise_ask} is asked" if approver.otherwise_ask else "the call is denied"
    return f"{sentence}; without an answer within {duration_text(approver.within_ns)} {then}."


def _may(plan: Plan, tool: ToolPlan) -> str:
    verb = "call" if tool.starts is None else "start agent"
    denies = [clause for clause in tool.denies if not clause.shadow]
    if not tool.allows or any(clause.condition is None for clause in denies):
        return f"It may never {verb} {tool.bound}."
    sentence = f"It may {verb} {tool.bound}"
    if all(clause.condition is not None for clause in tool.allows):
        sentence += f" when {', or when '.join(spell(c.core, plan.levels) for c in tool.allows)}"
    parts = [_never(plan, clause) for clause in denies]
    parts += [f"{ask.approver} must approve{_when(plan, ask)}" for ask in tool.asks if not ask.shadow]
    parts += [f"at most {budget_words(plan, budget)}" for budget in tool.budgets]
    for redaction in tool.redactions:
        if not redaction.shadow:
            when = "" if redaction.condition is None else f" when {spell(redaction.core, plan.levels)}"
            parts.append(f"{redaction.param} is redacted by {redaction.redactor} first{when}")
    if tool.isolated is not None:
        parts.append(f"its code runs in isolate {tool.isolated.isolate}")
    ranks = {label.rank for label in tool.labels}
    if ranks:
        levels = [plan.levels[rank] for rank in sorted(ranks)]
        parts.append(f"what it gives is {' or '.join(levels)}")
    return "; ".join((sentence, *dict.fromkeys(parts))) + "."


def _never(plan: Plan, clause: Clause) -> str:
    if clause.core[0] == "not":  # a `require`: anything but true denies
        return f"only when {spell(clause.core[1], plan.levels)}"
    return f"never when {spell(clause.core, plan.levels)}"


def _when(plan: Plan, clause: Clause) -> str:
    return "" if clause.condition is None else f" when {spell(clause.core, plan.levels)}"


def budget_words(plan: Plan, budget: Budget) -> str:
    """Return a budget in words: `10 in any 1 hour, for each workspace, then halt`."""
    period = "in a run" if budget.period_ns is None else f"in any {duration_text(budget.period_ns)}"
    scope = (
        ""
        if budget.scope == "run"
        else f", for each {budget.scope}"
        if budget.scope
        else ", for the whole policy"
    )
    counting = "" if budget.counting == "calls" else f" {budget.counting}"
    then = "halt" if budget.halts else "deny"
    return f"{_amount(plan, budget)}{counting} {period}{scope}, then {then}"


def _amount(plan: Plan, budget: Budget) -> str:
    if budget.kind == "distinct":
        return f"{budget.limit} different {budget.resource} ({', '.join(budget.resources)})"
    if budget.kind == "amount":
        of = spell_operand(budget.core, plan.levels)
        limit = size_text(budget.limit) if budget.scale == 1 else str(budget.limit // budget.scale)
        return f"{limit} of {of}"
    return str(budget.limit)
