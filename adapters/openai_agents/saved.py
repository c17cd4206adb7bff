"""What of ours stands in the SDK's run context, which the SDK saves with the rest of a state.

By it a saved state finds its runs again in another process.  It says which, and no more: whose they are, and
what they wait for, says their record.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ringfence.adapter import Json

KEY: Final = "ringfence"
"""Under which the `tool_input` of a run context has what is ours."""


@dataclass(frozen=True, slots=True)
class Saved:
    """The runs of one invocation, and those of the agents that are tools and wait in its calls."""

    runs: tuple[str, ...] = ()
    """Outermost first."""
    asked: Sequence[Json] = ()
    """The open questions, as the host is shown them."""
    host: tuple[str, ...] = ()
    """The model's ids of calls that the host asks about by itself, whatever the policy says."""
    inside: Mapping[str, Json] = field(default_factory=dict)
    """The model's id of a call -> what is saved of the agent in it."""

    @classmethod
    def of(cls, said: Any) -> "Saved":
        """Read what was saved; what is not of the form was not."""
        if not isinstance(said, Mapping):
            return cls()
        inside = said.get("inside")
        return cls(
            tuple(str(one) for one in _list(said.get("runs"))),
            _list(said.get("asked")),
            tuple(str(one) for one in _list(said.get("host"))),
            inside if isinstance(inside, Mapping) else {},
        )

    def said(self) -> dict[str, Json]:
        """Return it as JSON; a new one each time, because saved states share it."""
        return {
            "runs": list(self.runs),
            "asked": list(self.asked),
            "host": list(self.host),
            "inside": dict(self.inside),
        }


def saved_in(context: Any) -> Saved:
    """Return what a context of the SDK has of ours."""
    return Saved.of(_ours(getattr(context, "tool_input", None)))


def save(context: Any, saved: Saved) -> None:
    """Have a context of the SDK name the runs, if nothing else has its place."""
    if context.tool_input is None or _ours(context.tool_input) is not None:
        context.tool_input = {KEY: saved.said()}


def questions_in(context: Any) -> Iterator[Mapping[str, Json]]:
    """Yield the open questions that a context of the SDK names."""
    for one in saved_in(context).asked:
        if isinstance(one, Mapping):
            yield one


def _ours(given: Any) -> Mapping[str, Any] | None:
    found = given.get(KEY) if isinstance(given, Mapping) else None
    return found if isinstance(found, Mapping) else None


def _list(given: Any) -> list[Any]:
    return list(given) if isinstance(given, list | tuple) else []
