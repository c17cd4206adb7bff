"""A store for several hosts: log, tickets, budgets, leases and orders to stop in one PostgreSQL schema."""

from collections.abc import Sequence

from ringfence.plugin import Store, hookimpl
from ringfence.plugins.postgres.address import SCHEMES


@hookimpl
def ringfence_store_schemes() -> Sequence[str]:
    """Offer the schemes `postgresql` and `postgres`."""
    return SCHEMES


@hookimpl
def ringfence_open_store(url: str) -> Store | None:
    """Return a new, unopened store for `postgresql://…` or `postgres://…`, None for any other URL."""
    if url.partition("://")[0] not in SCHEMES:
        return None
    from ringfence.plugins.postgres.store import PostgresStore  # asyncpg, only where it is needed

    return PostgresStore(url)
