"""Stage `types`, continued: rules, orders, budgets and guarantees, seen from every tool they cover."""

from collections.abc import Callable, Iterable

from ringfence.dsl import syntax
from ringfence.dsl.checks.clauses import lenient, possible, report_unknown_parameter
from ringfence.dsl.checks.conditions import Lowering
from ringfence.dsl.checks.fold import TRUE
from ringfence.dsl.checks.guards import parameters_named
from ringfence.dsl.checks.orders import lower_order
from ringfence.dsl.checks.pairs import a
from ringfence.dsl.compile.periods import AUDIT_LEVELS
from ringfence.dsl.draft import ClauseDraft, Draft, GuaranteeDraft, RuleDraft
from ringfence.dsl.names import not_installed
from ringfence.dsl.plan import Json
from ringfence.dsl.suggest import did_you_mean


def rule_clauses(draft: Draft) -> None:
    """Lower the condition of every rule once per way in which covered tools type its parameters."""
    for rule in draft.rules.values():
        node = rule.node
        if node.effect == "redact":
            _redacted(draft, rule)
        elif node.effect == "audit" and node.level is not None and node.level.text not in AUDIT_LEVELS:
            rule.broken = True
            draft.report(
                "E112",
                f"unknown audit level `{node.level.text}`",
                node.level.span,
                "no audit level has this name",
                did_you_mean(node.level.text, AUDIT_LEVELS) or "one of `minimal`, `standard`, `full`",
            )
        condition = _condition_of(node)
        if condition is None:
            rule.variants = [_rule_clause(rule, TRUE, ())]
            for name in rule.covers:
                draft.covering.setdefault(name, []).append((node.name.text, 0))
        elif rule.covers:
            _lower_rule(draft, rule, condition)
        else:
            Lowering(draft, "", {}, lenient=True).condition(condition)


def _redacted(draft: Draft, rule: RuleDraft) -> None:
    """Keep the covered tools that take the parameter; those that a target names must."""
    node = rule.node
    assert node.param is not None and node.redactor is not None
    if draft.installed is not None and not draft.installed(node.redactor.text):
        not_installed(draft, "redactor", node.redactor.text, node.redactor.span)
    covers: list[str] = []
    missing: list[str] = []
    for name in rule.covers:
        tool = draft.tools[name]
        slot = (tool.slots or {}).get(node.param.text)
        if slot is not None or tool.slots is None or lenient(draft, tool):
            # A tool without `takes` may be given this parameter all the same: then it is redacted.
            covers.append(name)
            if slot is not None and slot.type.known and slot.type.kind not in ("text", "line"):
                draft.report(
                    "E110",
                    f"`{node.param.text}` of tool `{name}` cannot be redacted",
                    node.param.span,
                    f"it is {a(slot.type)}",
                    "a redactor takes texts, lines and lists of them",
                )
        else:
            missing.append(name)
    if missing and (node.target.kind == "names" or not covers):
        report_unknown_parameter(draft, missing[0], draft.tools[missing[0]], node.param)
    rule.covers = tuple(covers)


def _condition_of(node: syntax.Rule) -> syntax.Expression | None:
    if node.unless is None:
        return node.when
    unless = syntax.Not(node.unless, node.unless.span)
    return (
        unless if node.when is None else syntax.Both((node.when, unless), node.when.span.to(node.unless.span))
    )


def _lower_rule(draft: Draft, rule: RuleDraft, condition: syntax.Expression) -> None:
    def variant(name: str, lowering: Lowering) -> None:
        core = lowering.condition(condition)
        possible(draft, core, condition)
        rule.variants.append(_rule_clause(rule, core, tuple(lowering.named)))

    for name, index in _seen_alike(draft, rule.covers, condition, variant):
        draft.covering.setdefault(name, []).append((rule.node.name.text, index))


def _seen_alike(
    draft: Draft, covers: Iterable[str], node: syntax.Expression, lower: Callable[[str, Lowering], None]
) -> Iterable[tuple[str, int]]:
    """Lower an expression once per way in which the tools type what it names; say which each tool has."""
    names = sorted(set(parameters_named(node)))
    alike: dict[object, int] = {}
    for name in covers:
        tool = draft.tools[name]
        slots = tool.slots or {}
        key = (
            tool.slots is None,
            tuple((slot.type, slot.optional) if slot else None for slot in map(slots.get, names)),
        )
        index = alike.get(key)
        if index is None:
            index = alike[key] = len(alike)
            lower(name, Lowering(draft, name, tool.slots, lenient=lenient(draft, tool)))
        yield name, index


def _rule_clause(rule: RuleDraft, core: Json | None, said: tuple[str, ...]) -> ClauseDraft:
    node = rule.node
    because = node.because.value if node.because else None
    redacts = (node.param.text, node.redactor.text) if node.param and node.redactor else None
    return ClauseDraft(
        node.name.text,
        node.effect,
        core,
        node.span,
        because,
        node.approver,
        said,
        node.shadow,
        redacts,
        node.level.text if node.level else None,
    )


def order_clauses(draft: Draft) -> None:
    """Put the deny of every order on the calls that it guards."""
    for order in draft.orders.values():
        for clause, tools in lower_order(draft, order.node):
            order.clauses |= dict.fromkeys(tools, clause)
        for name in order.clauses:
            draft.ordered.setdefault(name, []).append(order.node.name.text)


def guarantees(draft: Draft) -> None:
    """Check what a guarantee says; it is kept, and proved by nobody yet."""
    for guarantee in draft.guarantees.values():
        condition = guarantee.node.when
        if condition is None:
            guarantee.cores = [TRUE]
        elif guarantee.covers:
            _lower_guarantee(draft, guarantee, condition)
        else:
            Lowering(draft, "", {}, lenient=True).condition(condition)


def _lower_guarantee(draft: Draft, guarantee: GuaranteeDraft, condition: syntax.Expression) -> None:
    def variant(name: str, lowering: Lowering) -> None:
        guarantee.cores.append(lowering.condition(condition))

    for _ in _seen_alike(draft, guarantee.covers, condition, variant):
        pass  # each way is lowered once
