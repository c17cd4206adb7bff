"""One line of a witness: the heads of runs at one moment, the line before, and a signature.

    {"said": {"at_ns": "...", "heads": {RUN: [SEQ, HASH]}, "line": N, "prev": HASH}, "signature": HEX}

What is signed is the RFC 8785 form of `said`, after words that no other signature of the key begins with.
`prev` is the SHA-256 of the line before, so that none can be left out; `HASH` is the event's, as in the log.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

import rfc8785

from ringfence.plugin import Json, loads_strict

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

_FOR: Final = b"ringfence witness 1\n"
START: Final = "0" * 64
"""What the first line comes after."""

_HASH: Final = re.compile(r"[0-9a-f]{64}")


class LineError(ValueError):
    """A line is not what the key's holder wrote."""


@dataclass(frozen=True, slots=True)
class Line:
    """What one line says."""

    line: int
    """From 1, without gaps."""
    prev: str
    at_ns: int
    """When the last of the events was recorded."""
    heads: Mapping[str, tuple[int, str]]
    """Run -> number and hash of an event, which is the last that its writer knew."""


def written(line: Line, key: "Ed25519PrivateKey") -> bytes:
    """Return the line as it stands in the file, its end included."""
    heads: dict[str, Json] = {run: list(head) for run, head in line.heads.items()}
    said: dict[str, Json] = {"at_ns": f"{line.at_ns:d}", "heads": heads, "line": line.line, "prev": line.prev}
    return _text(said, key.sign(_FOR + rfc8785.dumps(said)))


def read(text: bytes, key: "Ed25519PublicKey") -> Line:
    """Return what a line says; raise LineError if it was not signed by the key's holder."""
    from cryptography.exceptions import InvalidSignature

    try:
        whole: Any = loads_strict(text.decode())
        said, signature = whole["said"], bytes.fromhex(whole["signature"])
        key.verify(signature, _FOR + rfc8785.dumps(said))
        if _text(said, signature) != text:
            raise LineError("is not in the form that it was written in")
    except InvalidSignature:
        raise LineError("was not signed with this key, or was changed") from None
    except LineError:
        raise
    except (ValueError, TypeError, KeyError, RecursionError):  # fails closed
        raise LineError("cannot be read") from None
    return _of(said)


def _text(said: Any, signature: bytes) -> bytes:
    return rfc8785.dumps({"said": said, "signature": signature.hex()}) + b"\n"


def digest(text: bytes) -> str:
    """Return what the next line calls this one."""
    return sha256(text.rstrip(b"\n")).hexdigest()


def _of(said: object) -> Line:
    """Return what was signed; it is checked all the same, since another version may have signed it."""
    match said:
        case {"at_ns": str(at_ns), "heads": dict(heads), "line": int(line), "prev": str(prev)} if (
            at_ns.isascii() and at_ns.isdecimal() and all(map(_is_head, heads.values()))
        ):
            return Line(line, prev, int(at_ns), {run: (head[0], head[1]) for run, head in heads.items()})
    raise LineError("says something that this version does not know")


def _is_head(value: object) -> bool:
    match value:
        case [int(seq), str(hash)]:
            return seq > 0 and _HASH.fullmatch(hash) is not None
    return False
