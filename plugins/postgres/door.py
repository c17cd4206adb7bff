"""The way to one schema: one statement at a time, each a transaction of its own, never waited for too long.

INVARIANT: no transaction stays open between two round trips, so a process that freezes holds no lock, and a
pooler that hands out connections per transaction will do.
"""

import asyncio
import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg

from ringfence.plugin import EngineError
from ringfence.plugins.postgres.address import Address
from ringfence.plugins.postgres.faults import AGAIN, fault_of
from ringfence.plugins.postgres.pool import Pool

_CONNECTIONS: Final = 8


class Door:
    """Connections to one server on the loop that opened them.

    Args:
        within_s: The most that one question may take, connecting and waiting for locks included.
    """

    def __init__(self, at: Address, *, within_s: float) -> None:
        self.at = at
        self.within_s = within_s
        self.opened = False
        """True once the schema was found or made: what fails at connecting from then on may work later."""
        self._pid = os.getpid()
        self._pool = Pool(self.connect, size=_CONNECTIONS)

    async def connect(self) -> Any:
        """Make a connection of one's own; the server undoes what takes too long, before we give up."""
        answers_ms = str(max(int(self.within_s * 900), 1))
        usual = {
            "application_name": "ringfence",
            "statement_timeout": answers_ms,
            "idle_in_transaction_session_timeout": answers_ms,
            # The functions lock first and look then: each statement must see what others committed.
            "default_transaction_isolation": "read committed",
        }
        cache = self.at.statement_cache_size
        try:
            return await asyncpg.connect(
                self.at.dsn,
                timeout=self.within_s,
                server_settings={name: value for name, value in usual.items() if name not in self.at.said},
                **({} if cache is None else {"statement_cache_size": cache}),
            )
        except Exception as error:  # fails closed: nothing was asked yet
            fault = fault_of(error, self.at, within_s=self.within_s, connecting=self.opened)
            raise fault.as_engine_error(error) from error

    async def ask(self, sql: str, *values: Any) -> list[Any]:
        """Run one statement and return its rows; `{s}` in it is the schema.

        Raises:
            StoreAwayError: The server does not answer; what was asked may have happened or not.
            EngineError: It refused.
        """
        async with self._bounded(self.within_s):
            while True:
                try:
                    async with self._pool.connection() as connection:
                        return list(await connection.fetch(self.sql(sql), *values))
                except asyncpg.PostgresError as error:  # fails closed, but for what is as if never asked
                    if error.sqlstate not in AGAIN:
                        raise
                    await asyncio.sleep(random.uniform(0.001, 0.02))

    async def value(self, sql: str, *values: Any) -> Any:
        """Run one statement and return the first value of its first row; None if there is none."""
        rows = await self.ask(sql, *values)
        return rows[0][0] if rows else None

    @asynccontextmanager
    async def lent(self, *, within_s: float) -> AsyncIterator[Any]:
        """Lend a connection for work of several statements."""
        async with self._bounded(within_s), self._pool.connection() as connection:
            yield connection

    def sql(self, text: str) -> str:
        """Return the statement with the schema in it."""
        return text.replace("{s}", self.at.quoted)

    async def close(self) -> None:
        """Close the connections."""
        await self._pool.close()

    @property
    def is_ours(self) -> bool:
        """False in a child of the process that opened the store: the connections are the parent's."""
        return self._pid == os.getpid()

    @asynccontextmanager
    async def _bounded(self, within_s: float) -> AsyncIterator[None]:
        self.same_process()
        try:
            async with asyncio.timeout(within_s):
                yield
        except EngineError:
            raise
        except Exception as error:  # fails closed: the caller gets no answer
            raise fault_of(error, self.at, within_s=within_s).as_engine_error(error) from error

    def same_process(self) -> None:
        """Raise EngineError in a child of the process that opened the store."""
        if not self.is_ours:
            raise EngineError(
                f"the store {self.at.shown} was opened before the process forked",
                help="load a guard of your own in the child process",
            )
