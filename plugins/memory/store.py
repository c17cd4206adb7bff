"""The store `memory:`, made of the five parts beside this file."""

from typing import Final

from ringfence.plugins.memory.kill_switch import MemoryKillSwitch
from ringfence.plugins.memory.leases import MemoryLeases
from ringfence.plugins.memory.ledger import MemoryLedger
from ringfence.plugins.memory.log import MemoryLog
from ringfence.plugins.memory.tickets import MemoryTickets

URL: Final = "memory:"


class MemoryStore:
    """A `Store` for tests and for trying things out: nothing in it outlives the object."""

    durable = False

    def __init__(self) -> None:
        self.url = URL
        self.events = MemoryLog()
        self.ledger = MemoryLedger()
        self.tickets = MemoryTickets()
        self.leases = MemoryLeases()
        self.kill_switch = MemoryKillSwitch()

    async def now_ns(self) -> int | None:
        """Return None: the host's time will do."""
        return None

    async def open(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to flush; what it holds stays until the object goes."""
