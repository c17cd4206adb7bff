"""Stage `types`, continued: the clauses of tools and rules, rewritten into deny, ask and allow."""

from collections.abc import Iterator

from ringfence.dsl import syntax
from ringfence.dsl.checks.conditions import Lowering
from ringfence.dsl.checks.fold import TRUE, negate
from ringfence.dsl.checks.guards import parameters_named
from ringfence.dsl.checks.regex import pattern_mistake
from ringfence.dsl.checks.satisfiable import never_true
from ringfence.dsl.draft import ClauseDraft, Draft, RuleDraft, ToolDraft
from ringfence.dsl.names import approver_known
from ringfence.dsl.plan import Json

BUILT_IN_REASONS = frozenset({"allow", "require", "deny", "ask", "rate", "blast", "arguments"})
"""Names of reasons that a tool has of itself; a clause cannot be called so."""


def patterns_and_sets(draft: Draft) -> None:
    """Check the values that the policy names, used or not."""
    for pattern in draft.patterns.values():
        mistake = pattern_mistake(pattern.pattern.text)
        if mistake:
            draft.report(
                "E130",
                f"this pattern cannot run in linear time: {mistake}",
                pattern.pattern.span,
                "not of RE2's dialect",
                "no look-around and no back-references",
            )
    for values in draft.sets.values():
        Lowering(draft, "", {}).value(syntax.Path((values.name,), values.name.span))


def tool_clauses(draft: Draft) -> None:
    """Lower the clauses of every tool."""
    for name, tool in draft.tools.items():
        draft.clauses[name] = list(_clauses_of(draft, name, tool))


def _clauses_of(draft: Draft, name: str, tool: ToolDraft) -> Iterator[ClauseDraft]:
    labels: set[str] = set()
    for node in tool.node.clauses:
        match node:
            case syntax.Allow(condition=None):
                yield ClauseDraft(f"{name}.allow", "allow", TRUE, node.span)
            case syntax.Allow():
                core, said = _lower(draft, name, tool, node.condition)
                yield ClauseDraft(f"{name}.allow", "allow", core, node.span, principal=said)
            case syntax.Require() | syntax.Deny():
                word = "require" if isinstance(node, syntax.Require) else "deny"
                core, said = _lower(draft, name, tool, node.condition)
                if core is not None and word == "require":
                    core = negate(core)
                if node.label is not None:
                    _label(draft, node.label, labels)
                    word = node.label.text
                because = node.because.value if node.because else None
                yield ClauseDraft(f"{name}.{word}", "deny", core, node.span, because, principal=said)
            case syntax.Ask():
                approver_known(draft, node.approver)
                core, said = _lower(draft, name, tool, node.condition)
                because = node.because.value if node.because else None
                yield ClauseDraft(f"{name}.ask", "ask", core, node.span, because, node.approver, said)
            case syntax.Later():
                draft.later(node)


def _label(draft: Draft, label: syntax.Name, labels: set[str]) -> None:
    if label.text in labels:
        draft.duplicate("clause", label.text, label.span)
    elif label.text in BUILT_IN_REASONS:
        draft.report(
            "E115",
            f"`{label.text}` is already the name of a reason of every tool",
            label.span,
            "",
            "rename it",
        )
    labels.add(label.text)


def _lower(
    draft: Draft, name: str, tool: ToolDraft, node: syntax.Expression | None
) -> tuple[Json | None, tuple[str, ...]]:
    """Return the core form, None after a mistake, and the attributes of the principal that it names."""
    if node is None:
        return TRUE, ()
    lowering = Lowering(draft, name, tool.slots, lenient=draft.unread(tool.node.span))
    core = lowering.condition(node)
    _possible(draft, core, node)
    return core, tuple(lowering.named)


def _possible(draft: Draft, core: Json | None, node: syntax.Expression) -> None:
    if core is not None and never_true(core):
        draft.report(
            "E120",
            "this condition is never true",
            node.span,
            "no call can satisfy it",
            "remove the clause, or mend the part that contradicts the rest",
        )


def rule_clauses(draft: Draft) -> None:
    """Lower the condition of every rule once per way in which covered tools type its parameters."""
    for rule in draft.rules.values():
        condition = _condition_of(rule.node)
        if condition is None:
            rule.variants = [_rule_clause(rule, TRUE, ())]
            for name in rule.covers:
                draft.covering.setdefault(name, []).append((rule.node.name.text, 0))
        elif rule.covers:
            _lower_rule(draft, rule, condition)
        else:
            Lowering(draft, "", {}, lenient=True).condition(condition)


def _condition_of(node: syntax.Rule) -> syntax.Expression | None:
    if node.unless is None:
        return node.when
    unless = syntax.Not(node.unless, node.unless.span)
    return (
        unless if node.when is None else syntax.Both((node.when, unless), node.when.span.to(node.unless.span))
    )


def _lower_rule(draft: Draft, rule: RuleDraft, condition: syntax.Expression) -> None:
    names = sorted(set(parameters_named(condition)))
    alike: dict[object, int] = {}
    for name in rule.covers:
        tool = draft.tools[name]
        slots = tool.slots or {}
        key = (
            tool.slots is None,
            tuple((slot.type, slot.optional) if slot else None for slot in map(slots.get, names)),
        )
        index = alike.get(key)
        if index is None:
            lowering = Lowering(draft, name, tool.slots, lenient=draft.unread(tool.node.span))
            core = lowering.condition(condition)
            _possible(draft, core, condition)
            index = alike[key] = len(rule.variants)
            rule.variants.append(_rule_clause(rule, core, tuple(lowering.named)))
        draft.covering.setdefault(name, []).append((rule.node.name.text, index))


def _rule_clause(rule: RuleDraft, core: Json | None, said: tuple[str, ...]) -> ClauseDraft:
    node = rule.node
    because = node.because.value if node.because else None
    return ClauseDraft(node.name.text, node.effect, core, node.span, because, node.approver, said)
