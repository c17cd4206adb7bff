"""The core form: the whole meaning of a policy as plain JSON, without places and without sugar.

A rule across tools stands once under `rules`, with one condition per way in which covered tools type
its parameters; a tool lists the rules that cover it.  Durations are milliseconds, so that every
integer stays within what canonical JSON carries.
"""

from collections.abc import Iterable

from ringfence.dsl import syntax
from ringfence.dsl.canonical import canonical, digest
from ringfence.dsl.checks.fold import TRUE
from ringfence.dsl.compile.periods import PERIODS_NS
from ringfence.dsl.draft import (
    BudgetDraft,
    ClauseDraft,
    Draft,
    GuaranteeDraft,
    LabelDraft,
    RuleDraft,
    Slot,
    ToolDraft,
)
from ringfence.dsl.plan import Json
from ringfence.dsl.types import written

ALWAYS: Json = ["always"]
"""The core form of a clause without a condition."""


def core_of(draft: Draft) -> Json:
    """Return the core form of a policy without errors, its ceilings' included."""
    header = draft.header
    assert header is not None
    core: dict[str, Json] = {
        "language": 1,
        "policy": header.name.text,
        "version": header.version.value if header.version else None,
        "capabilities": {name: sorted(traits) for name, traits in draft.capabilities.items()},
        "principal": {name: _slot(slot) for name, slot in draft.principal.items()},
        "approvers": {name: approver(node) for name, node in draft.approvers.items()},
        "agents": {name: agent(node) for name, node in draft.agents.items()}
        or {"main": {"holds": sorted(draft.capabilities)}},
        "responses": responses(draft),
        "tools": {name: tool(draft, entry) for name, entry in declared_tools(draft).items()},
        **_across(draft),
    }
    if draft.levels:
        core["levels"] = list(draft.levels)
    if draft.isolates:
        core["isolates"] = {name: isolate(node) for name, node in draft.isolates.items()}
    if draft.ceilings:
        core["ceilings"] = {one.layer: _ceiling(one) for one in draft.ceilings}
    if draft.layer is not None:
        core["ceiling"] = True
    return core


def declared_tools(draft: Draft) -> dict[str, ToolDraft]:
    """Return the tools of a policy; a ceiling that stands alone has none."""
    return draft.tools if draft.layer is None else {}


def _across(draft: Draft) -> dict[str, Json]:
    """Return what one layer says across tools, what is empty left out but for `rules`."""
    rules = draft.rules if draft.layer is None or draft.policy is not None else {}
    form: dict[str, Json] = {"rules": {name: _rule(entry) for name, entry in rules.items()}}
    functions = {draft.function_key(name): function(node) for name, node in draft.functions.items()}
    guarantees = {name: guarantee(entry) for name, entry in draft.guarantees.items()}
    if functions:
        form["functions"] = functions
    if guarantees:
        form["guarantees"] = guarantees
    return form


def _ceiling(draft: Draft) -> Json:
    """Return what a ceiling adds to a policy: its rules, and what they and its own clauses say per tool."""
    header = draft.header
    assert header is not None
    tools = {name: said(draft, entry) for name, entry in draft.tools.items()}
    return {
        "version": header.version.value if header.version else None,
        "tools": {name: form for name, form in tools.items() if form},
        **_across(draft),
    }


def function(node: syntax.FunctionOf) -> Json:
    """Return the core form of a declared function."""
    return {
        "plugin": node.plugin.value,
        "takes": [written(param.type) for param in node.params],
        "gives": written(node.gives),
    }


def guarantee(entry: GuaranteeDraft) -> Json:
    """Return the core form of a guarantee."""
    approver = entry.node.unless_approved_by
    return {
        "tools": sorted(entry.covers),
        "when": [ALWAYS if core == TRUE else core for core in entry.cores],
        "unless_approved_by": approver.text if approver else None,
    }


