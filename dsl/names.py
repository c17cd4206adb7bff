"""Stage `names`: what a layer declares."""

from collections.abc import Callable
from typing import Any

from ringfence.dsl import syntax
from ringfence.dsl.draft import (
    AmountDraft,
    Draft,
    GuaranteeDraft,
    OrderDraft,
    RuleDraft,
    Slot,
    ToolDraft,
)
from ringfence.dsl.source import Span
from ringfence.dsl.suggest import did_you_mean
from ringfence.dsl.types import BOUNDABLE_TEXT, DECLARABLE, LARGEST, UNKNOWN, Type, written

TRAITS = ("read", "write", "external", "destructive", "code", "money")
PRINCIPAL = ("user", "workspace", "agent")
"""What a principal always has; all are texts."""


def declare(draft: Draft) -> None:
    """Fill the tables of the draft; a name declared twice is reported at the second."""
    for node in draft.document.declarations:
        taker = _TAKERS.get(type(node))
        if draft.layer is not None and isinstance(node, _OF_POLICIES):
            _misplaced(draft, node)
        elif taker is not None:
            taker(draft, node)


_OF_POLICIES = (syntax.Agent, syntax.Responses, syntax.Isolate)


def _misplaced(draft: Draft, node: syntax.Agent | syntax.Responses | syntax.Isolate) -> None:
    word = type(node).__name__.lower()
    draft.report(
        "E003",
        f"did not expect `{word}` in a ceiling",
        Span(node.span.start, node.span.start + len(word)),
        "a ceiling only narrows",
        "write it in the policies under this ceiling",
    )


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
            draft.principal[param.name.text] = slot_of(draft, param)


def slot_of(draft: Draft, param: syntax.Param) -> Slot:
    """Return what a `takes`, a function or `principal has` declares."""
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


def _levels(draft: Draft, node: syntax.Levels) -> None:
    if draft.own_levels is not None:
        draft.report("E115", "`levels` is declared twice", node.span, "the second one", "keep one of them")
        return
    draft.own_levels = node
    seen: set[str] = set()
    for name in node.names:
        if name.text in seen:
            draft.duplicate("level", name.text, name.span)
        seen.add(name.text)
    draft.levels = tuple(dict.fromkeys(name.text for name in node.names))


def _function(draft: Draft, node: syntax.FunctionOf) -> None:
    _named("function", "functions")(draft, node)
    if draft.installed is not None and not draft.installed(node.plugin.value):
        not_installed(draft, "plugin", node.plugin.value, node.plugin.span)


def not_installed(draft: Draft, kind: str, name: str, span: Span) -> None:
    """Warn about a plugin, or a redactor of one, that is not there."""
    draft.report(
        "W216",
        f"{kind} `{name}` is not installed",
        span,
        "what needs it is undecided, so it is denied or asked",
        "install it, and allow it in `ringfence.toml`",
    )


def _responses(draft: Draft, node: syntax.Responses) -> None:
    if draft.responses:
        draft.report("E115", "`responses` is declared twice", node.span, "the second one", "merge the two")
    draft.responses.append(node)


def _drafted(kind: str, table: str, make: Callable[[Any], Any]) -> Callable[[Draft, Any], None]:
    def take(draft: Draft, node: Any) -> None:
        entries = getattr(draft, table)
        if node.name.text in entries:
            draft.duplicate(kind, node.name.text, node.name.span)
        else:
            entries[node.name.text] = make(node)

    return take


_TAKERS: dict[type, Callable[[Draft, Any], None]] = {
    syntax.Capability: _capability,
    syntax.SetOf: _named("set", "sets"),
    syntax.PatternOf: _named("pattern", "patterns"),
    syntax.Approver: _named("approver", "approvers"),
    syntax.Agent: _named("agent", "agents"),
    syntax.PrincipalHas: _principal,
    syntax.Isolate: _named("isolate", "isolates"),
    syntax.Levels: _levels,
    syntax.Calendar: _named("calendar", "calendars"),
    syntax.FunctionOf: _function,
    syntax.Tool: _drafted("tool", "tools", lambda node: ToolDraft(node, node.clauses)),
    syntax.Rule: _drafted("rule", "rules", lambda node: RuleDraft(node, ())),
    syntax.Order: _drafted("order", "orders", OrderDraft),
    syntax.BudgetOf: _drafted("budget", "amounts", AmountDraft),
    syntax.Guarantee: _drafted("guarantee", "guarantees", GuaranteeDraft),
    syntax.Responses: _responses,
}
