"""The store `postgresql://…`: one schema, some connections, one that listens, and the parts that use them."""

from collections.abc import Sequence

from ringfence.plugin import EngineError, StoreAwayError, StoreNote
from ringfence.plugins.postgres.address import address
from ringfence.plugins.postgres.door import Door
from ringfence.plugins.postgres.kill_switch import PostgresKillSwitch
from ringfence.plugins.postgres.leases import PostgresLeases
from ringfence.plugins.postgres.ledger import PostgresLedger
from ringfence.plugins.postgres.log import PostgresLog
from ringfence.plugins.postgres.news import News
from ringfence.plugins.postgres.opening import make_schema
from ringfence.plugins.postgres.server import notes
from ringfence.plugins.postgres.tickets import PostgresTickets


class PostgresStore:
    """A `Store` in one schema of a PostgreSQL database, which all hosts share.

    Args:
        url: `postgresql://USER:PASSWORD@HOST:PORT/DATABASE?schema=NAME`; the schema is `ringfence` if none is
            named, and `statement_cache_size=0` is for poolers.  All other parameters go to asyncpg.
        within_s: The most that one question to the server may take.
        presence_s: For how long a holder that is silent counts as alive.
        look_every_s: How often whoever waits for news looks for itself, though none came.
        callers_clock: For tests: the ledger goes by the callers' times instead of the server's.

    Its parts exist once it is open.
    """

    durable = True

    def __init__(
        self,
        url: str,
        *,
        within_s: float = 5.0,
        presence_s: float = 15.0,
        look_every_s: float = 2.0,
        callers_clock: bool = False,
    ) -> None:
        self._at = address(url)
        self.url = self._at.shown
        self.events: PostgresLog | None = None
        self.ledger: PostgresLedger | None = None
        self.tickets: PostgresTickets | None = None
        self.leases: PostgresLeases | None = None
        self.kill_switch: PostgresKillSwitch | None = None
        self._within_s = within_s
        self._presence_s = presence_s
        self._look_every_s = look_every_s
        self._callers_clock = callers_clock
        self._door: Door | None = None
        self._news: News | None = None

    async def open(self) -> None:
        """Connect, and make the schema if it is missing.

        Raises:
            StoreAwayError: The server does not answer now.
            RuntimeError: The server or the schema cannot be used; the message says why and how to mend it.
        """
        if self._door is not None:
            return
        door = Door(self._at, within_s=self._within_s)
        try:
            await make_schema(door)
        except BaseException as error:  # fails closed: no store, no guard
            await door.close()
            if isinstance(error, EngineError) and not isinstance(error, StoreAwayError):
                raise RuntimeError(f"{error}; {error.help}") from error
            raise
        door.opened = True
        self._door = door
        self._news = news = News(door, look_every_s=self._look_every_s)
        self.events = PostgresLog(door)
        self.ledger = PostgresLedger(door, callers_clock=self._callers_clock)
        self.tickets = PostgresTickets(door, news)
        self.leases = PostgresLeases(door, presence_s=self._presence_s)
        self.kill_switch = PostgresKillSwitch(door, news, presence_s=self._presence_s)

    async def now_ns(self) -> int | None:
        """Return the server's time."""
        if self._door is None:
            return None
        return int(await self._door.value("SELECT {s}.now_ns()"))

    async def examined(self) -> Sequence[StoreNote]:
        """Return what `ringfence doctor` says of the server."""
        return () if self._door is None else await notes(self._door)

    async def close(self) -> None:
        """Close all connections; safe to call twice, and in a child process it leaves the parent's alone."""
        door, self._door = self._door, None
        news, self._news = self._news, None
        if door is None or not door.is_ours:
            return
        if news is not None:
            await news.close()
        await door.close()
