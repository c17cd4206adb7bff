"""Budgets and the kill switch of several hosts, in Redis: `redis://` and `rediss://`."""

from collections.abc import Sequence

from ringfence.plugin import Store, hookimpl
from ringfence.plugins.redis.address import SCHEMES
from ringfence.plugins.redis.store import RedisStore

__all__ = ["RedisStore"]


@hookimpl
def ringfence_store_schemes() -> Sequence[str]:
    """Offer the schemes `redis` and `rediss`."""
    return SCHEMES


@hookimpl
def ringfence_open_store(url: str) -> Store | None:
    """Return a new, unopened store for `redis://…` and `rediss://…`, None for any other URL."""
    return RedisStore(url) if url.partition("://")[0] in SCHEMES else None
