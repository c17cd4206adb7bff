"""Two stores as one: the log with its tickets and leases in one, budgets and orders to stop in another."""

import asyncio

from ringfence.engine.seams.errors import EngineError, StoreAwayError
from ringfence.engine.seams.parts import lacking
from ringfence.engine.seams.ports import (
    EventLog,
    KillSwitch,
    Leases,
    Ledger,
    ReadableStore,
    Store,
    TicketStore,
)
from ringfence.engine.seams.store_urls import hide_passwords, without_password


class ComposedStore:
    """A `Store` whose ledger and kill switch are kept by a second one.

    Whoever leases a session must see all that was decided in it, so leases stay with the log.
    """

    def __init__(self, log: Store, ledger: Store) -> None:
        self._log = log
        self._ledger = ledger

    @property
    def url(self) -> str:
        """Both URLs, without passwords: no plugin takes this one."""
        return f"{without_password(self._log.url)} with its ledger in {without_password(self._ledger.url)}"

    @property
    def durable(self) -> bool:
        """True if both outlive the process."""
        return self._log.durable and self._ledger.durable

    @property
    def events(self) -> EventLog | None:
        """The first store's."""
        return self._log.events

    @property
    def tickets(self) -> TicketStore | None:
        """The first store's."""
        return self._log.tickets

    @property
    def leases(self) -> Leases | None:
        """The first store's."""
        return self._log.leases

    @property
    def ledger(self) -> Ledger | None:
        """The second store's."""
        return self._ledger.ledger

    @property
    def kill_switch(self) -> KillSwitch | None:
        """The second store's."""
        return self._ledger.kill_switch

    async def now_ns(self) -> int | None:
        """Return the log's time, by which tickets and deadlines go; the ledger's where that has none."""
        now_ns = await self._log.now_ns()
        return now_ns if now_ns is not None else await self._ledger.now_ns()

    async def open(self) -> None:
        """Open both at once; if one cannot be opened, the other is closed again.

        Raises:
            StoreAwayError: One of them does not answer now.
            EngineError: One cannot be opened, or does not keep what it is to keep.
        """
        try:
            outcomes = await asyncio.gather(
                _opened(self._log, "store"), _opened(self._ledger, "ledger"), return_exceptions=True
            )
            for failure in outcomes:
                if failure is not None:
                    raise failure
            _refuse_if_lacking(self._log, "store", ("events", "tickets", "leases"))
            _refuse_if_lacking(self._ledger, "ledger", ("ledger", "kill_switch"))
        except BaseException:  # fails closed, and leaves nothing half open
            await self.close()
            raise

    async def close(self) -> None:
        """Close both, the second even if the first cannot be closed; raise the first failure."""
        outcomes = await asyncio.gather(self._log.close(), self._ledger.close(), return_exceptions=True)
        for failure in outcomes:
            if failure is not None:
                raise failure


def _refuse_if_lacking(store: Store, key: str, wanted: tuple[str, ...]) -> None:
    error = lacking(store, wanted)
    if error is not None:
        raise EngineError(f"`{key}`: {error}", help=error.help)


async def _opened(store: Store, key: str) -> None:
    """Open one of the two; whatever it raises is raised as an error that says which."""
    try:
        await open_one(store)
    except Exception as error:  # fails closed: without both there is no guard
        kind = StoreAwayError if isinstance(error, StoreAwayError) else EngineError
        raise kind(
            f"`{key}` ({without_password(store.url)}): {error or type(error).__name__}",
            help=getattr(error, "help", None) or "see `ringfence doctor`",
        ) from error


async def open_one(store: Store, *, reads: bool = False) -> None:
    """Open a store that one URL names; no error of its plugin says the password in that URL.

    Args:
        reads: Nothing will be written, so a store that may only be read will do.
    """
    try:
        if reads and isinstance(store, ReadableStore):
            await store.open_to_read()
        else:
            await store.open()
    except Exception as error:  # raised again, without the password
        told = hide_passwords(str(error), store.url)
        if told == str(error):
            raise
        kind = StoreAwayError if isinstance(error, StoreAwayError) else EngineError
        raise kind(told, help=getattr(error, "help", None)) from None
