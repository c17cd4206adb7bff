"""A store in this process's memory, for tests: lost on exit, and says so."""

from collections.abc import Sequence

from ringfence.plugin import Store, hookimpl
from ringfence.plugins.memory.store import URL, MemoryStore

__all__ = ["MemoryStore"]


@hookimpl
def ringfence_store_schemes() -> Sequence[str]:
    """Offer the scheme `memory`."""
    return ["memory"]


@hookimpl
def ringfence_open_store(url: str) -> Store | None:
    """Return a new, unopened store for `memory:`, None for any other URL."""
    return MemoryStore() if url == URL else None
