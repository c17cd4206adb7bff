"""One hash chain per run, and one chain over the whole log: pure functions, shared with every verifier.

    digest = sha256(salt || body)             what was said; the salt keeps a purged body from being guessed
    hash   = sha256(prev || header || digest) what was said, when, where in its run, and after what
    link   = sha256(previous link || hash)    in which order the whole log was written

Bodies stand beside the chain: one that is purged leaves it verifiable (decisions/0004).
"""

from functools import lru_cache
from hashlib import sha256
from json.encoder import encode_basestring
from typing import Final

from ringfence.engine.seams.ports import Entry, Link

ZERO: Final = bytes(32)
"""What the first event of a run, and the first link of a log, come after."""

SALT_BYTES: Final = 16
"""The length of every salt; a fixed length keeps `salt || body` unambiguous."""


def header(*, run: str, seq: int, kind: str, schema: int, at_ns: int, mono_ns: int) -> bytes:
    """Return the header: the RFC 8785 form of id, run, seq, kind, schema, at_ns and mono_ns.

    The two times are strings of decimal digits: nanoseconds since 1970 exceed the integers that
    RFC 8785 can say exactly (2^53 - 1).  Raise ValueError for names with lone surrogates, TypeError for what
    is no text or no integer.
    """
    # SECURITY: a file may hold a fraction where a number was recorded, and `%d` would pass over it.
    if not type(at_ns) is type(mono_ns) is type(schema) is type(seq) is int:
        raise TypeError("a header holds another type where an integer was recorded")
    named = _quoted(run)
    return _HEADER % (at_ns, named[:-1], seq, _quoted(kind), mono_ns, named, schema, seq)


_HEADER: Final = b'{"at_ns":"%d","id":%b:%d","kind":%b,"mono_ns":"%d","run":%b,"schema":%d,"seq":%d}'


@lru_cache(maxsize=1024)
def _quoted(text: str) -> bytes:
    return encode_basestring(text).encode()  # UnicodeEncodeError is a ValueError


def header_of(entry: Entry) -> bytes:
    """Return the header of a stored event."""
    return header(
        run=entry.run,
        seq=entry.seq,
        kind=entry.kind,
        schema=entry.schema,
        at_ns=entry.at_ns,
        mono_ns=entry.mono_ns,
    )


def body_digest(salt: bytes, body: bytes) -> bytes:
    """Return the salted digest of a body."""
    return sha256(salt + body).digest()


def entry_hash(prev: bytes, header: bytes, digest: bytes) -> bytes:
    """Return the hash of an event that comes after `prev`."""
    return sha256(prev + header + digest).digest()


def link_hash(prev: bytes, hash: bytes) -> bytes:
    """Return the log's link for an event of that hash, after the link `prev`."""
    return sha256(prev + hash).digest()


def chained(
    prev: bytes,
    *,
    run: str,
    seq: int,
    kind: str,
    schema: int,
    at_ns: int,
    mono_ns: int,
    salt: bytes,
    body: bytes,
) -> Entry:
    """Return the event as it is stored, linked to the run's previous hash."""
    digest = body_digest(salt, body)
    head = header(run=run, seq=seq, kind=kind, schema=schema, at_ns=at_ns, mono_ns=mono_ns)
    hash = entry_hash(prev, head, digest)
    return Entry(run, seq, kind, schema, at_ns, mono_ns, salt, body, digest, prev, hash)


def entry_fault(entry: Entry, *, prev: bytes, seq: int) -> str | None:
    """Say what is wrong with an event that should be number `seq`, after `prev`; None if nothing is.

    A body that is gone (None) is not a fault by itself, if its salt went with it: its digest still stands in
    the chain, and whether it was purged its run says.
    """
    if type(entry.seq) is not int or entry.seq != seq:
        return f"expected event {seq} of the run, found event {entry.seq}"
    # SECURITY: a file may hold any type in any column, and `0` or `""` is not a purged body.
    salt, body, digest = entry.salt, entry.body, entry.digest
    blobs = type(salt) is type(digest) is type(entry.prev) is type(entry.hash) is bytes
    if not blobs or not (body is None or type(body) is bytes):
        return "holds another type where bytes were recorded"
    if body is None and salt:
        return "the body was removed without its salt, as no purge does"
    if entry.prev != prev:
        return "does not follow the event before it"
    if body is not None and len(salt) != SALT_BYTES:
        return f"the salt has {len(salt)} bytes, not {SALT_BYTES}"
    if body is not None and body_digest(salt, body) != digest:
        return "the body is not the one that was recorded"
    try:
        expected = entry_hash(prev, header_of(entry), digest)
    except (ValueError, TypeError):  # fails closed: a header that cannot be written was never recorded
        return "the header cannot be read"
    if expected != entry.hash:
        return "the header or the digest is not the one that was recorded"
    return None


def link_fault(link: Link, *, prev: bytes, position: int, hash: bytes | None) -> str | None:
    """Say what is wrong with a link that should stand at `position`, after `prev`; None if nothing is.

    Args:
        hash: The hash of the event that the link names; None if that event is missing.
    """
    if type(link.position) is not int or link.position != position:
        return f"expected link {position} of the log, found link {link.position}"
    if hash is None:
        return f"the event {link.run}:{link.seq} is missing"
    if not (isinstance(link.hash, bytes) and isinstance(hash, bytes)):
        return "holds another type where bytes were recorded"
    if link_hash(prev, hash) != link.hash:
        return "does not follow the link before it, or names another event"
    return None
