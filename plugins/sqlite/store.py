"""The store `sqlite:///FILE`: one file, a writer and a reader, and the parts that use them."""

import os
import time
from pathlib import Path
from typing import Final

from ringfence.plugins.sqlite.clock import latest_ns
from ringfence.plugins.sqlite.connection import Connection, Door, identity
from ringfence.plugins.sqlite.faults import fault_of, missing, path_fault, reading_fault
from ringfence.plugins.sqlite.holders import Holders
from ringfence.plugins.sqlite.kill_switch import SqliteKillSwitch
from ringfence.plugins.sqlite.leases import SqliteLeases
from ringfence.plugins.sqlite.ledger import SqliteLedger
from ringfence.plugins.sqlite.log import SqliteLog
from ringfence.plugins.sqlite.opening import connect_reader, connect_writer, make_file
from ringfence.plugins.sqlite.still import connect_still, stand, way_to
from ringfence.plugins.sqlite.tickets import SqliteTickets

PREFIX: Final = "sqlite:///"


class SqliteStore:
    """A `Store` in one SQLite file, which several processes of one host may share.

    Args:
        url: `sqlite:///ringfence.db`, seen from the current folder, or `sqlite:////an/absolute/path.db`.
        create: False: a file that is missing is an error (commands that only look).
        busy_s: How long to wait for a lock of another process.

    Its parts exist once it is open.
    """

    durable = True

    def __init__(self, url: str, *, create: bool = True, busy_s: float = 10.0) -> None:
        name = url.removeprefix(PREFIX)
        if name == url or not name or name == ":memory:":
            raise ValueError(
                f"`{url}` names no file: write `sqlite:///ringfence.db`, or `memory:` for no file"
            )
        self.url = url
        # Behind every symbolic link: who is alive is asked beside the file, so one file needs one name.
        self.path = Path(os.path.realpath(name))
        self.events: SqliteLog | None = None
        self.ledger: SqliteLedger | None = None
        self.tickets: SqliteTickets | None = None
        self.leases: SqliteLeases | None = None
        self.kill_switch: SqliteKillSwitch | None = None
        self._create = create
        self._busy_s = busy_s
        self._door: Door | None = None
        self._holders: Holders | None = None

    async def open(self) -> None:
        """Open the file, and make it (readable by its owner alone) if it is missing.

        Raises:
            FileNotFoundError: It is missing, and `create` is False.
            RuntimeError: It cannot be opened; the message says why and how to mend it.
        """
        if self._door is not None:
            return
        if not self._create and not self.path.exists():
            raise FileNotFoundError(str(missing(self.path)))
        await self._open(make=True)

    async def _open(self, *, make: bool) -> None:
        fault = path_fault(self.path)
        if fault is not None:
            raise RuntimeError(str(fault))
        try:
            make_file(self.path)
            door = await self._connect(make=make)
        except Exception as error:  # fails closed: no store, no guard
            raise RuntimeError(str(fault_of(error, self.path, busy_s=self._busy_s))) from error
        self._holders = Holders(self.path)
        self._holders.sweep()
        self._offer_log(door)
        self.ledger = SqliteLedger(door)
        self.leases = SqliteLeases(door, self._holders)
        self.kill_switch = SqliteKillSwitch(door, self._holders)

    async def open_to_read(self) -> None:
        """Open as `open` where the file may be written, but make no log where there is none.

        Where it may not be written there are only log, tickets and who holds which session; no trace is left.

        Raises:
            FileNotFoundError: It is missing.
            RuntimeError: It cannot be read; the message says why and how to mend it.
        """
        if self._door is not None:
            return
        if not self.path.exists():
            raise FileNotFoundError(str(missing(self.path)))
        if path_fault(self.path) is None:
            await self._open(make=False)
            return
        fault = reading_fault(self.path)
        if fault is not None or not self.path.is_file():
            raise RuntimeError(str(fault or path_fault(self.path)))
        path, busy_s = self.path, self._busy_s
        try:
            way = way_to(path)
            seen = identity if way.locks else stand
            before = seen(path)
            reader = await Connection.opened(lambda: connect_still(path, way, busy_s=busy_s))
        except Exception as error:  # fails closed: nothing is read
            raise RuntimeError(str(fault_of(error, path, busy_s=busy_s))) from error
        door = Door(path, None, reader, busy_s=busy_s, seen=seen, after=not way.locks)
        if seen(path) != before:
            await door.close()
            raise RuntimeError(f"the store `{path}` was written while it was opened; run the command again")
        self._offer_log(door)
        self.leases = SqliteLeases(door, Holders(path))  # who lives can be asked; to lease would be to write

    def _offer_log(self, door: Door) -> None:
        self._door = door
        self.events = SqliteLog(door)
        self.tickets = SqliteTickets(door)

    async def now_ns(self) -> int | None:
        """Return the largest time that its processes have brought; None: there is none yet.

        They are on one host, but its clock may have stepped back between two of them.
        """
        return None if self._door is None else await latest_ns(self._door, wall_ns=time.time_ns())

    async def close(self) -> None:
        """Finish what is queued and close the file; safe to call twice."""
        door, self._door = self._door, None
        if door is not None:
            await door.close()
        if self._holders is not None:
            self._holders.close()

    async def _connect(self, *, make: bool) -> Door:
        path, busy_s = self.path, self._busy_s
        writer = await Connection.opened(lambda: connect_writer(path, busy_s=busy_s, make=make))
        try:
            reader = await Connection.opened(lambda: connect_reader(path, busy_s=busy_s))
        except BaseException:
            await writer.close()
            raise
        return Door(path, writer, reader, busy_s=busy_s)
