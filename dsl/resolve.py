"""Stage `resolve`: whether every name used by a declaration exists, and what rules cover."""

from ringfence.dsl import syntax
from ringfence.dsl.draft import Draft, RuleDraft, Slot, ToolDraft
from ringfence.dsl.names import TRAITS, slot_of


def resolve(draft: Draft) -> None:
    """Resolve the names that declarations use: capabilities, approvers, targets of rules."""
    bound: dict[str, str] = {}
    for name, tool in draft.tools.items():
        _resolve_tool(draft, tool)
        framework_name = tool.node.bound.value if tool.node.bound else name
        if framework_name in bound:
            span = tool.node.bound.span if tool.node.bound else tool.node.name.span
            draft.report(
                "E115",
                f"two tools are bound to `{framework_name}`",
                span,
                f"`{bound[framework_name]}` has this name already",
                "bind each tool to one name",
            )
        bound[framework_name] = name
    for approver in draft.approvers.values():
        for clause in approver.clauses:
            if isinstance(clause, syntax.AnswerWithin) and clause.otherwise_ask:
                approver_known(draft, clause.otherwise_ask)
    for agent in draft.agents.values():
        for holds in agent.clauses:
            if isinstance(holds, syntax.Holds):
                _capabilities(draft, holds.capabilities)
        if agent.name.text in draft.tools:
            draft.report(
                "E133",
                f"agent `{agent.name.text}` has the name of a tool",
                agent.name.span,
                "starting an agent is a call of the tool named after it",
                "rename one of them",
            )
    _resolve_rules(draft)


def approver_known(draft: Draft, name: syntax.Name) -> bool:
    """Return whether an approver is declared; report it if not."""
    if name.text in draft.approvers:
        return True
    draft.unknown("E105", "approver", name, draft.approvers)
    return False


def _capabilities(draft: Draft, names: tuple[syntax.Name, ...]) -> list[str]:
    for name in names:
        if name.text not in draft.capabilities:
            draft.unknown("E106", "capability", name, draft.capabilities)
    return [name.text for name in names if name.text in draft.capabilities]


def _resolve_tool(draft: Draft, tool: ToolDraft) -> None:
    needs: list[str] = []
    slots: dict[str, Slot] | None = None
    for clause in tool.node.clauses:
        if isinstance(clause, syntax.Needs):
            known = _capabilities(draft, clause.capabilities)
            tool.broken |= len(known) < len(clause.capabilities)
            needs += known
        elif isinstance(clause, syntax.Takes):
            slots = {} if slots is None else slots
            for param in clause.params:
                if param.name.text in slots:
                    draft.duplicate("parameter", param.name.text, param.name.span)
                else:
                    slots[param.name.text] = _slot(draft, param)
    tool.needs = tuple(dict.fromkeys(needs))
    tool.slots = slots
    tool.traits = frozenset().union(*(draft.capabilities[need] for need in tool.needs))
    tool.broken |= draft.unread(tool.node.span)


def _resolve_rules(draft: Draft) -> None:
    by_capability: dict[str, list[str]] = {}
    by_trait: dict[str, list[str]] = {}
    for name, tool in draft.tools.items():
        for need in tool.needs:
            by_capability.setdefault(need, []).append(name)
        for trait in tool.traits:
            by_trait.setdefault(trait, []).append(name)
    for rule in draft.rules.values():
        if rule.node.approver is not None:
            rule.broken |= not approver_known(draft, rule.node.approver)
        names = rule.node.target.names
        covered: dict[str, None] = {}
        if rule.node.target.kind == "any":
            covered = dict.fromkeys(draft.tools)
        for word in names:
            match rule.node.target.kind:
                case "names" if word.text in draft.tools:
                    covered[word.text] = None
                case "names":
                    draft.unknown("E101", "tool", word, draft.tools)
                    rule.broken = True
                case "needs" if word.text in draft.capabilities:
                    covered |= dict.fromkeys(by_capability.get(word.text, ()))
                case "needs":
                    draft.unknown("E106", "capability", word, draft.capabilities)
                    rule.broken = True
                case "trait" if word.text in TRAITS:
                    covered |= dict.fromkeys(by_trait.get(word.text, ()))
                case "trait":
                    draft.unknown("E106", "trait", word, TRAITS)
                    rule.broken = True
        rule.covers = tuple(covered)
