"""`x comes from …`, `x comes only from […]`: what is asked, and of which sources (E108)."""

from dataclasses import replace
from typing import TYPE_CHECKING

from ringfence.dsl import syntax
from ringfence.dsl.checks.fold import FALSE
from ringfence.dsl.checks.history import tools_known
from ringfence.dsl.checks.pairs import Clash, Typed, a, agree
from ringfence.dsl.draft import Draft
from ringfence.dsl.plan import Json
from ringfence.dsl.suggest import did_you_mean
from ringfence.dsl.types import TEXTUAL

if TYPE_CHECKING:
    from ringfence.dsl.checks.conditions import Lowering

SOURCES = ("user", "system", "attachment", "approver", "model")
"""Sources that every policy knows; the others are its sets, its tools and fields of their results."""

_TRACED = TEXTUAL | {"integer", "number", "untyped"}


def lower_comes_from(lowering: "Lowering", node: syntax.ComesFrom) -> Json:
    """Lower a question of provenance; it is never folded, not even of a literal."""
    subject = lowering.value(node.subject)
    written = lowering.parameter_of(subject.core)
    origins = [
        origin
        for source in node.sources
        for name in _names_of(lowering.draft, node, source.parts[0])
        for origin in [
            _origin(lowering, node, subject, replace(source, parts=(name, *source.parts[1:])), written)
        ]
    ]
    if not subject.type.known or any(origin is None for origin in origins):
        lowering.failed = True
        return FALSE
    if subject.type.kind not in _TRACED:
        record = subject.type.kind == "record"
        lowering.clash(
            f"only texts and numbers have a source; this is {a(subject.type)}",
            node.operator,
            "",
            "name a field of it: `x.field`" if record else "ask where a text or a number came from",
        )
        return FALSE
    return ["comes_only_from" if node.only else "comes_from", subject.core, origins]


def _names_of(draft: Draft, node: syntax.ComesFrom, name: syntax.Name) -> list[syntax.Name]:
    """Return the name of a source, or those of the tools that it means to a ceiling.

    SECURITY: `comes only from` opens, so there a name is the policy's own name of a tool alone.
    """
    if node.only or name.text in SOURCES or name.text in draft.sets:
        return [name]
    return [replace(name, text=meant) for meant in draft.meant(name.text)] or [name]


def _origin(
    lowering: "Lowering", node: syntax.ComesFrom, subject: Typed, source: syntax.Path, written: str | None
) -> Json | None:
    draft, name, path = lowering.draft, source.parts[0], source.parts[1:]
    meanings = [name.text in SOURCES, name.text in draft.sets, name.text in draft.tools]
    if sum(meanings) > 1 and not path:
        lowering.report(
            "E115",
            f"`{name.text}` means more than one source",
            name.span,
            "which one is meant?",
            "rename the set or the tool",
        )
        return None
    if path and name.text in draft.tools:
        return ["field", name.text, [part.text for part in path]]
    if path and any(meanings):
        what = "a set" if name.text in draft.sets else "a source"
        lowering.report("E108", f"`{name.text}` has no fields", path[0].span, f"it is {what}, no tool")
        return None
    if name.text in ("approver", "model"):
        return [name.text, written]
    if name.text in SOURCES:
        return [name.text]
    if name.text in draft.sets:
        return _set(lowering, node, subject, name.text)
    if name.text in draft.tools:
        return ["tool", name.text]
    lowering.failed = True
    if name.text not in draft.document.lost and tools_known(draft):
        known = [*SOURCES, *draft.sets, *draft.tools]
        help = did_you_mean(name.text, known) or f"known here: {', '.join(f'`{word}`' for word in SOURCES)}"
        draft.report(
            "E108", f"unknown source `{name.text}`", name.span, "no set and no tool has this name", help
        )
    return None


def _set(lowering: "Lowering", node: syntax.ComesFrom, subject: Typed, name: str) -> Json | None:
    """Return a set as a source, its values in the canonical form of what is compared with them."""
    values = lowering.named_set(name)
    if not values.type.known or not subject.type.known:
        return None
    if values.type.kind not in ("text", "integer", "number", "empty"):
        lowering.clash(
            "a set that is a source holds texts or numbers",
            node.operator,
            f"`{name}` is {a(values.type)}",
            "name another source",
        )
        return None
    if subject.type.kind != "untyped" and subject.type.kind in _TRACED:
        element = Typed(subject.core, subject.type.element) if not subject.constant else subject
        pair = agree(element, values, "in") if not element.constant else (element, values)
        if isinstance(pair, Clash):
            what = f"a value of `{name}` can never be {a(subject.type.element)}"
            lowering.clash(what, node.operator, pair.label, pair.help)
            return None
        values = pair[1]
    return ["set", sorted(dict.fromkeys(values.core[1]))]
