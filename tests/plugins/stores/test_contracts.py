"""Both stores of this package keep the contracts that stores of others must keep."""

from pathlib import Path

from ringfence.engine.seams.ports import InlineLedger, Store
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


class TestSqliteTickets(InSqlite, TicketStoreContract):
    pass


class TestSqliteLeases(InSqlite, LeasesContract):
    pass


class TestSqliteKillSwitch(InSqlite, KillSwitchContract):
    pass


def test_the_memory_ledger_answers_at_once_and_the_sqlite_one_does_not() -> None:
    assert isinstance(MemoryStore().ledger, InlineLedger)
    assert not MemoryStore().durable
    assert SqliteStore("sqlite:///x.db").durable
