"""The PostgreSQL store keeps every contract, against a real server."""

from pathlib import Path

import pytest

from ringfence.engine.seams.ports import Store
from ringfence.plugins.postgres.store import PostgresStore
from ringfence.testing import (
    EventLogContract,
    KillSwitchContract,
    LeasesContract,
    LedgerContract,
    TicketStoreContract,
)


class InPostgres:
    url: str

    @pytest.fixture(autouse=True)
    def _schema(self, url: str) -> None:
        self.url = url

    def make(self, folder: Path) -> Store:
        return PostgresStore(self.url, callers_clock=True)


class TestPostgresLog(InPostgres, EventLogContract):
    pass


class TestPostgresLedger(InPostgres, LedgerContract):
    pass


class TestPostgresTickets(InPostgres, TicketStoreContract):
    pass


class TestPostgresLeases(InPostgres, LeasesContract):
    pass


class TestPostgresKillSwitch(InPostgres, KillSwitchContract):
    pass
