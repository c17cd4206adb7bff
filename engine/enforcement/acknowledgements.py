"""Waiting until an order to stop is acknowledged, and what to say of it."""

import asyncio
from dataclasses import dataclass

from ringfence.engine.seams.bounded import bounded
from ringfence.engine.seams.errors import EngineError
from ringfence.engine.seams.ports import Attendant, KillOrder, KillSwitch

WITHIN_S = 10.0
"""How long an order to stop waits for acknowledgements, if nobody says otherwise."""

_LOOK_EVERY_S = 0.02
_ANSWER_S = 5.0
_LEAST_S = 0.5


@dataclass(frozen=True, slots=True)
class Killed:
    """An order to stop, and which guards have acknowledged it."""

    order: KillOrder
    obeyed: tuple[Attendant, ...]
    """Those where nothing that the order names starts any more."""
    missing: tuple[Attendant, ...]
    """Those that have not said so in time.  One that is dead or has no live run is not waited for."""

    @property
    def in_flight(self) -> int:
        """How many bodies of halted runs could not be stopped: their late results are thrown away."""
        return sum(one.in_flight for one in self.obeyed)

    @property
    def id(self) -> int:
        """See `KillOrder`."""
        return self.order.id

    @property
    def run(self) -> str | None:
        """See `KillOrder`."""
        return self.order.run

    @property
    def agent(self) -> str | None:
        """See `KillOrder`."""
        return self.order.agent

    @property
    def by(self) -> str | None:
        """See `KillOrder`."""
        return self.order.by

    @property
    def at_ns(self) -> int:
        """See `KillOrder`."""
        return self.order.at_ns


async def acknowledged(switch: KillSwitch, order: KillOrder, *, within_s: float) -> Killed:
    """Return when every attendant has acknowledged the order, or `within_s` is over.

    Raises:
        EngineError: The kill switch could not say who has; the order stands.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + within_s
    while True:
        failure: Exception | None = None
        try:
            left_s = max(until - loop.time(), _LEAST_S)
            found = await bounded(switch.attendants, seconds=min(left_s, _ANSWER_S))
        except Exception as error:  # asked again while there is time
            failure, found = error, []
        missing = tuple(one for one in found if one.obeyed < order.id)
        left_s = until - loop.time()
        if failure is None and (not missing or left_s <= 0):
            return Killed(order, tuple(one for one in found if one.obeyed >= order.id), missing)
        if failure is not None and left_s <= 0:
            raise EngineError(
                f"the order {order.id} to stop stands, but the store cannot say who has obeyed it: {failure}",
                help="who cannot read the orders starts nothing: order it again when the store is back",
            ) from failure
        await asyncio.sleep(min(_LOOK_EVERY_S, max(left_s, 0)))
