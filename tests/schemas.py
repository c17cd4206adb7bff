"""A small validator for what our own JSON Schemas use: another keyword is an error, never passed over."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

Schema = Mapping[str, Any]

_TYPES = {
    "object": dict, "array": list, "string": str, "boolean": bool, "null": type(None),
}  # fmt: skip
_SAID = {"$schema", "$id", "$defs", "title", "description"}
"""Keywords that demand nothing."""


def faults(document: object, schema: Schema, *, root: Schema | None = None, at: str = "") -> list[str]:
    """Return where a document is not what the schema wants, and why; empty: it is."""
    root = schema if root is None else root
    return [fault for keyword in schema for fault in _faults(keyword, document, schema, root, at)]


def _faults(keyword: str, document: object, schema: Schema, root: Schema, at: str) -> Iterator[str]:
    wanted = schema[keyword]
    of_text = document if isinstance(document, str) else None
    members: Mapping[str, object] = document if isinstance(document, dict) else {}
    match keyword:
        case _ if keyword in _SAID:
            return
        case "$ref":
            yield from faults(document, _referred(wanted, root), root=root, at=at)
        case "type":
            if not any(_is(document, kind) for kind in ([wanted] if isinstance(wanted, str) else wanted)):
                yield f"{at}: no {wanted}"
        case "const":
            if not _same(document, wanted):
                yield f"{at}: not {wanted!r}"
        case "enum":
            if not any(_same(document, one) for one in wanted):
                yield f"{at}: none of {wanted}"
        case "pattern":
            if of_text is not None and re.search(wanted, of_text) is None:
                yield f"{at}: does not match {wanted}"
        case "minimum":
            if _is(document, "number") and document < wanted:
                yield f"{at}: below {wanted}"
        case "items":
            for number, part in enumerate(document if isinstance(document, list) else ()):
                yield from faults(part, wanted, root=root, at=f"{at}/{number}")
        case "properties":
            for name in wanted.keys() & members.keys():
                yield from faults(members[name], wanted[name], root=root, at=f"{at}/{name}")
        case "required":
            for name in wanted:
                if isinstance(document, dict) and name not in members:
                    yield f"{at}: `{name}` is missing"
        case "additionalProperties":
            assert wanted is False
            for name in members.keys() - schema["properties"].keys():
                yield f"{at}: `{name}` is unknown"
        case "anyOf" | "oneOf":
            found = [faults(document, one, root=root, at=at) for one in wanted]
            held = sum(not each for each in found)
            if held == 0 or (keyword == "oneOf" and held != 1):
                yield f"{at}: {held} of {keyword}: {min(found, key=len)}"
        case _:
            raise AssertionError(f"the validator does not know {keyword}")


def _is(document: object, kind: str) -> bool:
    if kind in ("integer", "number"):
        whole = isinstance(document, int) or (isinstance(document, float) and document.is_integer())
        return not isinstance(document, bool) and (
            whole or (kind == "number" and isinstance(document, float))
        )
    return isinstance(document, _TYPES[kind])


def _same(document: object, wanted: object) -> bool:
    return type(document) is type(wanted) and document == wanted


def _referred(reference: str, root: Schema) -> Schema:
    found: Any = root
    for name in reference.removeprefix("#/").split("/"):
        found = found[name]
    assert isinstance(found, dict)
    return found
