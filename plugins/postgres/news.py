"""What other hosts changed: one connection that listens, made again when it is lost.

Behind a pooler that lends connections per transaction nothing is heard, and a server that is away says
nothing: so whoever waits is let go after a while at most, and looks for itself.
"""

import asyncio
from typing import Any, Final

import asyncpg

from ringfence.plugin import EngineError
from ringfence.plugins.postgres.door import Door
from ringfence.plugins.postgres.names import key

TICKETS: Final = "tickets"
ORDERS: Final = "orders"

_ALIVE_EVERY_S: Final = 10.0
_AGAIN_FIRST_S: Final = 0.05
_AGAIN_MOST_S: Final = 1.0


class News:
    """Counts what it hears; listens from the first wait on.

    Args:
        look_every_s: The longest wait: after it the caller looks for itself.
    """

    def __init__(self, door: Door, *, look_every_s: float) -> None:
        self._door = door
        self._look_every_s = look_every_s
        self.channel = f"ringfence {key(door.at.schema).hex()[:32]}"
        """The channel of this schema; what is told is the part that changed."""
        self._heard = {TICKETS: 0, ORDERS: 0}
        self._told = {TICKETS: 0, ORDERS: 0}
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def wait(self, part: str, *, seconds: float) -> None:
        """Return when the part may have changed since this returned last, or after `seconds`."""
        self._door.same_process()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._listen(), name="ringfence-postgres-news")
        before = self._told[part]
        try:
            async with asyncio.timeout(min(max(seconds, 0), self._look_every_s)):
                while self._heard[part] == before:
                    await self._changed.wait()
        except TimeoutError:  # a hint and no more: the caller looks either way
            pass
        self._told[part] = self._heard[part]

    async def close(self) -> None:
        """Stop listening."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    def _hear(self, *parts: str) -> None:
        for part in parts:
            self._heard[part] = self._heard.get(part, 0) + 1
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def _listen(self) -> None:
        again_s = _AGAIN_FIRST_S
        while True:
            try:
                connection = await self._door.connect()
            except EngineError:  # nothing is heard meanwhile: whoever waits looks for itself
                await asyncio.sleep(again_s)
                again_s = min(again_s * 2, _AGAIN_MOST_S)
                continue
            try:
                await self._hear_all(connection)
                again_s = _AGAIN_FIRST_S
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
                await asyncio.sleep(again_s)  # lost: listen anew
            finally:
                connection.terminate()

    async def _hear_all(self, connection: Any) -> None:
        """Listen until the connection is lost."""
        lost = asyncio.Event()
        connection.add_termination_listener(lambda _: lost.set())
        async with asyncio.timeout(self._door.within_s):
            await connection.add_listener(self.channel, lambda _c, _p, _channel, said: self._hear(said))
        self._hear(TICKETS, ORDERS)  # nobody knows what was missed before
        while not lost.is_set():
            try:
                async with asyncio.timeout(_ALIVE_EVERY_S):
                    await lost.wait()
            except TimeoutError:  # a quiet while: is the server there still?
                async with asyncio.timeout(self._door.within_s):
                    await connection.fetchval("SELECT 1")
