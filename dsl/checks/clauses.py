"""Stage `types`, continued: the clauses of tools, rewritten into deny, ask, allow and redact."""

from collections.abc import Iterator

from ringfence.dsl import syntax
from ringfence.dsl.checks.conditions import Lowering
from ringfence.dsl.checks.fold import TRUE, negate
from ringfence.dsl.checks.pairs import a
from ringfence.dsl.checks.reports import refused
from ringfence.dsl.checks.satisfiable import never_true
from ringfence.dsl.draft import ClauseDraft, Draft, Slot, ToolDraft
from ringfence.dsl.names import not_installed
from ringfence.dsl.plan import Json
from ringfence.dsl.resolve import approver_known
from ringfence.dsl.suggest import did_you_mean

BUILT_IN_REASONS = frozenset({"allow", "require", "deny", "ask", "rate", "blast", "arguments", "redact"})
"""Names of reasons that a tool has of itself; a clause cannot be called so."""


def patterns_and_sets(draft: Draft) -> None:
    """Check the values that the policy names, used or not."""
    for pattern in draft.patterns.values():
        refused(draft, pattern.pattern)
    for values in draft.sets.values():
        Lowering(draft, "", {}).value(syntax.Path((values.name,), values.name.span))


def tool_clauses(draft: Draft) -> None:
    """Lower the clauses of every tool."""
    for name, tool in draft.tools.items():
        draft.clauses[name] = list(_clauses_of(draft, name, tool))


def _clauses_of(draft: Draft, name: str, tool: ToolDraft) -> Iterator[ClauseDraft]:
    labels: set[str] = set()
    for node in tool.clauses:
        match node:
            case syntax.Allow(condition=None):
                yield ClauseDraft(f"{name}.allow", "allow", TRUE, node.span)
            case syntax.Allow():
                core, said = lower(draft, name, tool, node.condition)
                yield ClauseDraft(f"{name}.allow", "allow", core, node.span, principal=said)
            case syntax.Require() | syntax.Deny():
                word = "require" if isinstance(node, syntax.Require) else "deny"
                core, said = lower(draft, name, tool, node.condition)
                if core is not None and word == "require":
                    core = negate(core)
                if node.label is not None:
                    _label(draft, node.label, labels)
                    word = node.label.text
                because = node.because.value if node.because else None
                yield ClauseDraft(f"{name}.{word}", "deny", core, node.span, because, principal=said)
            case syntax.Ask():
                approver_known(draft, node.approver)
                core, said = lower(draft, name, tool, node.condition)
                because = node.because.value if node.because else None
                yield ClauseDraft(f"{name}.ask", "ask", core, node.span, because, node.approver, said)
            case syntax.Redact():
                _redacts(draft, name, tool, node.param, node.redactor)
                yield ClauseDraft(
                    f"{name}.redact",
                    "redact",
                    TRUE,
                    node.span,
                    redacts=(node.param.text, node.redactor.text),
                )


def _redacts(draft: Draft, name: str, tool: ToolDraft, param: syntax.Name, redactor: syntax.Name) -> None:
    """Check what a redact changes, and whether its redactor is there."""
    if draft.installed is not None and not draft.installed(redactor.text):
        not_installed(draft, "redactor", redactor.text, redactor.span)
    slot = parameter(draft, name, tool, param)
    if slot is not None and slot.type.known and slot.type.kind not in ("text", "line"):
        draft.report(
            "E110",
            f"`{param.text}` cannot be redacted",
            param.span,
            f"it is {a(slot.type)}",
            "a redactor takes texts, lines and lists of them",
        )


def parameter(draft: Draft, name: str, tool: ToolDraft, word: syntax.Name) -> Slot | None:
    """Return the parameter that a clause names; report it if the tool takes none of this name."""
    slot = (tool.slots or {}).get(word.text)
    if slot is None and not lenient(draft, tool) and word.text not in draft.document.lost:
        report_unknown_parameter(draft, name, tool, word)
    return slot


def report_unknown_parameter(draft: Draft, name: str, tool: ToolDraft, word: syntax.Name) -> None:
    """Report a word that is no parameter of the tool."""
    slots = tool.slots or {}
    known = ", ".join(f"`{slot}`" for slot in slots)
    draft.report(
        "E102",
        f"unknown parameter `{word.text}`"
        if slots
        else f"tool `{name}` has no `takes`, so no clause may name `{word.text}`",
        word.span,
        f"tool `{name}` does not take it",
        did_you_mean(word.text, slots)
        or (f"it takes {known}" if known else f"add `takes {word.text}: …` to tool `{name}`"),
    )


def lenient(draft: Draft, tool: ToolDraft) -> bool:
    """True where names of parameters cannot be judged: some `takes` was not understood, or not seen."""
    return tool.unseen or draft.unread(tool.node.span)


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


def lower(
    draft: Draft, name: str, tool: ToolDraft, node: syntax.Expression | None
) -> tuple[Json | None, tuple[str, ...]]:
    """Return the core form, None after a mistake, and the attributes of the principal that it names."""
    if node is None:
        return TRUE, ()
    lowering = Lowering(draft, name, tool.slots, lenient=lenient(draft, tool))
    core = lowering.condition(node)
    possible(draft, core, node)
    return core, tuple(lowering.named)


def possible(draft: Draft, core: Json | None, node: syntax.Expression) -> None:
    """Report a condition that no call can make true."""
    if core is not None and never_true(core):
        draft.report(
            "E120",
            "this condition is never true",
            node.span,
            "no call can satisfy it",
            "remove the clause, or mend the part that contradicts the rest",
        )
