"""Stage `counted`: rates, blast radii and budgets over tools, in one form (E110, E112, E114, W205, W213)."""

from collections.abc import Iterable

from ringfence.dsl import syntax
from ringfence.dsl.checks.clauses import lenient, parameter
from ringfence.dsl.checks.conditions import Lowering
from ringfence.dsl.checks.pairs import a
from ringfence.dsl.checks.reports import too_large, wrong_word
from ringfence.dsl.compile.periods import COUNTINGS, PERIODS_NS, SCOPES
from ringfence.dsl.draft import AmountDraft, BudgetDraft, Draft, ToolDraft
from ringfence.dsl.suggest import did_you_mean
from ringfence.dsl.types import LARGEST, NUMERIC, Type

SCALE = 1_000_000
"""Amounts that are numbers are counted in millionths, so that fractions add up exactly."""

_ATTEMPTS = ("run", "session", "user")


def touched(draft: Draft) -> None:
    """Resolve what the tools touch, before any blast radius is looked at."""
    for name, tool in draft.tools.items():
        if draft.policy is not None:
            touches = draft.policy.tools[name].touches
            tool.touches = {resource: list(params) for resource, params in touches.items()}
        for clause in tool.clauses:
            if isinstance(clause, syntax.Touches):
                for touch in clause.touches:
                    _touch(draft, name, tool, touch)


def _touch(draft: Draft, name: str, tool: ToolDraft, touch: syntax.Touch) -> None:
    slot = parameter(draft, name, tool, touch.param)
    if slot is not None and slot.type.kind == "record":
        draft.report(
            "E110",
            f"`{touch.param.text}` names no resource",
            touch.param.span,
            "a record is not one value",
            "touch a parameter that holds texts or numbers",
        )
    params = tool.touches.setdefault(touch.resource.text, [])
    if touch.param.text in params:
        draft.report(
            "E115",
            f"`{touch.param.text}` is touched as `{touch.resource.text}` twice",
            touch.param.span,
            "the second one",
            "keep one of them",
        )
    else:
        params.append(touch.param.text)


def count_tools(draft: Draft) -> None:
    """Make a budget of every rate and blast radius."""
    for name, tool in draft.tools.items():
        taken: dict[str, int] = {}
        made: list[BudgetDraft] = []
        for clause in tool.clauses:
            if isinstance(clause, syntax.Rate):
                _rate(draft, tool, clause)
                made.append(_budget_of_rate(draft, name, clause, taken))
            elif isinstance(clause, syntax.BlastRadius):
                for blast in clause.blasts:
                    _blast(draft, name, tool, clause, blast)
                    made.append(_budget_of_blast(draft, name, tool, clause, blast, taken))
        if made:
            draft.budgets[name] = made


def count_amounts(draft: Draft) -> None:
    """Make one budget of every `budget`, with what each covered tool is charged."""
    for entry in draft.amounts.values():
        _amount(draft, entry)


# ---- words ------------------------------------------------------------------------------------------


def _rate(draft: Draft, tool: ToolDraft, node: syntax.Rate) -> None:
    too_large(draft, node.count)
    _not_zero(draft, node.count, "a rate of 0 allows nothing", "remove the tool's `allow`, or raise the rate")
    _period(draft, node.period)
    if node.scope is not None:
        _scope(draft, tool, node.scope, [node.period])
    counting = node.counting
    if counting is None:
        return
    if counting.text not in COUNTINGS:
        wrong_word(draft, "way of counting", counting, COUNTINGS)
    elif counting.text == "attempts" and scope_of(node.period, node.scope) not in _ATTEMPTS:
        draft.report(
            "E112",
            "attempts are counted per run, session or user only",
            node.scope.span if node.scope else counting.span,
            "denied calls of some would use up what others may do",
            "write `per run`, or `for each session` or `for each user`",
        )
    elif counting.text == "successes":
        draft.report(
            "W213",
            "this rate counts successes",
            counting.span,
            "calls that fail are free, however many",
            "write `counting calls`, the default, unless failing is harmless",
        )


def _blast(draft: Draft, name: str, tool: ToolDraft, node: syntax.BlastRadius, blast: syntax.Blast) -> None:
    too_large(draft, blast.count)
    _not_zero(draft, blast.count, "a blast radius of 0 allows nothing", "raise it")
    _period(draft, blast.period)
    if node.scope is not None and blast is node.blasts[0]:
        _scope(draft, tool, node.scope, [one.period for one in node.blasts])
    if blast.resource.text not in tool.touches and not lenient(draft, tool):
        known = ", ".join(f"`{resource}`" for resource in tool.touches)
        draft.report(
            "E114",
            f"tool `{name}` touches no `{blast.resource.text}`",
            blast.resource.span,
            "nothing to count",
            did_you_mean(blast.resource.text, tool.touches)
            or (f"it touches {known}" if known else f"add `touches PARAMETER as {blast.resource.text}`"),
        )


def _not_zero(draft: Draft, count: syntax.Count, message: str, help: str) -> None:
    if count.value == 0:
        draft.report("W205", message, count.span, "no call will pass", help)


def _period(draft: Draft, period: syntax.Name) -> None:
    if period.text not in PERIODS_NS:
        wrong_word(draft, "period", period, PERIODS_NS)


