"""Text for a model: what of a type no schema and no signature says, and words of the policy made harmless."""

import unicodedata

from ringfence.dsl.types import Type, size_text

_KINDS = {
    "line": "one line",
    "integer": "an integer",
    "email": "one plain e-mail address",
    "url": "an absolute http or https URL",
    "date": "a date such as 2026-11-23",
}
_HIDDEN = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})
_MOST_CHARACTERS = 2000


def remark(shape: Type) -> str:
    """Return what a value must be beyond its plain JSON type; empty where that says all."""
    said = [_KINDS[shape.kind]] if shape.kind in _KINDS else []
    if shape.is_list and said:
        said = [f"each is {said[0]}"]
    if shape.at_most is not None:
        unit = shape.unit or "elements"
        one = unit.removesuffix("s") if shape.at_most == 1 else unit
        said.append(f"at most {size_text(shape.at_most) if unit == 'bytes' else f'{shape.at_most} {one}'}")
    return ", ".join(said)


def sentence(text: str) -> str:
    """Return a text as one line without characters that nobody sees, and with an end.

    SECURITY: a line break would let a description go on as rules of ours, `*/` end the comment it stands in.
    """
    shown = "".join(" " if unicodedata.category(one) in _HIDDEN else one for one in text[:_MOST_CHARACTERS])
    line = " ".join(shown.split()).replace("*/", "* /")
    return line if not line or line[-1] in ".!?" else f"{line}."