def isolate(node: syntax.Isolate) -> dict[str, Json]:
    """Return the core form of an isolate, what is not said left out."""
    form: dict[str, Json] = {}
    for part in node.clauses:
        match part.value:
            case syntax.Name() as word:
                form[part.kind] = word.text
                if part.step is not None:
                    form["tick_ms"] = part.step.ns // 1_000_000
            case syntax.Size() as size:
                form[f"{part.kind}_bytes"] = size.bytes
            case syntax.Duration() as duration:
                form[f"{part.kind}_ms"] = duration.ns // 1_000_000
            case names:
                form["may_call"] = sorted({name.text for name in names})
    return form


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
            case syntax.MayStart():
                limits["may_start"] = sorted({*limits.get("may_start", ()), *(n.text for n in clause.agents)})
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
    """Return what a model is told, and how late; a text that is None: say the rule's `because`."""
    texts: dict[str, Json] = {
        "unknown": "tool not found",
        "deny": "not authorized",
        "failure": "the tool failed",
    }
    for block in draft.responses:
        for clause in block.clauses:
            if isinstance(clause, syntax.Says):
                texts[clause.occasion.text] = clause.text.value if clause.text else None
            else:
                texts["floor_ms"] = clause.floor.ns // 1_000_000
                texts["step_ms"] = clause.step.ns // 1_000_000
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
    if entry.starts is not None:
        form["starts"] = entry.starts
    for part in entry.clauses:
        if isinstance(part, syntax.Runs):
            form["runs"] = [part.isolate.text, _what_runs(draft, part)]
    return {**form, "clauses": [], **said(draft, entry)}


def _what_runs(draft: Draft, part: syntax.Runs) -> list[str]:
    if isinstance(part.what, syntax.Name):
        return ["param", part.what.text]
    return ["file", part.what.value, digest(draft.document.scripts[part.what.span])]


def said(draft: Draft, entry: ToolDraft) -> dict[str, Json]:
    """Return what one layer says about a tool, defaults left out."""
    name = entry.node.name.text
    form: dict[str, Json] = {}
    clauses = draft.clauses.get(name, ())
    decisive = [clause(part) for part in clauses if part.redacts is None]
    if decisive:
        form["clauses"] = decisive
    # Whatever their order, the same parameter is redacted by the same redactors.
    redacts = sorted(list(part.redacts) for part in clauses if part.redacts is not None)
    if redacts:
        form["redact"] = redacts
    labels = [label(part) for part in draft.labels.get(name, ())]
    if labels:
        form["labels"] = sorted(labels, key=canonical)
    budgets = [budget(part) for part in draft.budgets.get(name, ())]
    budgets += [budget(entry.budgets[name]) for entry in draft.amounts.values() if name in entry.budgets]
    if budgets:
        form["budgets"] = budgets
    covering = draft.covering.get(name)
    if covering:
        form["rules"] = [[rule, variant] for rule, variant in covering]
    orders = [clause(draft.orders[order].clauses[name]) for order in draft.ordered.get(name, ())]
    if orders:
        form["orders"] = orders
    form.update(obligations(entry.clauses))
    return form


def obligations(clauses: Iterable[syntax.ToolClause]) -> dict[str, Json]:
    """Return what must be done if the tool runs, as far as these clauses say it."""
    form: dict[str, Json] = {}
    for part in clauses:
        match part:
            case syntax.ResultAtMost(limit=syntax.Size() as size):
                form["max_bytes"] = size.bytes
            case syntax.ResultAtMost(limit=syntax.Count() as count):
                form["max_rows"] = count.value
            case syntax.ResultInSteps():
                form["step_bytes"] = part.step.bytes
            case syntax.Audit():
                form["audit"] = part.level.text
            case syntax.StopAfter():
                form["stop_ms"] = part.duration.ns // 1_000_000
    return form


def label(part: LabelDraft) -> Json:
    """Return the core form of a `result is`."""
    return [part.rank, "otherwise" if part.otherwise else ALWAYS if part.core == TRUE else part.core]


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
    if part.shadow:
        form["shadow"] = True
    if part.redacts is not None:
        form["redacts"] = list(part.redacts)
    if part.level is not None:
        form["level"] = part.level
    return form


def budget(part: BudgetDraft) -> dict[str, Json]:
    """Return the core form of a budget."""
    period = PERIODS_NS[part.period]
    form: dict[str, Json] = {
        "limit": part.limit,
        "period_ms": None if period is None else period // 1_000_000,
        "for_each": part.scope,
        "halts": part.halts,
    }
    if part.counting != "calls":
        form["counting"] = part.counting
    if part.kind == "distinct":
        form["distinct"] = [part.resource, list(part.resources)]
    elif part.kind == "amount":
        form |= {"budget": part.reason, "of": part.amount, "scale": part.scale}
    return form


def _rule(rule: RuleDraft) -> Json:
    return [clause(part) for part in rule.variants]
