"""The one form of a resource's URI: it is decided and asked for in this form, and in no other."""

import re
from typing import Final

from mcp.shared.uri_template import UriTemplate

LONGEST: Final = 8_192
_PARTS: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(?://([^/?#]*))?([^?#]*)(\?[^#]*)?(#.*)?", re.DOTALL)
_ENCODED: Final = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_HIDDEN: Final = frozenset("/\\\x00")
"""What a server may take for another path when it is encoded."""


class AmbiguousUriError(ValueError):
    """A URI that a server could read otherwise than the policy."""


def normal(uri: str) -> str:
    """Return the URI in its normal form (RFC 3986, 6.2.2): lower-case scheme and host, no `.` and `..`.

    Raises:
        AmbiguousUriError: It has controls, blanks, backslashes, user names, or an encoded `/`, `\\` or NUL.
    """
    if len(uri) > LONGEST:
        raise AmbiguousUriError("the URI is too long")
    if any(c in '\\<>"`^{|}' or c.isspace() or not c.isprintable() for c in uri):
        raise AmbiguousUriError("the URI holds what belongs in none")
    found = _PARTS.fullmatch(uri)
    if found is None:
        raise AmbiguousUriError("it is no URI")
    scheme, authority, path, query, fragment = found.groups()
    if authority is not None and "@" in authority:
        raise AmbiguousUriError("the URI names a user")
    path = _decoded(path, strict=True)
    if authority is not None or path.startswith("/"):
        path = _without_dots(path)
    host = "" if authority is None else f"//{_decoded(authority, strict=True).lower()}"
    rest = _decoded(query or "", strict=False) + _decoded(fragment or "", strict=False)
    return f"{scheme.lower()}:{host}{path}{rest}"


def fits(template: str, uri: str) -> bool:
    """Say whether a template of a server expands to a URI that is in its normal form."""
    try:
        return UriTemplate.parse(template).match(uri) is not None
    except ValueError:  # no template: nothing fits it
        return False


def _decoded(text: str, *, strict: bool) -> str:
    """Decode what need not be encoded; refuse what hides a separator."""

    def one(found: re.Match[str]) -> str:
        character = chr(int(found[1], 16))
        if strict and character in _HIDDEN:
            raise AmbiguousUriError("the URI hides a separator")
        return character if character in _UNRESERVED else f"%{found[1].upper()}"

    if "%" in _ENCODED.sub("", text):
        raise AmbiguousUriError("the URI holds a lone %")
    return _ENCODED.sub(one, text)


def _without_dots(path: str) -> str:
    """Remove `.` and `..` (RFC 3986, 5.2.4)."""
    kept: list[str] = []
    steps = path.split("/")
    for step in steps:
        if step == "..":
            if len(kept) > 1:
                kept.pop()
        elif step != ".":
            kept.append(step)
    if steps[-1] in (".", ".."):
        kept.append("")
    return "/".join(kept)