def _scope(draft: Draft, tool: ToolDraft, scope: syntax.Name, periods: Iterable[syntax.Name]) -> None:
    slots = tool.slots or {}
    slot = slots.get(scope.text)
    if scope.text in SCOPES:
        if all(period.text == "run" for period in periods) and scope.text != "run":
            draft.report(
                "E112",
                "`per run` is counted for each run",
                scope.span,
                "a run has only one of these",
                "remove `for each`, or give a length of time",
            )
    elif slot is None and not lenient(draft, tool):
        wrong_word(draft, "scope", scope, (*SCOPES, *slots))
    elif slot is not None and slot.type.known and (slot.type.is_list or slot.optional):
        what = "a list" if slot.type.is_list else "optional"
        draft.report(
            "E112",
            f"`{scope.text}` cannot be a scope",
            scope.span,
            f"it is {what}",
            "count for a parameter that every call gives once",
        )


def scope_of(period: syntax.Name, scope: syntax.Name | None) -> str | None:
    """Return what is counted for; `per run` is for each run, or for each value of a parameter in it."""
    if period.text == "run" and (scope is None or scope.text in SCOPES):
        return "run"
    return scope.text if scope else None


# ---- budgets ----------------------------------------------------------------------------------------


def _id(draft: Draft, plain: str, period: str, scope: str | None, taken: dict[str, int]) -> str:
    # A parameter may have any name, so it is told from the scopes that every tool has.
    counted = "policy" if scope is None else scope if scope in SCOPES else f"arg.{scope}"
    header = (draft.policy or draft).header
    policy = header.name.text if header else ""
    # No name holds a `:`, so a ceiling's budget is never taken for one of the policy.
    layer = "" if draft.layer is None else f"{draft.layer}:"
    id = f"{policy}/{layer}{plain}/{period}/{counted}"
    taken[id] = taken.get(id, 0) + 1
    return id if taken[id] == 1 else f"{id}/{taken[id]}"


def _budget_of_rate(draft: Draft, name: str, node: syntax.Rate, taken: dict[str, int]) -> BudgetDraft:
    scope = scope_of(node.period, node.scope)
    counting = node.counting.text if node.counting else "calls"
    plain = f"{name}/rate" if counting == "calls" else f"{name}/rate.{counting}"
    return BudgetDraft(
        kind="calls",
        id=_id(draft, plain, node.period.text, scope, taken),
        reason=f"{name}.rate",
        limit=node.count.value,
        period=node.period.text,
        scope=scope,
        halts=node.otherwise_halt,
        span=node.span,
        counting=counting,  # type: ignore[arg-type]  # checked against COUNTINGS
    )


def _budget_of_blast(
    draft: Draft,
    name: str,
    tool: ToolDraft,
    node: syntax.BlastRadius,
    blast: syntax.Blast,
    taken: dict[str, int],
) -> BudgetDraft:
    scope = scope_of(blast.period, node.scope)
    resource = blast.resource.text
    return BudgetDraft(
        kind="distinct",
        id=_id(draft, f"{name}/blast.{resource}", blast.period.text, scope, taken),
        reason=f"{name}.blast",
        limit=blast.count.value,
        period=blast.period.text,
        scope=scope,
        halts=node.otherwise_halt,
        span=blast.count.span.to(blast.period.span),
        resource=resource,
        resources=tuple(sorted(tool.touches.get(resource, ()))),
    )


def _amount(draft: Draft, entry: AmountDraft) -> None:
    node = entry.node
    _period(draft, node.period)
    if isinstance(node.limit, syntax.Count):
        if node.limit.value * SCALE > LARGEST:
            draft.report(
                "E110",
                "this number is too large",
                node.limit.span,
                f"an amount is at most {LARGEST // SCALE}",
                "write a smaller bound",
            )
        _not_zero(draft, node.limit, "a budget of 0 allows nothing", "raise it")
    elif node.limit.bytes == 0:
        draft.report("W205", "a budget of 0 allows nothing", node.limit.span, "no call will pass", "raise it")
    scale = 1 if isinstance(node.limit, syntax.Size) else SCALE
    scope = scope_of(node.period, node.scope)
    # No tool is called `*`: the budget is one for all that it covers.
    id = _id(draft, f"*/{node.name.text}", node.period.text, scope, {})
    if not entry.covers:
        Lowering(draft, "", {}, lenient=True).value(node.amount)
    for name in entry.covers:
        tool = draft.tools[name]
        if node.scope is not None:
            _scope(draft, tool, node.scope, [node.period])
        lowering = Lowering(draft, name, tool.slots, lenient=lenient(draft, tool))
        amount = lowering.value(node.amount)
        if amount.type.known:
            _number(draft, node, amount.type)
        entry.principal[name] = tuple(lowering.named)
        entry.budgets[name] = BudgetDraft(
            kind="amount",
            id=id,
            reason=node.name.text,
            limit=(node.limit.bytes if isinstance(node.limit, syntax.Size) else node.limit.value) * scale,
            period=node.period.text,
            scope=scope,
            halts=node.otherwise_halt,
            span=node.span,
            amount=amount.core,
            scale=scale,
        )


def _number(draft: Draft, node: syntax.BudgetOf, type_: Type) -> None:
    in_bytes = isinstance(node.limit, syntax.Size)
    if type_.is_list or (type_.kind != "bytes" and type_.kind not in NUMERIC):
        draft.report(
            "E110",
            "a budget adds up numbers or sizes",
            node.amount.span,
            f"this is {a(type_)}",
            "write `size(…)` or a parameter that is a number",
        )
    elif in_bytes != (type_.kind == "bytes"):
        draft.report(
            "E110",
            f"the limit is {'a size' if in_bytes else 'a number'}, and this is {a(type_)}",
            node.amount.span,
            "they cannot be compared",
            "give the limit as a size, such as `200 KB`" if not in_bytes else "give the limit as a number",
        )
