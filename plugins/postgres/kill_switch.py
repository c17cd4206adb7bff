"""The kill switch in PostgreSQL: orders, and which guards of all hosts have obeyed them."""

from ringfence.plugin import Attendant, KillOrder
from ringfence.plugins.postgres.door import Door
from ringfence.plugins.postgres.names import kept, kept_or_none, key, read, read_or_none
from ringfence.plugins.postgres.news import ORDERS, News


class PostgresKillSwitch:
    """A `KillSwitch` in one schema."""

    def __init__(self, door: Door, news: News, *, presence_s: float) -> None:
        self._door = door
        self._news = news
        self._presence_s = presence_s

    async def keep_alive(self, holder: str) -> float:
        """Say that `holder` attends; return for how many seconds that holds.

        One that fell out and comes back has obeyed what it had obeyed before: it may have runs still.
        """
        await self._door.ask(
            "INSERT INTO {s}.attendant AS kept (holder_key, holder, obeyed, in_flight, seen_ns)"
            " SELECT $1, $2, id, 0, {s}.now_ns() FROM {s}.order_head"
            " ON CONFLICT (holder_key) DO UPDATE SET seen_ns = greatest(kept.seen_ns, EXCLUDED.seen_ns)",
            key(holder),
            kept(holder),
        )
        return self._presence_s

    async def gone(self, holder: str) -> None:
        """Say that `holder` attends no more."""
        await self._door.ask("DELETE FROM {s}.attendant WHERE holder_key = $1", key(holder))

    async def order(self, *, run: str | None, agent: str | None, by: str | None, at_ns: int) -> KillOrder:
        """Store an order to stop; durable when it returns."""
        number = await self._door.value(
            "SELECT number FROM {s}.give_order($1, $2, $3, $4) AS number, pg_notify($5, $6)",
            kept_or_none(run),
            kept_or_none(agent),
            kept_or_none(by),
            at_ns,
            self._news.channel,
            ORDERS,
        )
        return KillOrder(number, run, agent, by, at_ns)

    async def orders(self, *, after: int = 0) -> list[KillOrder]:
        """Return the orders with an id above `after`."""
        found = await self._door.ask(
            "SELECT id, run, agent, by, at_ns FROM {s}.kill_order WHERE id > $1 ORDER BY id", after
        )
        return [
            KillOrder(number, read_or_none(run), read_or_none(agent), read_or_none(by), at_ns)
            for number, run, agent, by, at_ns in found
        ]

    async def latest(self) -> int:
        """Return the id of the last order."""
        return int(await self._door.value("SELECT id FROM {s}.order_head") or 0)

    async def obeyed(self, holder: str, order: int, *, in_flight: int) -> None:
        """Acknowledge every order up to this one; durable when it returns."""
        await self._door.ask(
            "WITH said AS (INSERT INTO {s}.attendant AS kept (holder_key, holder, obeyed, in_flight, seen_ns)"
            " VALUES ($1, $2, $3, $4, {s}.now_ns()) ON CONFLICT (holder_key) DO UPDATE SET"
            " obeyed = greatest(kept.obeyed, EXCLUDED.obeyed), in_flight = EXCLUDED.in_flight,"
            " seen_ns = greatest(kept.seen_ns, EXCLUDED.seen_ns) RETURNING 1)"
            " SELECT 1 FROM said, pg_notify($5, $6)",
            key(holder),
            kept(holder),
            order,
            in_flight,
            self._news.channel,
            ORDERS,
        )

    async def attendants(self) -> list[Attendant]:
        """Return the guards that attend and have said so in time."""
        found = await self._door.ask(
            "SELECT holder, obeyed, in_flight, silent_ns FROM"
            " (SELECT *, greatest({s}.now_ns() - seen_ns, 0) AS silent_ns FROM {s}.attendant) AS all_of_them"
            " WHERE silent_ns < $1 ORDER BY holder",
            int(self._presence_s * 1e9),
        )
        return [
            Attendant(read(holder), obeyed, in_flight, silent_ns / 1e9)
            for holder, obeyed, in_flight, silent_ns in found
        ]

    async def news(self, *, seconds: float) -> None:
        """Return when an order or an acknowledgement came from anywhere, or after `seconds`."""
        await self._news.wait(ORDERS, seconds=seconds)
