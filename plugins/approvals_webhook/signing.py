"""Signatures as the Standard Webhooks specification (1.0.0) has them: HMAC-SHA256 over `id.timestamp.body`.

A message is signed anew for each try, with the time of the try; its id stays.  While a secret is being
replaced a message carries a signature for each, and one that fits any of them is genuine.
"""

import base64
import binascii
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

TOLERANCE_S = 300
"""How far the time of a message may lie from now, in both directions."""
KEY_BYTES = 24
"""The least length of a key that the specification allows."""
_SIGNATURES = 8
_ID = re.compile(r"[!-\-/-~]{1,256}", re.ASCII)  # no full stop: it delimits what is signed
_SECONDS = re.compile(r"[0-9]{1,12}", re.ASCII)


class Headers(Protocol):
    """The headers of a request; a name may stand there more than once."""

    def getall(self, key: str, default: list[str]) -> list[str]:
        """Return all values of a header, whatever the case of its name."""
        ...


def key_of(secret: str) -> bytes:
    """Return the key that a secret says: base64 after `whsec_`, else its own UTF-8 bytes.

    Raises:
        ValueError: It is no base64, or shorter than 24 bytes.  The words never quote it.
    """
    prefix, found, encoded = secret.partition("whsec_")
    if found and not prefix:
        try:
            key = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):  # refused: another key would be guessed at
            raise ValueError("must be base64 after `whsec_`") from None
    else:
        key = secret.encode("utf-8", errors="surrogateescape")
    if len(key) < KEY_BYTES:
        raise ValueError(f"must have at least {KEY_BYTES} bytes: take random ones")
    return key


def signature(key: bytes, message_id: str, at_s: int, body: bytes) -> str:
    """Return `v1,` and the base64 signature of a message."""
    signed = f"{message_id}.{at_s}.".encode("ascii") + body
    return "v1," + base64.b64encode(hmac.digest(key, signed, "sha256")).decode("ascii")


def signed_headers(keys: Sequence[bytes], message_id: str, at_s: int, body: bytes) -> dict[str, str]:
    """Return the three headers of a message, with a signature for each key."""
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(at_s),
        "webhook-signature": " ".join(signature(key, message_id, at_s, body) for key in keys),
    }


@dataclass(frozen=True, slots=True)
class Seal:
    """What the headers of a message claim; nothing is proved before `fits` says so."""

    id: str
    at_s: int
    signatures: tuple[str, ...]

    @classmethod
    def of(cls, headers: Headers, *, now_s: float) -> "Seal | None":
        """Read the headers; None if one is missing, repeated or malformed, or the time is not about now."""
        found = [
            headers.getall(name, []) for name in ("webhook-id", "webhook-timestamp", "webhook-signature")
        ]
        if any(len(values) != 1 for values in found):
            return None
        (message_id,), (at,), (signatures,) = found
        if not _ID.fullmatch(message_id) or not _SECONDS.fullmatch(at):
            return None
        if abs(now_s - int(at)) > TOLERANCE_S:
            return None
        return cls(message_id, int(at), tuple(signatures.split(" ")[:_SIGNATURES]))

    def fits(self, keys: Sequence[bytes], body: bytes) -> bool:
        """Say whether one of the signatures is that of one of the keys."""
        fitting = False
        for key in keys:
            wanted = signature(key, self.id, self.at_s, body).encode("ascii")
            for given in self.signatures:
                # SECURITY: in constant time, and to the end: how much of a guess is right is not told.
                fitting |= hmac.compare_digest(wanted, given.encode("utf-8", errors="surrogateescape"))
        return fitting
