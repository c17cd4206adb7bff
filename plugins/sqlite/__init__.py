"""The default store: one SQLite file, several processes of one host."""

from collections.abc import Sequence

from ringfence.plugin import Store, hookimpl
from ringfence.plugins.sqlite.store import PREFIX, SqliteStore

__all__ = ["SqliteStore"]


@hookimpl
def ringfence_store_schemes() -> Sequence[str]:
    """Offer the scheme `sqlite`."""
    return ["sqlite"]


@hookimpl
def ringfence_open_store(url: str) -> Store | None:
    """Return a new, unopened store for `sqlite:///…`, None for any other URL."""
    return SqliteStore(url) if url.startswith(PREFIX) else None
