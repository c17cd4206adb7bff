"""A store in this process's memory, for tests: lost on exit, and says so."""

from collections.abc import Sequence

from ringfence.plugin import hookimpl
from ringfence.plugins.memory.store import URL, MemoryStore

__all__ = ["MemoryStore", "open_store"]


@hookimpl
def ringfence_store_schemes() -> Sequence[str]:
    """Say the scheme."""
    return ["memory"]


@hookimpl(specname="ringfence_open_store")
def open_store(url: str) -> MemoryStore | None:
    """Return a new, unopened store for `memory:`, None for any other URL."""
    return MemoryStore() if url == URL else None
