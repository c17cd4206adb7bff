"""The store `memory:`, made of the four parts beside this file."""

from typing import Final

from ringfence.plugins.memory.control import MemoryControl
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
        self.control = MemoryControl()

    async def open(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to flush; what it holds stays until the object goes."""
