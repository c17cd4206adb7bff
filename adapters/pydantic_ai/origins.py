"""Where the messages of a history come from: typed by the user, said before, or brought along by the host.

A role is no origin: a user prompt may have been written by anybody.  What the user typed is what the host
says so (`typed=`); what an earlier run of the session recorded is known; all else came along without its
origin.  Only policies that ask for labels or sources are strict about it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ringfence.dsl.canonical import canonical
from ringfence.dsl.plan import Json, Plan
from ringfence.engine.decision.events import CallFinished, ModelAnswered, ModelAsked, PromptGiven
from ringfence.engine.enforcement.current import current_call
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.journal.jsonable import jsonable


def strict(plan: Plan) -> bool:
    """Say whether some clause of the plan asks for labels or for where values come from."""
    return bool(plan.levels) or (plan.traces and any(tool.remembers for tool in plan.tools.values()))


class Origins:
    """Says of what a run is given where it comes from, and records it."""

    def __init__(self, guard: Guard, run: Run) -> None:
        self._guard = guard
        self._run = run

    def record(self, typed: Sequence[str], given: Sequence[Json], *, keeps_open: bool = False) -> None:
        """Record what the user typed, and what the host brought along without its origin.

        Args:
            given: Messages as they are dumped, and parts of the prompt.
        """
        run, written = self._run, _written_around(self._run)
        for text in typed:
            # SECURITY: a sub-agent's prompt was written by a model or by the host, never by the user.
            source = "user" if run.parent is None else "model" if text in written else "host"
            self._give(source, text, keeps_open=keeps_open)
        parts = [part for one in given for part in _parts(one)]
        known = self._known() if parts else frozenset()
        for tool, part in parts:
            if part in typed or _key(part) in known or _key(run.shown(part, tool=tool)) in known:
                continue
            self._give("model" if isinstance(part, str) and part in written else "host", part)

    def brought(self, content: Json) -> None:
        """Record something that the host has put before the model without saying where it is from."""
        self._give("host", content)

    def instructed(self, text: str) -> None:
        """Record what the developer's own instructions say."""
        self._give("system", text)

    def _give(self, source: str, part: Json, *, keeps_open: bool = False) -> None:
        said = PromptGiven(source, jsonable(part, hide=self._run.hide))
        self._guard.record(self._run, said, keeps_open=keeps_open)

    def _known(self) -> frozenset[bytes]:
        """Return everything that the session's runs have recorded."""
        responses = self._run.plan.responses
        said = {_key(text) for text in (responses.unknown, responses.deny, responses.failure) if text}
        for row in self._guard.runs.list(session=self._run.session):
            for stamped in self._guard.runs.get(row.run).events:
                said.update(map(_key, _contents(stamped.event)))
        return frozenset(said)


def _parts(given: Json) -> Iterator[tuple[str | None, Json]]:
    """Yield what a message shows a model: contents, and the arguments of calls with their tool."""
    if not isinstance(given, Mapping) or not isinstance(given.get("parts"), list):
        if given not in (None, "", []):
            yield None, given
        return
    for part in given["parts"]:
        if isinstance(part, Mapping):
            yield from _shown(part)


def _shown(part: Mapping[str, Json]) -> Iterator[tuple[str | None, Json]]:
    content, tool = part.get("content"), part.get("tool_name")
    if part.get("part_kind") == "user-prompt" and isinstance(content, list):
        yield from ((None, _text(one)) for one in content)
    elif content not in (None, "", []):
        yield None, content
    if part.get("args"):
        yield tool if isinstance(tool, str) else None, part["args"]


def _text(block: Json) -> Json:
    text = block.get("content") if isinstance(block, Mapping) else None
    return text if isinstance(text, str) else block


def _contents(event: object) -> Iterator[Json]:
    """Yield the parts of the messages that an event holds."""
    if isinstance(event, PromptGiven):
        yield event.text
    elif isinstance(event, CallFinished):
        yield event.result
    elif isinstance(event, ModelAsked | ModelAnswered):
        for message in event.messages or ():
            yield from (part for _, part in _parts(message))


def _key(content: Json) -> bytes:
    try:
        return canonical(content)
    except (ValueError, TypeError, RecursionError):
        return repr(content).encode("utf-8", "backslashreplace")  # fails closed: it equals nothing recorded


def _written_around(run: Run) -> frozenset[str]:
    """Return the texts of the call in whose body this run begins: the model around it wrote them."""
    inside = current_call()
    if run.parent is None or inside is None or inside[0] is not run.parent:
        return frozenset()
    known = run.parent.state.calls.get(inside[1])
    return frozenset(_texts(known.arguments if known is not None else None))


def _texts(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _texts(part)
