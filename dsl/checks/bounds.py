"""Stage `checks`: rates, results, audit levels and the bounds of agents (E110, E112, E115, E190, W205)."""

from collections.abc import Iterable

from ringfence.dsl import syntax
from ringfence.dsl.compile.core import noun
from ringfence.dsl.compile.periods import AUDIT_LEVELS, COUNTINGS, PERIODS_NS, SCOPES
from ringfence.dsl.draft import Draft, ToolDraft
from ringfence.dsl.source import Span
from ringfence.dsl.suggest import did_you_mean
from ringfence.dsl.types import LARGEST

OCCASIONS = ("unknown", "deny", "failure")


def check_bounds(draft: Draft) -> None:
    """Check every number, period, scope and level that a clause names."""
    for agent in draft.agents.values():
        _agent(draft, agent)
    for tool in draft.tools.values():
        _tool(draft, tool)
    for block in draft.responses:
        _responses(draft, block)


def _wrong_word(draft: Draft, kind: str, name: syntax.Name, legal: Iterable[str]) -> None:
    words = list(legal)
    help = did_you_mean(name.text, words) or "one of " + ", ".join(f"`{word}`" for word in words)
    draft.report("E112", f"unknown {kind} `{name.text}`", name.span, f"no {kind} has this name", help)


def _too_large(draft: Draft, count: syntax.Count) -> None:
    if count.value > LARGEST:
        draft.report("E110", "this number is too large", count.span, "beyond 2^53-1", "write a smaller bound")


def _once(draft: Draft, what: str, seen: set[str], span: Span) -> None:
    if what in seen:
        draft.report("E115", f"`{what}` is said twice", span, "the second one", "keep one of them")
    seen.add(what)


def _agent(draft: Draft, node: syntax.Agent) -> None:
    seen: set[str] = set()
    for clause in node.clauses:
        match clause:
            case syntax.StopAfter():
                _once(draft, "stop after", seen, clause.span)
                _not_nothing(draft, clause.duration)
            case syntax.AtMost():
                kind = noun(clause.noun)
                if kind not in ("calls", "denials", "requests"):
                    _wrong_word(draft, "bound", clause.noun, ("calls", "denials", "approval requests"))
                _too_large(draft, clause.count)
                if kind == "calls" and clause.count.value == 0:
                    _nothing(draft, clause.count.span)
                _once(draft, f"at most … {clause.noun.text}", seen, clause.span)
            case syntax.Later():
                draft.later(clause)


def _tool(draft: Draft, tool: ToolDraft) -> None:
    seen: set[str] = set()
    for clause in tool.node.clauses:
        match clause:
            case syntax.Rate():
                _rate(draft, tool, clause)
            case syntax.ResultAtMost():
                _result(draft, clause, seen)
            case syntax.Audit():
                if clause.level.text not in AUDIT_LEVELS:
                    _wrong_word(draft, "audit level", clause.level, AUDIT_LEVELS)
                _once(draft, "audit", seen, clause.span)
            case syntax.StopAfter():
                _once(draft, "stop after", seen, clause.span)
                _not_nothing(draft, clause.duration)


def _not_nothing(draft: Draft, duration: syntax.Duration) -> None:
    if duration.ns == 0:
        _nothing(draft, duration.span)


def _nothing(draft: Draft, span: Span) -> None:
    draft.report("W205", "a bound of 0 allows nothing", span, "no call will pass", "raise the bound")


def _rate(draft: Draft, tool: ToolDraft, node: syntax.Rate) -> None:
    _too_large(draft, node.count)
    if node.count.value == 0:
        draft.report(
            "W205",
            "a rate of 0 allows nothing",
            node.count.span,
            "no call will pass",
            "remove the tool's `allow`, or raise the rate",
        )
    if node.period.text not in PERIODS_NS:
        _wrong_word(draft, "period", node.period, PERIODS_NS)
    if node.scope is not None:
        _scope(draft, tool, node, node.scope)
    counting = node.counting
    if counting is not None and counting.text not in COUNTINGS:
        _wrong_word(draft, "way of counting", counting, COUNTINGS)
    elif counting is not None and counting.text != "calls":
        draft.later(syntax.Later(f"counting {counting.text}", counting.span))


def _scope(draft: Draft, tool: ToolDraft, node: syntax.Rate, scope: syntax.Name) -> None:
    slots = tool.slots or {}
    slot = slots.get(scope.text)
    if scope.text in SCOPES:
        if node.period.text == "run" and scope.text != "run":
            draft.report(
                "E112",
                "`per run` is counted for each run",
                scope.span,
                "a run has only one of these",
                "remove `for each`, or give a length of time",
            )
    elif slot is None and not draft.unread(tool.node.span):
        _wrong_word(draft, "scope", scope, (*SCOPES, *slots))
    elif slot is not None and slot.type.known and (slot.type.is_list or slot.optional):
        what = "a list" if slot.type.is_list else "optional"
        draft.report(
            "E112",
            f"`{scope.text}` cannot be a scope",
            scope.span,
            f"it is {what}",
            "count for a parameter that every call gives once",
        )
    elif node.period.text == "run" and slot is not None:
        draft.later(syntax.Later("per run for each parameter", scope.span))


def _result(draft: Draft, clause: syntax.ResultAtMost, seen: set[str]) -> None:
    limit = clause.limit
    if isinstance(limit, syntax.Size):
        _once(draft, "result at most (a size)", seen, clause.span)
        return
    _too_large(draft, limit)
    if clause.noun is not None and clause.noun.text not in ("rows", "row"):
        _wrong_word(draft, "unit", clause.noun, ("rows", "KB", "MB", "bytes"))
    _once(draft, "result at most … rows", seen, clause.span)


def _responses(draft: Draft, block: syntax.Responses) -> None:
    seen: set[str] = set()
    for clause in block.clauses:
        if isinstance(clause, syntax.Latency):
            _once(draft, "latency", seen, clause.span)
            continue
        if clause.occasion.text not in OCCASIONS:
            _wrong_word(draft, "occasion", clause.occasion, OCCASIONS)
        _once(draft, f"{clause.occasion.text} says", seen, clause.span)
