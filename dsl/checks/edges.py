"""Stage `edges`: a host, address or URL that is allowed by a piece of it, where more may follow (W217)."""

import re
from collections.abc import Iterator

from ringfence.dsl.checks.fold import negate
from ringfence.dsl.compile.tools import parts_of
from ringfence.dsl.draft import Draft, ToolDraft
from ringfence.dsl.plan import Json

_AFFIXES = ("starts with", "ends with", "contains")
_HOST_OPEN = re.compile(r"https?://[^/]+")
"""The beginning of a URL in which the host is not complete."""


def check_edges(draft: Draft) -> None:
    """Warn where an `allow`, or what excepts from a `deny` or an `ask`, looks at a piece of a name."""
    if draft.failed or draft.layer is not None:
        return
    for layer in (draft, *draft.ceilings):
        for name, tool in layer.tools.items():
            for part in parts_of(layer, name):
                if part.effect not in ("allow", "deny", "ask") or part.core is None:
                    continue
                opening = part.core if part.effect == "allow" else negate(part.core)
                for word, text, what, better in _loose(opening, True, tool, {}):
                    layer.report(
                        "W217",
                        f'`{word} "{text}"` fits names of others too',
                        part.span,
                        f"whoever owns {what} is let through",
                        better,
                    )


def _loose(
    core: Json, wanted: bool, tool: ToolDraft, bound: dict[str, str]
) -> Iterator[tuple[str, str, str, str]]:
    """Yield the pieces that help a condition to be true: the words, the text, who fits too, and the cure."""
    match core[0]:
        case "not":
            yield from _loose(core[1], not wanted, tool, bound)
        case "and" | "or":
            for part in core[1:]:
                yield from _loose(part, wanted, tool, bound)
        case "every" | "some":
            yield from _loose(core[3], wanted, tool, bound | {core[1]: _kind(core[2], tool, bound)})
        case word if wanted and word in _AFFIXES and core[2][0] == "const":
            text = core[2][1]
            found = _fits(word, text, _kind(core[1], tool, bound))
            if found is not None:
                yield word, text, *found


def _kind(core: Json, tool: ToolDraft, bound: dict[str, str]) -> str:
    """Return what an operand is, or the elements of it."""
    match core[0]:
        case "host" | "domain":
            return "host"
        case "urls" | "emails" as made:
            return str(made).removesuffix("s")
        case "var":
            return bound.get(core[1], "")
        case "arg":
            slot = (tool.slots or {}).get(core[1])
            return slot.type.kind if slot else ""
    return ""


def _fits(word: str, text: str, kind: str) -> tuple[str, str] | None:
    """Return whose names fit too, and what to write; None where the piece leaves nothing open."""
    plain = text.strip(".@")
    if kind == "host" and not (word == "ends with" and text.startswith(".")):
        other = f"evil{plain}" if word == "ends with" else f"{plain}.evil.example"
        return f"`{other}`", f'compare it with `==`; parts of a domain end with ".{plain}"'
    if kind == "email" and word == "contains":
        return f"`x@{plain}.evil.example`", 'compare the domain: `domain(…) == "…"`'
    if kind == "email" and word == "ends with" and "@" not in text and not text.startswith("."):
        return f"`x@evil{plain}`", f'compare the domain: `domain(…) == "{plain}"`'
    if kind == "url" and word == "contains":
        return f"`https://evil.example/{plain}`", 'compare the host: `host(…) == "…"`'
    if kind == "url" and word == "starts with" and _HOST_OPEN.fullmatch(text):
        return f"`{text}.evil.example`", 'end it with `/`, or compare the host: `host(…) == "…"`'
    return None
