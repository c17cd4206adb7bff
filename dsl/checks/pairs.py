"""Which two values may be compared, and how a literal is written for the comparison."""

from dataclasses import dataclass

from ringfence.dsl.compile.addresses import any_url
from ringfence.dsl.compile.canonicalisers import KINDS
from ringfence.dsl.plan import Json, UnfitError
from ringfence.dsl.types import NUMERIC, TEXTUAL, Type


@dataclass(slots=True)
class Typed:
    """A lowered operand: its core form and type."""

    core: Json
    type: Type

    @property
    def constant(self) -> bool:
        """True for a literal or a list of literals."""
        return bool(self.core[0] == "const")


@dataclass(frozen=True, slots=True)
class Clash:
    """Two operands that can never agree: what to say at the operator."""

    message: str
    label: str
    help: str


def agree(left: Typed, right: Typed, word: str) -> tuple[Typed, Typed] | Clash:
    """Return the pair with its literals canonical for the other side, or why there is none."""
    if "untyped" in (left.type.kind, right.type.kind):
        found = _typed_alike(left, right, word)
        if isinstance(found, Clash):
            return found
        left, right = found
    kinds = (left.type.kind, right.type.kind)
    if "record" in kinds:
        return Clash(
            "a record is compared by its fields",
            f"{a(left.type)} `{word}` {a(right.type)}",
            "name a field: `x.field`",
        )
    if "duration" in kinds:
        return Clash(
            "a duration stands in windows and limits only",
            f"{a(left.type)} `{word}` {a(right.type)}",
            "compare with a number or a size",
        )
    lists_fit = left.type.is_list == right.type.is_list or word in ("in", "not in", "contains")
    if not lists_fit or (family(left.type) != family(right.type) and "empty" not in kinds):
        help = "compare values of one type"
        if "bytes" in kinds:
            help = "write the size with its unit: `200 bytes`, `20 KB`"
        return Clash(f"`{word}` compares {a(left.type)} with {a(right.type)}", "these never agree", help)
    if word in ("<", "<=", ">", ">=") and not _ordered(left, right):
        return Clash(
            f"`{word}` does not order {left.type} values",
            f"{a(left.type)} and {a(right.type)}",
            "use `==`, `!=`, `in` or `matches`",
        )
    if not (left.constant or right.constant):
        clash = _one_spelling(left.type.kind, right.type.kind, word)
        if clash is not None:
            return clash
    try:
        if right.constant and not left.constant:
            return left, Typed(["const", literal(right.core[1], left.type.kind)], right.type)
        if left.constant and not right.constant:
            return Typed(["const", literal(left.core[1], right.type.kind)], left.type), right
    except UnfitError as error:
        other = right if left.constant else left
        return Clash(
            f"the literal can never equal {a(other.type.element)}",
            str(error),
            "write the value as it will be compared",
        )
    return left, right


def _typed_alike(left: Typed, right: Typed, word: str) -> tuple[Typed, Typed] | Clash:
    """Take an untyped side for what the other is; at run time anything else there is undecided."""
    if left.type.kind == right.type.kind:
        return Clash(
            f"`{word}` compares two untyped values",
            "nothing says what they are",
            "compare each with a literal or a parameter",
        )
    untyped, other = (left, right) if left.type.kind == "untyped" else (right, left)
    is_list = other.type.is_list
    if word in ("in", "not in", "contains"):
        is_list = untyped is right  # `in` looks for its left side in the list on its right
    kind = "any" if other.type.kind == "empty" else family(other.type)
    if kind not in ("text", "number", "boolean", "any"):
        return Clash(
            f"`{word}` compares {a(left.type)} with {a(right.type)}",
            "these never agree",
            "compare it with a text, a number, true or false",
        )
    typed = taken_for(untyped, kind, is_list)
    return (typed, right) if untyped is left else (left, typed)


def taken_for(untyped: Typed, kind: str, is_list: bool = False) -> Typed:
    """Return an untyped operand as one of this kind: undecided where the value is not."""
    core: Json = ["as", f"list of {kind}" if is_list else kind, untyped.core]
    return Typed(core, Type("empty" if kind == "any" else kind, is_list))


def a(type: Type) -> str:
    """Return a type with its article, for messages."""
    name = str(type)
    return f"{'an' if name[0] in 'aeiou' and name != 'url' else 'a'} {name}"


def family(type: Type) -> str:
    """Return what a type is compared as: all texts are one family, all numbers another."""
    if type.kind in NUMERIC:
        return "number"
    return "text" if type.kind in TEXTUAL else type.kind


def _ordered(left: Typed, right: Typed) -> bool:
    if left.type.is_list or right.type.is_list:
        return False
    if "date" in (left.type.kind, right.type.kind):
        return all(side.type.kind == "date" or side.constant for side in (left, right))
    return family(left.type) in ("number", "bytes")


_SPELT = {
    "email": frozenset({"email"}),
    "url": frozenset({"url"}),
    "host": frozenset({"host", "domain", "lowered"}),
    "domain": frozenset({"host", "domain", "lowered"}),
}
"""Kinds with a canonical spelling, and the kinds of other values that have it too."""


def _one_spelling(left: str, right: str, word: str) -> Clash | None:
    """Refuse a canonical value beside a text that nobody has made canonical, such as `BOB@Acme.example`.

    The two would differ though they mean the same, and a `deny` would not fire.
    """
    for one, other in ((left, right), (right, left)):
        if one in _SPELT and other not in _SPELT[one]:
            mended = f"declare the other side as `{one}`" if one in ("email", "url") else "write `lower(…)`"
            return Clash(
                f"`{word}` compares {a(Type(one))} with {a(Type(other))} of any spelling",
                "the same may be written in two ways",
                mended,
            )
    return None


def literal(value: Json, kind: str) -> Json:
    """Return a literal in the canonical form of the kind it is compared with; raise `UnfitError`."""
    if kind not in ("email", "url", "date", "host", "domain", "lowered", "line"):
        return value
    if isinstance(value, list):
        return [KINDS[kind](element) for element in value]
    return KINDS[kind](value)


def never_part(part: str, word: str, kind: str) -> bool:
    """True if a literal can be no beginning, end or part of a canonical value, for its capital letters.

    Hosts and domains are in lower case, so `deny when to ends with "@Evil.example"` would never deny.
    """
    if kind in ("host", "domain", "lowered"):
        certain = part
    elif kind == "email":
        _, at, domain = part.rpartition("@")
        certain = domain if at or word == "ends with" else ""
    elif kind == "url" and "://" in part:
        scheme, _, rest = part.partition("://")
        certain = scheme + rest.partition("/")[0]
    else:
        certain = ""
    return certain != certain.lower()


def url_beginning(part: str) -> str | None:
    """Return how URLs begin that begin with this literal; None if no URL does.

    `https://a.example:443/` begins none, since the usual port is dropped; what stands before the path can be
    judged once the path has begun.
    """
    scheme, mark, rest = part.partition("://")
    authority, slash, path = rest.partition("/")
    if not mark or not slash:
        return part
    try:
        return any_url(f"{scheme}://{authority}/") + path
    except UnfitError:
        return None


def fold(operator: str, left: Json, right: Json) -> bool:
    """Return what a comparison of two literals comes to."""
    match operator:
        case "==":
            return bool(left == right)
        case "!=":
            return bool(left != right)
        case "<":
            return bool(left < right)
        case "<=":
            return bool(left <= right)
        case ">":
            return bool(left > right)
    return bool(left >= right)
