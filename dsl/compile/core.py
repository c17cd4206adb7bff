"""The core form: the whole meaning of a policy as plain JSON, without places and without sugar.

A rule across tools stands once under `rules`, with one condition per way in which covered tools type
its parameters; a tool lists the rules that cover it.  Durations are milliseconds, so that every
integer stays within what canonical JSON carries.
"""

from ringfence.dsl import syntax
from ringfence.dsl.checks.fold import TRUE
from ringfence.dsl.compile.periods import PERIODS_NS
from ringfence.dsl.draft import ClauseDraft, Draft, RuleDraft, Slot, ToolDraft
from ringfence.dsl.plan import Json

ALWAYS: Json = ["always"]
"""The core form of a clause without a condition."""


def core_of(draft: Draft) -> Json:
    """Return the core form of a draft without errors."""
    header = draft.header
    assert header is not None
    return {
        "language": 1,
        "policy": header.name.text,
        "version": header.version.value if header.version else None,
        "capabilities": {name: sorted(traits) for name, traits in draft.capabilities.items()},
        "principal": {name: _slot(slot) for name, slot in draft.principal.items()},
        "approvers": {name: approver(node) for name, node in draft.approvers.items()},
        "agents": {name: agent(node) for name, node in draft.agents.items()}
        or {"main": {"holds": sorted(draft.capabilities)}},
        "responses": responses(draft),
        "tools": {name: tool(draft, entry) for name, entry in draft.tools.items()},
        "rules": {name: _rule(entry) for name, entry in draft.rules.items()},
    }


def _slot(slot: Slot) -> Json:
    return {"type": slot.written, "optional": slot.optional}


def approver(node: syntax.Approver) -> dict[str, Json]:
    """Return the core form of an approver."""
    form: dict[str, Json] = {
        "group": None,
        "quorum": 1,
        "never_requester": False,
        "within_ms": None,
        "otherwise": "deny",
    }
    for clause in node.clauses:
        match clause:
            case syntax.Group():
                form["group"] = clause.name.value
            case syntax.Quorum():
                form["quorum"] = clause.count.value
            case syntax.NeverRequester():
                form["never_requester"] = True
            case syntax.AnswerWithin():
                form["within_ms"] = clause.within.ns // 1_000_000
                if clause.otherwise_ask is not None:
                    form["otherwise"] = ["ask", clause.otherwise_ask.text]
    return form


def agent(node: syntax.Agent) -> dict[str, Json]:
    """Return the core form of an agent; its bounds are budgets on the run."""
    holds: set[str] = set()
    limits: dict[str, Json] = {}
    for clause in node.clauses:
        match clause:
            case syntax.Holds():
                holds.update(name.text for name in clause.capabilities)
            case syntax.StopAfter():
                limits["stop_ms"] = clause.duration.ns // 1_000_000
            case syntax.AtMost():
                limits[noun(clause.noun)] = clause.count.value
    return {"holds": sorted(holds), **limits}


def noun(name: syntax.Name) -> str:
    """Return what an agent's `at most n NOUN` counts: `calls`, `denials` or `requests`, or the wrong word."""
    word = " ".join(name.text.split())
    return _NOUNS.get(word, word)


_NOUNS = {
    "call": "calls",
    "calls": "calls",
    "denial": "denials",
    "denials": "denials",
    "approval request": "requests",
    "approval requests": "requests",
}


def responses(draft: Draft) -> dict[str, Json]:
    """Return the three texts that a model may be told; None: say the rule's `because`."""
    texts: dict[str, Json] = {
        "unknown": "tool not found",
        "deny": "not authorized",
        "failure": "the tool failed",
    }
    for block in draft.responses:
        for clause in block.clauses:
            if isinstance(clause, syntax.Says):
                texts[clause.occasion.text] = clause.text.value if clause.text else None
    return texts


def tool(draft: Draft, entry: ToolDraft) -> dict[str, Json]:
    """Return the core form of a tool, defaults left out."""
    node = entry.node
    form: dict[str, Json] = {
        "bound": node.bound.value if node.bound else node.name.text,
        "needs": sorted(entry.needs),
    }
    if node.description is not None:
        form["description"] = node.description.value
    form["takes"] = None if entry.slots is None else {name: _slot(slot) for name, slot in entry.slots.items()}
    form["clauses"] = [clause(part) for part in draft.clauses[node.name.text]]
    budgets = [rate(part) for part in node.clauses if isinstance(part, syntax.Rate)]
    if budgets:
        form["budgets"] = budgets
    covering = draft.covering.get(node.name.text)
    if covering:
        form["rules"] = [[name, variant] for name, variant in covering]
    form.update(obligations(node))
    return form


def obligations(node: syntax.Tool) -> dict[str, Json]:
    """Return what must be done if the tool runs, as far as the policy says it."""
    form: dict[str, Json] = {}
    for part in node.clauses:
        match part:
            case syntax.ResultAtMost(limit=syntax.Size() as size):
                form["max_bytes"] = size.bytes
            case syntax.ResultAtMost(limit=syntax.Count() as count):
                form["max_rows"] = count.value
            case syntax.Audit():
                form["audit"] = part.level.text
            case syntax.StopAfter():
                form["stop_ms"] = part.duration.ns // 1_000_000
    return form


def clause(part: ClauseDraft) -> dict[str, Json]:
    """Return the core form of one clause."""
    form: dict[str, Json] = {
        "reason": part.reason,
        "effect": part.effect,
        "when": ALWAYS if part.core == TRUE else part.core,
    }
    if part.approver is not None:
        form["approver"] = part.approver.text
    if part.principal:
        form["principal"] = list(part.principal)
    if part.because is not None:
        form["because"] = part.because
    return form


def rate(node: syntax.Rate) -> dict[str, Json]:
    """Return the core form of a rate: a budget of one per call."""
    period = PERIODS_NS[node.period.text]
    return {
        "limit": node.count.value,
        "period_ms": None if period is None else period // 1_000_000,
        "for_each": scope(node),
        "halts": node.otherwise_halt,
    }


def scope(node: syntax.Rate) -> str | None:
    """Return what a rate is counted for; `per run` is for each run."""
    if node.period.text == "run":
        return "run"
    return node.scope.text if node.scope else None


def _rule(rule: RuleDraft) -> Json:
    return [clause(part) for part in rule.variants]
