"""Makes mutants of a policy: one part of its syntax tree taken away at a time, or one number larger by one.

A part is whatever stands in a list of the tree (a clause, a rule, one of several conditions, a member),
may be left out of its node (a `when`, a `for each`, an `at most`), or is a flag (`otherwise halt`).
Nothing is enumerated by hand, so a new clause of the language has its mutants too.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

from ringfence.dsl import syntax
from ringfence.dsl.source import Source, Span

SAYS_ONLY = {
    (syntax.PolicyHeader, "version"),
    (syntax.PolicyHeader, "under"),
    (syntax.Rule, "because"),
    (syntax.Require, "because"),
    (syntax.Deny, "because"),
    (syntax.Ask, "because"),
    (syntax.Tool, "bound"),
    (syntax.Tool, "description"),
    (syntax.ResultAtMost, "noun"),
}
"""Parts that decide nothing, or that cannot be left out; what `under` names has mutants of its own."""

FLAGS = {"otherwise_halt"}

FEWEST = {"clauses": 0, "items": 0, "steps": 2}
"""So many parts must be left in a list of this name; in every other list one."""


@dataclass(frozen=True)
class Mutant:
    """A document with one part taken away."""

    name: str
    """Where the part stood and what it was: `tool send_email: redact body with pii`."""
    taken: Any
    """The part; None: a flag."""
    document: syntax.Document


def mutants(document: syntax.Document, declarations: tuple[syntax.Declaration, ...]) -> Iterator[Mutant]:
    """Yield a mutant for every part of these declarations of the document."""
    source, seen = document.source, dict[str, int]()

    def made(
        node: syntax.Declaration, other: tuple[syntax.Declaration, ...], what: str, taken: Any
    ) -> Mutant:
        at = document.declarations.index(node)
        every = (*document.declarations[:at], *other, *document.declarations[at + 1 :])
        seen[what] = seen.get(what, 0) + 1
        name = what if seen[what] == 1 else f"{what} ({seen[what]})"
        return Mutant(name, taken, replace(document, declarations=every))

    for node in declarations:
        owner = head(node, source)
        yield made(node, (), owner, node)
        for changed, taken, words in within(node, source):
            yield made(node, (changed,), f"{owner}: {words}", taken)


def within(node: Any, source: Source) -> Iterator[tuple[Any, Any, str]]:
    """Yield the node with each of its parts taken away: (node, part, words)."""
    if isinstance(node, syntax.Count | syntax.Constant) and type(node.value) is int:
        yield replace(node, value=node.value + 1), None, f"{said(node.span, source)} and one more"
    for name in (each.name for each in fields(node)):
        value = getattr(node, name)
        if (type(node), name) in SAYS_ONLY or name == "span" or isinstance(value, syntax.Path):
            continue
        if name in FLAGS and value is True:
            yield replace(node, **{name: False}), None, f"{said(node.span, source)}: {name}"
        elif isinstance(value, tuple) and all(map(is_dataclass, value)):
            for at, part in enumerate(value):
                whole = [((), part, said(part.span, source))] if len(value) > FEWEST.get(name, 1) else []
                for other, taken, words in [*whole, *within_one(part, source)]:
                    left = (*value[:at], *other, *value[at + 1 :])
                    yield lone(replace(node, **{name: left})), taken, words
        elif is_dataclass(value):
            if optional(type(node), name):
                yield replace(node, **{name: None}), value, f"{said(node.span, source)}: {name}"
            for changed, taken, words in within(value, source):
                yield replace(node, **{name: changed}), taken, words


def within_one(part: Any, source: Source) -> list[tuple[Any, Any, str]]:
    if isinstance(part, syntax.Path):  # one name, whatever dots are in it
        return []
    return [((changed,), taken, words) for changed, taken, words in within(part, source)]


def lone(node: Any) -> Any:
    """Return `a` for `a and` and `a or`, which cannot be written."""
    if isinstance(node, syntax.Both | syntax.Either) and len(node.operands) == 1:
        return node.operands[0]
    return node


def optional(kind: type, name: str) -> bool:
    """Say whether the grammar lets this part be left out."""
    return "None" in str(kind.__annotations__[name])


def head(node: Any, source: Source) -> str:
    """Return the first words of a declaration, as a name for it."""
    if isinstance(node, syntax.Responses):
        return "responses"
    named = getattr(node, "name", None)
    return said(
        Span(node.span.start, named.span.end) if isinstance(named, syntax.Name) else node.span, source
    )


def said(span: Span, source: Source) -> str:
    """Return the words of a part, on one line."""
    return " ".join(source.text[span.start : span.end].split())[:70]
