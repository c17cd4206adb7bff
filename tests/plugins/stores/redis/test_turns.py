"""Many callers over few connections: each comes in its turn, whoever else asks meanwhile."""

import asyncio
from itertools import count

from ringfence.plugins.redis.address import Address
from ringfence.plugins.redis.door import CONNECTIONS, Door
from tests.plugins.stores.redis.places import WAIT_S
from tests.services import Redis


async def test_nobody_is_overtaken_by_many_more_than_there_are_connections(redis_server: Redis) -> None:
    door = Door(Address.of(redis_server.url), timeout_s=WAIT_S)
    arrived = count()
    answered: list[int] = []

    async def caller(asks: int) -> None:
        for _ in range(asks):
            number = next(arrived)
            await door.ask(lambda client: client.ping())
            answered.append(number)

    await asyncio.gather(*(caller(1) for _ in range(4 * CONNECTIONS)))  # now all connections are made
    answered.clear()
    await asyncio.gather(*(caller(5) for _ in range(20 * CONNECTIONS)))
    await door.close()
    overtaken = [sum(later > number for later in answered[:place]) for place, number in enumerate(answered)]
    assert len(answered) == 100 * CONNECTIONS
    assert max(overtaken) < 4 * CONNECTIONS
