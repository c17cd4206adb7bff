"""The way to one Redis: few connections, each command within its time, each script on the data it knows."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from importlib.resources import files
from typing import Any, Final, TypeVar, cast

from redis import exceptions
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from ringfence.plugin import EngineError
from ringfence.plugins.redis.address import Address
from ringfence.plugins.redis.faults import Fault, LostError, fault_of

T = TypeVar("T")

CONNECTIONS: Final = 16
"""The most connections of one guard."""

LOST: Final = b"lost"
"""What a script answers on data that it does not know."""

Word = str | int


def script_text(*names: str) -> str:
    """Return Lua files of this folder as one script."""
    folder = files("ringfence.plugins.redis")
    return "\n".join((folder / "lua" / f"{name}.lua").read_text(encoding="utf-8") for name in names)


class Door:
    """An open way to a Redis; made on the loop that uses it, and in one process."""

    def __init__(self, address: Address, *, timeout_s: float) -> None:
        self.address = address
        self._timeout_s = timeout_s
        self._pid = os.getpid()
        self._closed = False
        # In the order in which they come: the library's pool lends to whoever asks at the right moment, so
        # that under load some would be overtaken until their time is over.
        self._turns = asyncio.Semaphore(CONNECTIONS)
        # Nothing is sent again behind our back: see `ask`.
        self._pool: BlockingConnectionPool = BlockingConnectionPool.from_url(
            address.url,
            max_connections=CONNECTIONS,
            timeout=None,  # `ask` bounds the whole
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            socket_keepalive=True,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
        )
        self.client: Redis = Redis(connection_pool=self._pool)
        self._scripts: dict[tuple[str, ...], Any] = {}
        self.incarnation = ""

    async def ask(self, command: Callable[[Redis], Awaitable[T]], *, longer_s: float = 0.0) -> T:
        """Run one command; raise what its failure means, never later than its time-out and `longer_s`.

        INVARIANT: every command may be asked twice.  It is, once, where a connection turns out to be closed:
        a server that was restarted closed all of ours.
        """
        self._usable()
        try:
            async with asyncio.timeout(self._timeout_s + longer_s), self._turns:
                try:
                    return await command(self.client)
                except exceptions.ConnectionError as error:  # asked again, or raised
                    if type(error) is not exceptions.ConnectionError:
                        raise
                    # By now the loop has seen which others were closed: the library connects those anew.
                    return await command(self.client)
        except Exception as error:  # fails closed: the caller gets no answer
            raise self.fault(error).as_engine_error() from None

    async def run(self, names: tuple[str, ...], *words: Word) -> list[Any]:
        """Run a script, all or nothing, on the data that was there when the store was opened.

        Raises:
            EngineError: That data is gone.
            StoreAwayError: There was no answer; it may have run or not.
        """
        script = self._scripts.get(names)
        if script is None:
            script = self._scripts[names] = self.client.register_script(script_text("living", *names))
        sent = [self.incarnation.encode(), *(_bytes(word) for word in words)]
        answer = await self.ask(lambda _: script(keys=[self.address.root], args=sent))
        if answer == LOST:
            raise self.fault(LostError()).as_engine_error()
        return cast(list[Any], answer)

    def fault(self, error: BaseException) -> Fault:
        """Return what an error means.

        SECURITY: raised without its cause, and with no text of the URL: a server that renamed `AUTH` quotes
        what it was sent.
        """
        return fault_of(error, self.address, timeout_s=self._timeout_s)

    async def begin(self, incarnation: str) -> None:
        """Remember which data the server has; the first one that opens the store names it so."""

        async def named(client: Redis) -> Any:
            await client.hsetnx(self.address.root, "incarnation", incarnation)
            return await client.hget(self.address.root, "incarnation")

        found = await self.ask(named)
        if found is None:  # somebody empties the server at this moment
            raise self.fault(LostError()).as_engine_error()
        self.incarnation = found.decode()

    async def close(self) -> None:
        """Close the connections; in a forked child they are the parent's, and are left alone."""
        self._closed = True
        if self._pid == os.getpid():
            await self._pool.disconnect()

    def _usable(self) -> None:
        if self._pid != os.getpid():
            raise EngineError(
                f"the store at `{self.address.place}` was opened before the process forked",
                help="load a guard of its own in the child process",
            )
        if self._closed:  # the library would connect again, and nobody would close it
            raise EngineError(f"the store at `{self.address.place}` is closed", help="load a new guard")


def _bytes(word: Word) -> bytes:
    # What is no text in UTF-8 is still one key, and no other one's.
    return str(word).encode("utf-8", "surrogatepass")


def text_of(found: bytes) -> str:
    """Return the text that was sent."""
    return found.decode("utf-8", "surrogatepass")
