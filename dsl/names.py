"""Stage `names`: what the policy declares, and whether every name used by a declaration exists."""

from collections.abc import Callable
from typing import Any

from ringfence.dsl import syntax
from ringfence.dsl.draft import Draft, RuleDraft, Slot, ToolDraft
from ringfence.dsl.source import Span
from ringfence.dsl.suggest import did_you_mean
from ringfence.dsl.types import BOUNDABLE_TEXT, DECLARABLE, LARGEST, UNKNOWN, Type, written

TRAITS = ("read", "write", "external", "destructive", "code", "money")
PRINCIPAL = ("user", "workspace", "agent")
"""What a principal always has; all are texts."""


def headers(draft: Draft) -> None:
    """Check that the text begins with `language 1` and names one policy."""
    declarations = draft.document.declarations
    editions = [node for node in declarations if isinstance(node, syntax.Edition)]
    policies = [node for node in declarations if isinstance(node, syntax.PolicyHeader)]
    ceilings = [n for n in declarations if isinstance(n, syntax.Later) and n.construct.startswith("ceiling")]
    text = draft.document.source.text
    start = len(text) - len(text.lstrip("\ufeff \t\r\n"))
    first = declarations[0].span if declarations else Span(min(start, len(text)), min(start + 1, len(text)))
    first = Span(first.start, _end_of_word(text, first.start))
    if not editions:
        if not draft.unread(Span(0, len(text))):
            draft.report(
                "E003",
                "the policy does not say its language",
                first,
                "`language 1` comes first",
                "add `language 1`",
            )
    elif declarations[0] is not editions[0]:
        draft.report(
            "E003", "`language 1` must come first", editions[0].span, "", "move it to the first line"
        )
    for edition in editions[:1]:
        if edition.number.value != 1:
            draft.report(
                "E190",
                f"`language {edition.number.value}` is not known to this version",
                edition.number.span,
                "the edition of the language",
                "write `language 1`, or use a version of ringfence that knows it",
            )
    for edition in editions[1:]:
        draft.report("E115", "`language` is said twice", edition.span, "the second one", "remove it")
    if policies:
        draft.header = policies[0]
    elif not ceilings and not draft.unread(Span(0, len(text))):
        draft.report("E003", "the policy has no name", first, "", "add `policy NAME` after `language 1`")
    for policy in policies[1:]:
        draft.report(
            "E115",
            "a file holds one policy",
            policy.name.span,
            "the second one",
            "put it into a file of its own",
        )


def _end_of_word(text: str, start: int) -> int:
    end = start
    while end < len(text) and (text[end].isalnum() or text[end] == "_"):
        end += 1
    return max(end, min(start + 1, len(text)))


def declare(draft: Draft) -> None:
    """Fill the tables of the draft; a name declared twice is reported at the second."""
    for node in draft.document.declarations:
        taker = _TAKERS.get(type(node))
        if taker is not None:
            taker(draft, node)


def _capability(draft: Draft, node: syntax.Capability) -> None:
    for trait in node.traits:
        if trait.text not in TRAITS:
            draft.unknown("E106", "trait", trait, TRAITS)
    if node.name.text in draft.capabilities:
        draft.duplicate("capability", node.name.text, node.name.span)
    else:
        draft.capabilities[node.name.text] = frozenset(t.text for t in node.traits if t.text in TRAITS)


def _named(kind: str, table: str) -> Callable[[Draft, Any], None]:
    def take(draft: Draft, node: Any) -> None:
        entries = getattr(draft, table)
        if node.name.text in entries:
            draft.duplicate(kind, node.name.text, node.name.span)
        else:
            entries[node.name.text] = node

    return take


def _principal(draft: Draft, node: syntax.PrincipalHas) -> None:
    for param in node.params:
        if param.name.text in PRINCIPAL or param.name.text in draft.principal:
            draft.duplicate("attribute", param.name.text, param.name.span)
        else:
            draft.principal[param.name.text] = _slot(draft, param)


def _slot(draft: Draft, param: syntax.Param) -> Slot:
    return Slot(
        param.name.text, declared(draft, param.type), param.optional, written(param.type), param.name.span
    )


def declared(draft: Draft, node: syntax.TypeName) -> Type:
    """Return the type that a `takes` or `principal has` names; report what is no type."""
    kind = node.name.text
    if kind not in DECLARABLE:
        help = did_you_mean(kind, DECLARABLE) or "types: " + ", ".join(DECLARABLE) + ", list of …"
        draft.report("E111", f"unknown type `{kind}`", node.name.span, "no type has this name", help)
        return UNKNOWN
    bound = node.at_most
    if bound is None:
        return Type(kind, node.is_list)
    if isinstance(bound, syntax.Size):
        if node.is_list or kind not in BOUNDABLE_TEXT:
            what = "a list is bounded by its elements" if node.is_list else f"`{kind}` has no size in bytes"
            draft.report(
                "E111",
                f"`{Type(kind, node.is_list)}` cannot be bounded in bytes",
                bound.span,
                what,
                "write a count of elements" if node.is_list else "remove the bound",
            )
            return UNKNOWN
        return Type(kind, False, bound.bytes, "bytes")
    if bound.value > LARGEST:
        draft.report("E111", "this bound is too large", bound.span, "beyond 2^53-1", "remove the bound")
        return UNKNOWN
    if node.is_list:
        return Type(kind, True, bound.value, "elements")
    if kind not in BOUNDABLE_TEXT:
        draft.report(
            "E111",
            f"`at most` does not bound `{kind}`",
            bound.span,
            "it bounds texts and lists",
            "bound the value in a `require`",
        )
        return UNKNOWN
    return Type(kind, False, bound.value, "characters")


def _tool(draft: Draft, node: syntax.Tool) -> None:
    if node.name.text in draft.tools:
        draft.duplicate("tool", node.name.text, node.name.span)
    else:
        draft.tools[node.name.text] = ToolDraft(node)


def _rule(draft: Draft, node: syntax.Rule) -> None:
    if node.name.text in draft.rules:
        draft.duplicate("rule", node.name.text, node.name.span)
    else:
        draft.rules[node.name.text] = RuleDraft(node, ())


def _responses(draft: Draft, node: syntax.Responses) -> None:
    if draft.responses:
        draft.report("E115", "`responses` is declared twice", node.span, "the second one", "merge the two")
    draft.responses.append(node)


def _levels(draft: Draft, node: syntax.Levels) -> None:
    if draft.levels:
        draft.report("E115", "`levels` is declared twice", node.span, "the second one", "merge the two")
        return
    names: list[str] = []
    for name in node.names:
        if name.text in names:
            draft.duplicate("level", name.text, name.span)
        else:
            names.append(name.text)
    draft.levels = tuple(names)


_TAKERS: dict[type, Callable[[Draft, Any], None]] = {
    syntax.Levels: _levels,
    syntax.Calendar: _named("calendar", "calendars"),
    syntax.FunctionOf: _named("function", "functions"),
    syntax.Capability: _capability,
    syntax.SetOf: _named("set", "sets"),
    syntax.PatternOf: _named("pattern", "patterns"),
    syntax.Approver: _named("approver", "approvers"),
    syntax.Agent: _named("agent", "agents"),
    syntax.PrincipalHas: _principal,
    syntax.Tool: _tool,
    syntax.Rule: _rule,
    syntax.Responses: _responses,
    syntax.Later: Draft.later,
}


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
