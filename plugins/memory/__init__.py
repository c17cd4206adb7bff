"""A store in this process's memory, for tests: lost on exit, and says so."""

from ringfence.plugins.memory.store import URL, MemoryStore

__all__ = ["MemoryStore", "open_store"]


def open_store(url: str) -> MemoryStore | None:
    """Return a new, unopened store for `memory:`, None for any other URL."""
    return MemoryStore() if url == URL else None
