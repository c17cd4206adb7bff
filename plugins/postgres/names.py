"""Names as PostgreSQL can keep them: any text without loss, and a key of fixed length to find it by.

PostgreSQL's text holds neither NUL nor lone surrogates, so they are written as JSON would escape them, and a
backslash as two.  Its indexes hold no long text, so a name is looked up by a digest of it.
"""

import re
from hashlib import sha256

_ODD = re.compile(r"[\\\x00\ud800-\udfff]")
_ESCAPED = re.compile(r"\\(?:\\|u([0-9a-f]{4}))")


def kept(text: str) -> str:
    """Return the text as it is stored: different texts stay different."""
    return _ODD.sub(lambda odd: "\\\\" if odd[0] == "\\" else f"\\u{ord(odd[0]):04x}", text)


def kept_or_none(text: str | None) -> str | None:
    """Return the text as it is stored, or None."""
    return None if text is None else kept(text)


def read(stored: str) -> str:
    """Return what was stored; what is no escape of ours stands as it is, so that verifying can name it."""
    return _ESCAPED.sub(lambda odd: chr(int(odd[1], 16)) if odd[1] else "\\", stored)


def read_or_none(stored: str | None) -> str | None:
    """Return what was stored, or None."""
    return None if stored is None else read(stored)


def key(*names: str | int | bool | None) -> bytes:
    """Return the key of one name, or of several together; no two lists of names share one."""
    return sha256(b"".join(b"-" if name is None else _measured(str(name)) for name in names)).digest()


def _measured(name: str) -> bytes:
    said = name.encode("utf-8", "surrogatepass")
    return b"%d:%b" % (len(said), said)
