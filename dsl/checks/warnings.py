"""Stage `checks`: what is legal and probably not meant (W201, W202, W203, W207, W210, W211).

What needs the whole policy is judged only where it has no error: a misspelt name must not come back
as three warnings.
"""

from collections.abc import Iterator

from ringfence.dsl import syntax
from ringfence.dsl.checks.fold import TRUE
from ringfence.dsl.compile.tools import budgets_of, parts_of
from ringfence.dsl.draft import Draft, RuleDraft, ToolDraft

WIDE = frozenset({"external", "destructive", "code"})


def check_each_tool(draft: Draft) -> None:
    """Warn about what one tool alone shows."""
    if draft.layer is not None:
        return
    for name, tool in draft.tools.items():
        nodes = tool.clauses
        if tool.starts is not None or tool.broken:
            continue
        if not any(isinstance(node, syntax.Allow) for node in nodes):
            draft.report(
                "W201",
                f"tool `{name}` is never allowed",
                tool.node.name.span,
                "it has no `allow`",
                "add `allow always` or `allow when …`, or remove the tool",
            )
        wide = tool.traits & WIDE
        for node in nodes:
            if isinstance(node, syntax.Allow) and node.condition is None and wide:
                draft.report(
                    "W202",
                    f"`allow always` on a tool that is {', '.join(sorted(wide))}",
                    node.span,
                    "whatever its arguments",
                    "say when: `allow when …`",
                )


def check_whole_policy(draft: Draft) -> None:
    """Warn about what only the whole policy shows, under its ceilings."""
    if draft.failed or draft.layer is not None:
        return
    _never_allowed(draft)
    _rules(draft)
    for ceiling in draft.ceilings:
        _named_nothing(ceiling)
    _capabilities(draft)
    for name, tool in draft.tools.items():
        if tool.starts is None and tool.traits - {"read"} and _can_be_allowed(draft, name):
            _unbounded(draft, name, tool)


def _can_be_allowed(draft: Draft, name: str) -> bool:
    return any(clause.effect == "allow" for clause in draft.clauses[name]) and not _always_denied(draft, name)


def _always_denied(draft: Draft, name: str) -> bool:
    return any(effect == "deny" and core == TRUE for effect, core in _effects(draft, name))


def _effects(draft: Draft, name: str) -> Iterator[tuple[str, object]]:
    """Yield the effect and core condition of every clause of a tool that is enforced, in every layer."""
    for layer in (draft, *draft.ceilings):
        for part in parts_of(layer, name):
            if not part.shadow:
                yield part.effect, part.core


def _never_allowed(draft: Draft) -> None:
    for name, tool in draft.tools.items():
        has_allow = any(clause.effect == "allow" for clause in draft.clauses[name])
        if has_allow and _always_denied(draft, name):
            draft.report(
                "W201",
                f"tool `{name}` is never allowed",
                tool.node.name.span,
                "it is always denied",
                "remove the tool, or the `deny` that has no condition",
            )


def _named_nothing(draft: Draft) -> None:
    """Warn about rules of a ceiling that name tools which the policy does not have: perhaps a slip."""
    for name, rule in draft.rules.items():
        if not rule.covers and rule.node.target.kind == "names":
            _covers_nothing(draft, name, rule)


def _covers_nothing(draft: Draft, name: str, rule: RuleDraft) -> None:
    draft.report(
        "W203",
        f"rule `{name}` covers no tool",
        rule.node.name.span,
        "no tool of the policy fits",
        "remove it, or name the tools that it is meant for",
    )


def _rules(draft: Draft) -> None:
    """Warn about rules that cover nothing, or nothing that another rule does not decide already."""
    everything: list[RuleDraft] = []
    alike: dict[str, list[RuleDraft]] = {}
    for name, rule in draft.rules.items():
        if not rule.covers:
            _covers_nothing(draft, name, rule)
        elif _unconditional(rule):
            everything.append(rule)
    for name, rule in draft.rules.items():
        if not rule.covers:
            continue
        twins = (
            alike.setdefault(f"{_effect(rule)} {rule.variants[0].core}", [])
            if len(rule.variants) == 1
            else []
        )
        wider = (other for other in everything if other is not rule and _decides_all(other, rule))
        same = (other for other in twins if _effect(other) == _effect(rule))
        for other in (*same, *wider):
            if set(rule.covers) <= set(other.covers):
                draft.report(
                    "W203",
                    f"rule `{name}` adds nothing to rule `{other.node.name.text}`",
                    rule.node.name.span,
                    f"`{other.node.name.text}` decides all of this already",
                    "remove one of the two",
                )
                break
        twins.append(rule)


def _unconditional(rule: RuleDraft) -> bool:
    return len(rule.variants) == 1 and bool(rule.variants[0].core == TRUE)


def _effect(rule: RuleDraft) -> tuple[str | None, ...]:
    """Return what a rule does: two that do the same under the same condition are one too many."""
    node = rule.node
    words = (node.approver, node.param, node.redactor, node.level)
    return node.effect, "shadow" if node.shadow else None, *(word.text if word else None for word in words)


def _decides_all(other: RuleDraft, rule: RuleDraft) -> bool:
    """True if an unconditional rule leaves nothing for `rule` to decide where both cover a tool."""
    if _unconditional(rule):
        return False  # two of them are twins, and only the second is reported
    if other.node.effect == "deny" and not other.node.shadow:
        return not rule.node.shadow
    return _effect(other) == _effect(rule)


def _capabilities(draft: Draft) -> None:
    if not draft.agents:
        return
    held = {
        name.text
        for agent in draft.agents.values()
        for clause in agent.clauses
        if isinstance(clause, syntax.Holds)
        for name in clause.capabilities
    }
    for node in draft.document.declarations:
        if isinstance(node, syntax.Capability) and node.name.text not in held:
            draft.report(
                "W207",
                f"capability `{node.name.text}` is held by nobody",
                node.name.span,
                "tools that need it do not exist for any agent",
                "let an agent hold it, or remove it",
            )


def _unbounded(draft: Draft, name: str, tool: ToolDraft) -> None:
    asked = any(effect == "ask" for effect, _ in _effects(draft, name))
    if "destructive" in tool.traits and not asked:
        draft.report(
            "W210",
            f"tool `{name}` is destructive and nobody is asked",
            tool.node.name.span,
            "what it destroys is gone",
            "add `ask APPROVER`",
        )
    elif not asked and not any(
        any(True for _ in budgets_of(layer, name)) for layer in (draft, *draft.ceilings)
    ):
        draft.report(
            "W211",
            f"tool `{name}` does more than read and nothing bounds it",
            tool.node.name.span,
            "no rate, blast radius, budget or ask",
            "add `rate 10 per hour`",
        )
