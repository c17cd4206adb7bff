"""The contract of an adapter: subclass `AdapterContract` and say how your framework plays a scene."""

from abc import ABC, abstractmethod
from typing import ClassVar

from ringfence.testing.adapters.scenes import Outcome, Scene


class AdapterContract(ABC):
    """Tests that pytest runs for each subclass whose name begins with `Test`.

    Bring `play`.  What a framework does not have at all, its subclass says here, and the tests of it are then
    not there, rather than skipped.  Needs pytest-asyncio in `auto` mode.
    """

    framework: ClassVar[str]
    """As the run's record names it."""
    has_model: ClassVar[bool] = True
    """A model takes part, and is recorded; False: something else makes the calls (functions, a gateway)."""
    hides_tools: ClassVar[bool] = True
    """There is a list of tools that a model or a client is offered."""
    suspends: ClassVar[bool] = True
    """A call that asks people puts the agent away; False: it waits in place, or raises, or is told to come
    again."""
    has_ids: ClassVar[bool] = True
    """Calls carry the model's ids into the record."""
    parallel: ClassVar[bool] = True
    streams: ClassVar[bool] = True
    has_hooks: ClassVar[bool] = True
    """The host can change arguments between the model and the body."""
    has_helpers: ClassVar[bool] = True
    """An agent can work inside another."""
    has_provider_tools: ClassVar[bool] = True
    has_unknown_tools: ClassVar[bool] = True
    """A model can ask for a name that no tool has."""
    cancels: ClassVar[bool] = True
    """The caller can take an invocation back."""

    @abstractmethod
    async def play(self, scene: Scene) -> Outcome:
        """Play the scene with your framework; a synchronous entry runs in a thread (`asyncio.to_thread`).

        Errors that come out of the framework belong in `Outcome.error`.
        """
