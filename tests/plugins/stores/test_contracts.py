"""Both stores of this package keep the contracts that stores of others must keep."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from ringfence.engine.decision.calls import Refusal
from ringfence.engine.seams.ports import DirectLedger, InlineLedger, Ledger, Reservation, Store
from ringfence.plugins.memory import MemoryStore
from ringfence.plugins.sqlite import SqliteStore
from ringfence.testing import (
    EventLogContract,
    KillSwitchContract,
    LeasesContract,
    LedgerContract,
    TicketStoreContract,
)


class InMemory:
    def make(self, folder: Path) -> Store:
        return MemoryStore()


class InSqlite:
    def make(self, folder: Path) -> Store:
        return SqliteStore(f"sqlite:///{folder}/ringfence.db")


class TestMemoryLog(InMemory, EventLogContract):
    pass


class TestMemoryLedger(InMemory, LedgerContract):
    pass


class TestMemoryTickets(InMemory, TicketStoreContract):
    pass


class TestMemoryLeases(InMemory, LeasesContract):
    pass


class TestMemoryKillSwitch(InMemory, KillSwitchContract):
    pass


class TestSqliteLog(InSqlite, EventLogContract):
    pass


class TestSqliteLedger(InSqlite, LedgerContract):
    pass


class Handed:
    """A ledger to which all is handed over, in the place of awaiting it."""

    def __init__(self, ledger: Ledger) -> None:
        assert isinstance(ledger, DirectLedger)
        self._ledger = ledger
        self.settle = ledger.settle

    async def reserve(self, reservation: Reservation, *, now_ns: int) -> tuple[Refusal, ...]:
        return await asyncio.wrap_future(self._ledger.reserve_soon(reservation, now_ns=now_ns))

    async def dispatched(self, reservation_id: str, *, now_ns: int) -> bool:
        return await asyncio.wrap_future(self._ledger.dispatched_soon(reservation_id, now_ns=now_ns))

    async def refund(self, reservation_id: str) -> None:
        await asyncio.wrap_future(self._ledger.refund_soon(reservation_id))


class TestSqliteLedgerByHand(InSqlite, LedgerContract):
    @asynccontextmanager
    async def ledger(self, folder: Path) -> AsyncIterator[Ledger]:
        async with super().ledger(folder) as opened:
            yield Handed(opened)


class TestSqliteTickets(InSqlite, TicketStoreContract):
    pass


class TestSqliteLeases(InSqlite, LeasesContract):
    pass


class TestSqliteKillSwitch(InSqlite, KillSwitchContract):
    pass


def test_the_memory_ledger_answers_at_once_and_the_sqlite_one_does_not() -> None:
    assert isinstance(MemoryStore().ledger, InlineLedger)
    assert not isinstance(MemoryStore().ledger, DirectLedger)
    assert not MemoryStore().durable
    assert SqliteStore("sqlite:///x.db").durable
