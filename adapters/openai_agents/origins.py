"""Where the texts that a model reads come from, under a policy that asks for labels or sources.

A role is no origin: an item of the user's may have been written by anybody.  What the user typed is what the
host says so (`typed=`); what a run of the session has recorded is known; all else came along without its
origin, and is of the highest level.  It is looked at where the model is asked, so that sessions, filters and
histories of handoffs are looked at too.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ringfence.adapter import Guard, Json, ModelAnswered, ModelAsked, PromptGiven, Run
from ringfence.adapters.openai_agents.values import json_of
from ringfence.engine.binding import origins
from ringfence.engine.binding.origins import key_of, writer_of
from ringfence.engine.decision.events import CallFinished

_TOLD = ("tool not found", "not authorized")
"""What a model is told where the policy has no words of its own."""
_WRITTEN = ("content", "arguments", "output", "summary", "input", "text")
"""Where an item has what somebody wrote."""


class Origins:
    """What the session of one invocation has recorded, and what came along beside it."""

    def __init__(self, guard: Guard, typed: Sequence[str]) -> None:
        self._typed = tuple(typed)
        self._origins = origins.Origins(guard, _contents, words=_TOLD)
        self._known: set[bytes] | None = None

    def typed(self, run: Run) -> None:
        """Record what the user typed, at the beginning of the run."""
        self._origins.typed(run, self._typed)

    def read(self, run: Run, instructions: str | None, given: Any, elsewhere: Mapping[str, Json]) -> None:
        """Record, before the model reads it, what no run of the session has recorded.

        Args:
            elsewhere: What the provider keeps and is shown beside it.
        """
        known = self._recorded(run)
        if instructions and key_of(instructions) not in known:
            self._record(run, "system", instructions, known)
        parts: list[Json] = list(_parts([given] if isinstance(given, str) else json_of(list(given))))
        parts += [{name: value} for name, value in elsewhere.items() if value is not None]
        for part in parts:
            if key_of(part) not in known and key_of(run.shown(part)) not in known:
                self._record(run, writer_of(run, part), part, known)

    def took(self, value: Json) -> None:
        """Take in what the model answered, which is about to be shown to it again."""
        if self._known is not None:
            self._known.update(map(key_of, _parts(value)))

    def told(self, value: Any) -> None:
        """Take in what a tool of this invocation gave, or what was told in its place."""
        if self._known is not None:
            self._known.update(map(key_of, _outputs(value)))

    def _record(self, run: Run, source: str, part: Json, known: set[bytes]) -> None:
        self._origins.give(run, source, part, keeps_open=True)
        known.add(key_of(part))

    def _recorded(self, run: Run) -> set[bytes]:
        if self._known is None:
            self._known = self._origins.known(run) | set(map(key_of, self._typed))
        return self._known


def _contents(event: object) -> Iterator[Json]:
    if isinstance(event, PromptGiven):
        yield event.text
    elif isinstance(event, ModelAsked | ModelAnswered):
        yield from _parts(event.messages or ())
    elif isinstance(event, CallFinished):
        yield from _outputs(event.result)


def _outputs(value: Any) -> Iterator[Json]:
    """Yield the forms in which a tool's result may stand in an item."""
    said = json_of(value)
    yield said
    yield str(value)
    if not isinstance(said, str):
        yield json.dumps(said, default=repr)
        yield from _parts(said)


def _parts(said: Any) -> Iterator[Json]:
    """Yield what items show a model, text by text; of what is no text, the whole of it."""
    if isinstance(said, str):
        if said:
            yield said
    elif isinstance(said, list | tuple):
        for part in said:
            yield from _parts(part)
    elif isinstance(said, Mapping):
        written = [said[name] for name in _WRITTEN if said.get(name)]
        if not written and any(name in said for name in _WRITTEN):
            return
        for part in written:
            yield from _parts(part)
        if not written:
            yield dict(said)
    elif said is not None:
        yield said
