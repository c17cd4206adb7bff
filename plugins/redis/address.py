"""The URL of a Redis, taken apart: where it is, under which prefix, and what of it may be shown."""

import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

SCHEMES: Final = ("redis", "rediss")

DEFAULT_PREFIX: Final = "ringfence"

_PREFIX: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
"""No braces: the whole prefix is the hash tag of every key."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a store is.  Its text is safe to show: it has no password."""

    url: str = field(repr=False)
    """For the client library: with the password, without what is ours.  SECURITY: never in a message."""
    shown: str
    """The whole URL with `***` for the password."""
    place: str
    """`HOST:PORT`."""
    prefix: str
    private: bool
    """True if nobody on the way can read along: TLS, or this host."""
    password: str | None = field(repr=False, default=None)

    def without_password(self, text: str) -> str:
        """Return a text of the server or of the library, as it may be shown."""
        for secret in {self.password, quote(self.password)} if self.password else ():
            text = text.replace(secret, "***")
        return text

    @property
    def root(self) -> str:
        """The key of the store itself; every other key begins with it and a colon.

        The braces are a hash tag: a cluster keeps all keys of one store in one slot.
        """
        return f"{{{self.prefix}}}"

    @classmethod
    def of(cls, url: str) -> "Address":
        """Take a URL apart.

        Raises:
            ValueError: It cannot be one; the message says what is wrong and never shows a password.
        """
        form = "write `redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE][?prefix=NAME]`, or `rediss://…` for TLS"
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port or 6379
        except ValueError:  # its message would quote the URL
            raise ValueError(f"the URL of the Redis cannot be read: {form}") from None
        if parts.scheme not in SCHEMES or not host:
            raise ValueError(f"the URL names no Redis: {form}")
        if parts.path.strip("/") and not re.fullmatch(r"/[0-9]+/?", parts.path, re.ASCII):
            raise ValueError(f"the database of a Redis is a number: {form}")
        said = parse_qsl(parts.query, keep_blank_values=True)
        prefixes = [value for name, value in said if name == "prefix"]
        rest = [(name, value) for name, value in said if name != "prefix"]
        unknown = sorted({name for name, _ in rest if not name.startswith("ssl_")})
        if unknown:
            raise ValueError(
                f"the URL of a Redis takes `prefix` and what begins with `ssl_`, not `{unknown[0]}`: {form}"
            )
        prefix = prefixes[-1] if prefixes else DEFAULT_PREFIX
        if len(prefixes) > 1 or not _PREFIX.fullmatch(prefix):
            raise ValueError("a prefix is one name of at most 64 letters, digits, `_`, `.`, `:` and `-`")
        where = parts.netloc.rpartition("@")[2]
        user = parts.username or ""
        hidden = f"{user}:***@" if parts.password is not None else f"{user}@" if user else ""
        return cls(
            url=urlunsplit(parts._replace(query=urlencode(rest))),
            shown=urlunsplit(parts._replace(netloc=hidden + where)),
            place=f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
            prefix=prefix,
            private=parts.scheme == "rediss" or host in ("localhost", "::1") or host.startswith("127."),
            password=None if parts.password is None else unquote(parts.password),
        )
