"""A few connections to one server, made when they are needed and given up as soon as one is in doubt.

A connection that was cut off, cancelled or too slow is never used again, and takes the idle ones with it:
after a restart of the server none of them is worth more.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg

IDLE_S: Final = 300.0
"""A connection that nobody used for longer is not trusted: a firewall may have forgotten it."""

_FAREWELL_S: Final = 1.0


class Pool:
    """At most `size` connections at once."""

    def __init__(self, connect: Callable[[], Awaitable[Any]], *, size: int) -> None:
        self._connect = connect
        self._slots = asyncio.Semaphore(size)
        self._idle: list[tuple[Any, float]] = []
        self._closed = False

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        """Lend a connection; it goes back if the server answered, be it with an error."""
        async with self._slots:
            lent = self._fresh() or await self._connect()
            try:
                yield lent
            except asyncpg.PostgresError:
                if lent.is_closed():
                    self._give_up(lent)
                else:
                    self._keep(lent)
                raise
            except BaseException:
                self._give_up(lent)
                raise
            self._keep(lent)

    async def close(self) -> None:
        """Close what is idle now, and the others when they come back."""
        self._closed = True
        idle, self._idle = self._idle, []
        await asyncio.gather(*(farewell(connection) for connection, _ in idle))

    def _fresh(self) -> Any | None:
        now_s = asyncio.get_running_loop().time()
        while self._idle:
            connection, since_s = self._idle.pop()
            if not connection.is_closed() and now_s - since_s < IDLE_S:
                return connection
            connection.terminate()
        return None

    def _keep(self, connection: Any) -> None:
        if self._closed or connection.is_closed():
            connection.terminate()
        else:
            self._idle.append((connection, asyncio.get_running_loop().time()))

    def _give_up(self, connection: Any) -> None:
        connection.terminate()
        idle, self._idle = self._idle, []
        for other, _ in idle:
            other.terminate()


async def farewell(connection: Any) -> None:
    """Close a connection in order, or at once if the server does not answer."""
    try:
        await connection.close(timeout=_FAREWELL_S)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
        connection.terminate()  # nothing is lost: whatever was answered is committed
