"""Stage `asks`: questions that stay open for ever (W209), and questions that are never put (W215)."""

from collections.abc import Iterator

from ringfence.dsl import syntax
from ringfence.dsl.checks.fold import TRUE
from ringfence.dsl.checks.people import chain
from ringfence.dsl.compile.tools import budgets_of, parts_of
from ringfence.dsl.draft import ClauseDraft, Draft
from ringfence.dsl.plan import Json
from ringfence.dsl.source import Span


def check_asks(draft: Draft) -> None:
    """Look at every question of a policy without errors."""
    if draft.failed or draft.layer is not None:
        return
    _without_limit(draft)
    alive: set[int] = set()
    dead: dict[int, tuple[ClauseDraft, str]] = {}
    for name in draft.tools:
        asks = [part for part in parts_of(draft, name) if part.effect == "ask" and not part.shadow]
        for index, part in enumerate(asks):
            why = _dead(draft, name, asks, index)
            if why is None:
                alive.add(id(part))
            else:
                dead[id(part)] = (part, why)
    for key, (part, why) in dead.items():
        if key not in alive:  # a rule is dead only if it is so for every tool that it covers
            draft.report(
                "W215", "this ask is never put", _place(draft, part), why, "remove it, or the stronger bound"
            )


def _place(draft: Draft, part: ClauseDraft) -> Span:
    rule = draft.rules.get(part.reason)
    return part.span if rule is None else rule.node.name.span


def _without_limit(draft: Draft) -> None:
    used: dict[str, None] = {}
    for layer in (draft, *draft.ceilings):
        parts = [part for clauses in layer.clauses.values() for part in clauses]
        parts += [part for rule in layer.rules.values() for part in rule.variants]
        used |= {part.approver.text: None for part in parts if part.approver is not None}
    for name in used:
        for node in chain(draft, name):
            if not any(isinstance(clause, syntax.AnswerWithin) for clause in node.clauses):
                draft.report(
                    "W209",
                    f"approver `{node.name.text}` is asked without a time limit",
                    node.name.span,
                    "a ticket may stay open for ever",
                    "add `answer within 15 minutes otherwise deny`",
                )


def _dead(draft: Draft, name: str, asks: list[ClauseDraft], index: int) -> str | None:
    """Return why an ask adds nothing on one tool; None if it does."""
    part = asks[index]
    for at, other in enumerate(asks):
        if at == index or _approver(other) != _approver(part):
            continue
        if other.core == TRUE and part.core != TRUE:
            return f"`{_approver(part)}` is always asked about `{name}`"
        if other.core == part.core and at < index and draft.rules.get(other.reason) is None:
            return f"`{_approver(part)}` is asked the same already"
    for budget in budgets_of(draft, name):
        if budget.kind == "distinct" and budget.period == "run":
            for parameter, fewest in _fewest(part.core):
                if parameter in budget.resources and fewest > budget.limit:
                    return f"the blast radius allows {budget.limit} {budget.resource} and refuses before"
    return None


def _approver(part: ClauseDraft) -> str:
    return part.approver.text if part.approver else ""


def _fewest(core: Json) -> Iterator[tuple[str, int]]:
    """Yield each list parameter that must have so many elements if the condition holds."""
    if core[0] == "and":
        for part in core[1:]:
            yield from _fewest(part)
    elif core[0] in (">", ">=", "==") and core[1][0] == "count" and core[1][1][0] == "arg":
        bound = core[2][1] if core[2][0] == "const" else None
        if isinstance(bound, int):
            yield core[1][1][1], bound + 1 if core[0] == ">" else bound
