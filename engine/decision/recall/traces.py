"""What the memory of a session asks of the index of provenance."""

from collections.abc import Sequence
from typing import Any, Protocol

from ringfence.dsl.plan import Json, Origin, Truth


class Traces(Protocol):
    """Where values came from: texts and results are kept as they come, and searched when asked."""

    def prompt(self, position: int, source: str, text: Json) -> None:
        """Take a text from outside: `user`, `system` or `attachment`."""
        ...

    def result(self, position: int, tool: str, value: Json) -> None:
        """Take a result that was shown; `tool` is the policy's name."""
        ...

    def written(self, position: int, arguments: Json) -> None:
        """Take what the model wrote: a later result is no new source for it."""
        ...

    def withheld(self, tool: str, *, position: int) -> None:
        """Take that a result of this tool was shown that is not in the record."""
        ...

    def comes_from(self, value: Json, origin: Origin, *, position: int) -> Truth:
        """Say whether one value matches the source, by what came before `position`."""
        ...

    def comes_only_from(self, value: Json, origins: Sequence[Origin], *, position: int) -> Truth:
        """Say whether it has a source among these."""
        ...

    def fork(self) -> "Traces":
        """Return a copy that goes its own way."""
        ...

    def join(self, other: Any, *, position: int) -> int:
        """Take over what a fork has taken since; return the first position that is free then."""
        ...

    @property
    def overflow(self) -> bool:
        """True if more was shown than is kept."""
        ...


def traces_of() -> Traces:
    """Return an empty index."""
    from ringfence.engine.decision.recall.provenance import Provenance

    return Provenance()
