"""The store `redis://HOST`: budgets and the kill switch that several hosts share."""

import secrets
from collections.abc import Sequence
from typing import Final

from ringfence.plugin import EngineError, StoreAwayError, StoreNote
from ringfence.plugins.redis.address import Address
from ringfence.plugins.redis.door import Door
from ringfence.plugins.redis.kill_switch import RedisKillSwitch
from ringfence.plugins.redis.ledger import RedisLedger
from ringfence.plugins.redis.server import clock_fault, notes, server_fault

TIMEOUT_S: Final = 5.0
"""How long an answer may take, with connecting to the server; a late one is none."""

LINGER_S: Final = 3600.0
"""How long a key outlives what is in it: a server clock that jumps ahead by less drops no charge."""


class RedisStore:
    """A `Store` in one Redis that keeps no events, tickets and leases: they belong to the log's store.

    Args:
        url: `redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE][?prefix=NAME]`, or `rediss://…` for TLS.
        timeout_s: See `TIMEOUT_S`.
        linger_s: See `LINGER_S`.
        callers_clock: For tests alone: the ledger goes by the times of its callers.

    Its parts exist once it is open; no connection, and no object of the library, before.
    """

    durable = True
    events = None
    tickets = None
    leases = None

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float = TIMEOUT_S,
        linger_s: float = LINGER_S,
        callers_clock: bool = False,
    ) -> None:
        self._address = Address.of(url)
        # SECURITY: without the password, for it is shown.
        self.url = self._address.shown
        self.ledger: RedisLedger | None = None
        self.kill_switch: RedisKillSwitch | None = None
        self._timeout_s = timeout_s
        self._linger_s = linger_s
        self._callers_clock = callers_clock
        self._door: Door | None = None

    async def open(self) -> None:
        """Connect, see whether the server keeps what it is told, and remember which data it has.

        Raises:
            StoreAwayError: It does not answer now.
            RuntimeError: It cannot be used; the message says why and how to mend it.
        """
        if self._door is not None:
            return
        door = Door(self._address, timeout_s=self._timeout_s)
        try:
            fault = await server_fault(door)
            if fault is None:
                await door.begin(secrets.token_hex(16))
                fault = None if self._callers_clock else await clock_fault(door)
        except BaseException as error:  # fails closed, and leaves nothing half open
            await door.close()
            if not isinstance(error, EngineError) or isinstance(error, StoreAwayError):
                raise
            raise RuntimeError(f"{error}; {error.help}") from None
        if fault is not None:
            await door.close()
            raise RuntimeError(str(fault))
        self._door = door
        self.ledger = RedisLedger(door, linger_s=self._linger_s, callers_clock=self._callers_clock)
        self.kill_switch = RedisKillSwitch(door)

    async def now_ns(self) -> int | None:
        """Return the server's time, which never steps back here."""
        if self._door is None:
            return None
        now_us, _ = await self._door.run(("now",))
        return int(now_us) * 1000

    async def examined(self) -> Sequence[StoreNote]:
        """Return what `ringfence doctor` says of the server."""
        return () if self._door is None else await notes(self._door)

    async def close(self) -> None:
        """Close the connections; safe to call twice."""
        door, self._door = self._door, None
        if door is not None:
            await door.close()
