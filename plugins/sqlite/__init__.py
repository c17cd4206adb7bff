"""The default store: one SQLite file, several processes of one host."""

from ringfence.plugins.sqlite.store import PREFIX, SqliteStore

__all__ = ["SqliteStore", "open_store"]


def open_store(url: str) -> SqliteStore | None:
    """Return a new, unopened store for a `sqlite:///` URL, None for any other."""
    return SqliteStore(url) if url.startswith(PREFIX) else None
