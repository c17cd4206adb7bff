"""Where the store is: its URL taken apart, and what of it may be shown."""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

SCHEMES: Final = ("postgresql", "postgres")
DEFAULT_SCHEMA: Final = "ringfence"

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")


@dataclass(frozen=True, slots=True)
class Address:
    """One schema of one database."""

    dsn: str
    """What asyncpg is given: the URL without what is ours."""
    schema: str
    shown: str
    """SECURITY: the URL without password and parameters: the only form that messages show."""
    secrets: tuple[str, ...]
    """What no message may hold, wherever it comes from."""
    said: frozenset[str]
    """The parameters that the URL sets."""
    statement_cache_size: int | None

    @property
    def quoted(self) -> str:
        """The schema as SQL writes it."""
        return f'"{self.schema}"'

    def without_secrets(self, text: str) -> str:
        """Return the text without the password."""
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return text


def address(url: str) -> Address:
    """Take a store URL apart; raise ValueError if it names no schema that can be."""
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES:
        raise ValueError("a URL of this store begins with `postgresql://`")
    given = parse_qsl(parts.query, keep_blank_values=True)
    ours = dict(given)
    schema = ours.get("schema", DEFAULT_SCHEMA)
    if not _NAME.fullmatch(schema) or schema.lower().startswith("pg_"):
        raise ValueError(
            f"`schema={schema}` is no name of a schema: write letters, digits and underscores (not `pg_…`)"
        )
    cache = ours.get("statement_cache_size")
    if cache is not None and not re.fullmatch(r"[0-9]{1,6}", cache):
        raise ValueError(f"`statement_cache_size={cache}` is no number")
    others = [(name, value) for name, value in given if name not in ("schema", "statement_cache_size")]
    credentials, at, place = parts.netloc.rpartition("@")
    user, _, password = credentials.partition(":")
    shown = f"{parts.scheme}://{user}{at}{place}{parts.path}"
    hidden = {password, unquote(password), ours.get("password", ""), ours.get("sslpassword", "")}
    return Address(
        dsn=f"{parts.scheme}://{parts.netloc}{parts.path}?{urlencode(others)}",
        schema=schema,
        shown=shown if schema == DEFAULT_SCHEMA else f"{shown}?schema={schema}",
        secrets=tuple(sorted(hidden - {""}, key=len, reverse=True)),
        said=frozenset(ours),
        statement_cache_size=None if cache is None else int(cache),
    )
