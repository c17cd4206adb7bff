"""Stage `checks`: results, audit levels, responses and the bounds of agents (E110, E112, E115, W205)."""

from ringfence.dsl import syntax
from ringfence.dsl.checks.reports import nothing, once, too_large, wrong_word
from ringfence.dsl.compile.core import noun
from ringfence.dsl.compile.periods import AUDIT_LEVELS
from ringfence.dsl.draft import Draft, ToolDraft

OCCASIONS = ("unknown", "deny", "failure")


def check_bounds(draft: Draft) -> None:
    """Check every number, period, scope and level that a clause names."""
    for agent in draft.agents.values():
        _agent(draft, agent)
    for tool in draft.tools.values():
        _tool(draft, tool)
    for block in draft.responses:
        _responses(draft, block)


def _agent(draft: Draft, node: syntax.Agent) -> None:
    seen: set[str] = set()
    for clause in node.clauses:
        match clause:
            case syntax.StopAfter():
                once(draft, "stop after", seen, clause.span)
                _not_nothing(draft, clause.duration)
            case syntax.AtMost():
                kind = noun(clause.noun)
                if kind not in ("calls", "denials", "requests"):
                    wrong_word(draft, "bound", clause.noun, ("calls", "denials", "approval requests"))
                too_large(draft, clause.count)
                if kind == "calls" and clause.count.value == 0:
                    nothing(draft, clause.count.span)
                counted = "approval requests" if kind == "requests" else kind
                once(draft, f"at most … {counted}", seen, clause.span)


def _tool(draft: Draft, tool: ToolDraft) -> None:
    seen: set[str] = set()
    for clause in tool.clauses:
        match clause:
            case syntax.ResultAtMost():
                _result(draft, clause, seen)
            case syntax.Audit():
                if clause.level.text not in AUDIT_LEVELS:
                    wrong_word(draft, "audit level", clause.level, AUDIT_LEVELS)
                once(draft, "audit", seen, clause.span)
            case syntax.StopAfter():
                once(draft, "stop after", seen, clause.span)
                _not_nothing(draft, clause.duration)
            case syntax.ResultInSteps():
                once(draft, "result in steps of", seen, clause.span)
                if clause.step.bytes == 0:
                    draft.report(
                        "E110",
                        "a step is at least 1 byte",
                        clause.step.span,
                        "no result can end on it",
                        "write `4 KB`, or remove the clause",
                    )


def _not_nothing(draft: Draft, duration: syntax.Duration) -> None:
    if duration.ns == 0:
        nothing(draft, duration.span)


def _result(draft: Draft, clause: syntax.ResultAtMost, seen: set[str]) -> None:
    limit = clause.limit
    if isinstance(limit, syntax.Size):
        once(draft, "result at most (a size)", seen, clause.span)
        return
    too_large(draft, limit)
    if clause.noun is not None and clause.noun.text not in ("rows", "row"):
        wrong_word(draft, "unit", clause.noun, ("rows", "KB", "MB", "bytes"))
    once(draft, "result at most … rows", seen, clause.span)


def _responses(draft: Draft, block: syntax.Responses) -> None:
    seen: set[str] = set()
    for clause in block.clauses:
        if isinstance(clause, syntax.Latency):
            once(draft, "latency", seen, clause.span)
            continue
        if clause.occasion.text not in OCCASIONS:
            wrong_word(draft, "occasion", clause.occasion, OCCASIONS)
        once(draft, f"{clause.occasion.text} says", seen, clause.span)
