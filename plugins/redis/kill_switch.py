"""The kill switch in Redis: orders, who has obeyed them, and a stream that wakes whoever waits."""

import asyncio
import json
import secrets
from typing import Final

from ringfence.plugin import Attendant, KillOrder
from ringfence.plugins.redis.door import Door, text_of

VALID_S: Final = 15.0
"""How long a guard attends without saying so again, by the server's clock."""

_FORGOTTEN_S: Final = 24 * 3600
"""How long one that fell out is remembered with the last order that it obeyed, should it come back."""

_LOOK_EVERY_S: Final = 2.0
"""The longest wait for news in one command."""


class RedisKillSwitch:
    """A `KillSwitch` for the guards of many hosts."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._news = door.address.root + ":news"
        self._seen: bytes | None = None

    async def keep_alive(self, holder: str) -> float:
        """Say that `holder` attends for the next 15 seconds."""
        await self._door.run(("switch", "attend"), holder, _us(_FORGOTTEN_S))
        return VALID_S

    async def gone(self, holder: str) -> None:
        """Say that `holder` attends no more."""
        await self._door.run(("switch", "gone"), holder)

    async def order(self, *, run: str | None, agent: str | None, by: str | None, at_ns: int) -> KillOrder:
        """Store an order to stop."""
        said = json.dumps([run, agent, by, str(at_ns)])
        (number,) = await self._door.run(("switch", "order"), said, secrets.token_hex(8))
        return KillOrder(number, run, agent, by, at_ns)

    async def orders(self, *, after: int = 0) -> list[KillOrder]:
        """Return the orders with an id above `after`, in order."""
        found = await self._door.run(("switch", "orders"), after)
        return [_order(said) for said in found]

    async def latest(self) -> int:
        """Return the id of the last order."""
        (number,) = await self._door.run(("switch", "latest"))
        return int(number)

    async def obeyed(self, holder: str, order: int, *, in_flight: int) -> None:
        """Acknowledge every order up to this one."""
        await self._door.run(("switch", "obeyed"), holder, order, in_flight)

    async def attendants(self) -> list[Attendant]:
        """Return the guards that attend, those silent for longer than 15 seconds left out."""
        found = await self._door.run(("switch", "attendants"), _us(VALID_S))
        rows = zip(found[::4], found[1::4], found[2::4], found[3::4], strict=True)
        return [
            Attendant(text_of(holder), obeyed, in_flight, silent_us / 1e6)
            for holder, obeyed, in_flight, silent_us in rows
        ]

    async def news(self, *, seconds: float) -> None:
        """Return when an order or an acknowledgement came since the last call, or after `seconds`."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        seen = self._seen
        while True:
            # Also sees that the data is the one we know: a stream that is gone would wake nobody.
            (last,) = await self._door.run(("switch", "news"))
            left_s = until - loop.time()
            if last != seen or left_s <= 0:
                self._seen = last
                return
            await self._wait(last, min(left_s, _LOOK_EVERY_S))

    async def _wait(self, last: bytes, wait_s: float) -> None:
        """Wait on the server for what comes after `last`."""
        block_ms = max(1, round(wait_s * 1000))
        await self._door.ask(
            lambda client: client.xread({self._news: last}, count=1, block=block_ms), longer_s=wait_s
        )


def _us(seconds: float) -> int:
    return round(seconds * 1e6)


def _order(said: bytes) -> KillOrder:
    number, _, rest = said.split(b":", 2)
    run, agent, by, at_ns = json.loads(rest)
    return KillOrder(int(number), run, agent, by, int(at_ns))
