"""What the tests of this store share: an open store, its parts, and how a log is verified."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from ringfence.engine.journal.chain import ZERO, entry_fault, link_fault
from ringfence.plugins.postgres.kill_switch import PostgresKillSwitch
from ringfence.plugins.postgres.leases import PostgresLeases
from ringfence.plugins.postgres.ledger import PostgresLedger
from ringfence.plugins.postgres.log import PostgresLog
from ringfence.plugins.postgres.store import PostgresStore
from ringfence.plugins.postgres.tickets import PostgresTickets

WAIT_S = 60


class Open:
    """A store that is open, with its parts."""

    def __init__(self, store: PostgresStore) -> None:
        assert store.events and store.ledger and store.tickets and store.leases and store.kill_switch
        self.store = store
        self.log: PostgresLog = store.events
        self.ledger: PostgresLedger = store.ledger
        self.tickets: PostgresTickets = store.tickets
        self.leases: PostgresLeases = store.leases
        self.orders: PostgresKillSwitch = store.kill_switch


@asynccontextmanager
async def opened(store: PostgresStore) -> AsyncIterator[Open]:
    """Open a store, and close it in the end."""
    await store.open()
    try:
        yield Open(store)
    finally:
        await store.close()


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait until it holds, a minute at most."""
    async with asyncio.timeout(WAIT_S):
        while not await holds():
            await asyncio.sleep(0.02)


async def verified(log: PostgresLog) -> dict[str, int]:
    """Check both chains of the whole log, as `ringfence verify` does; return how many events each run has."""
    hashes, counts = {}, {}
    for row in await log.runs():
        prev = ZERO
        entries = await log.read(row.run)
        for number, entry in enumerate(entries, 1):
            assert entry_fault(entry, prev=prev, seq=number) is None
            prev = hashes[entry.id] = entry.hash
        assert (row.events, row.head) == (len(entries), prev)
        counts[row.run] = len(entries)
    prev = ZERO
    links = await log.links(limit=10**9)
    for position, link in enumerate(links, 1):
        found = hashes.get(f"{link.run}:{link.seq}")
        assert link_fault(link, prev=prev, position=position, hash=found) is None
        prev = link.hash
    assert len(links) == len(hashes)
    return counts
