"""Budgets and the kill switch of several hosts, in Redis: `redis://` and `rediss://`."""

from collections.abc import Sequence

from ringfence.plugin import Store, hookimpl
from ringfence.plugins.redis.address import SCHEMES


@hookimpl
def ringfence_store_schemes() -> Sequence[str]:
    """Offer the schemes `redis` and `rediss`."""
    return SCHEMES


@hookimpl
def ringfence_open_store(url: str) -> Store | None:
    """Return a new, unopened store for `redis://…` and `rediss://…`, None for any other URL."""
    if url.partition("://")[0] not in SCHEMES:
        return None
    from ringfence.plugins.redis.store import RedisStore  # its library takes a tenth of a second to import

    return RedisStore(url)
