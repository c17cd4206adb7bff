"""Where what a model reads comes from: typed by the user, said before, or brought along by the host.

A role is no origin: a message of the user's may have been written by anybody.  What the user typed is what
the host says so (`typed=`); what an earlier run of the session recorded is known; all else came along without
its origin.  Only policies that ask for labels or sources are strict about it.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ringfence.dsl.canonical import canonical
from ringfence.dsl.plan import Json, Plan
from ringfence.engine.decision.events import PromptGiven
from ringfence.engine.enforcement.current import current_call
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.journal.jsonable import jsonable

_MOST_SESSIONS: Final = 1_000

Contents = Callable[[object], Iterable[Json]]
"""Yields what a recorded event holds that a model may have been shown: the parts of messages and results."""


def strict(plan: Plan) -> bool:
    """Say whether some clause of the plan asks for labels or for where values come from."""
    return bool(plan.levels) or (plan.traces and any(tool.remembers for tool in plan.tools.values()))


def key_of(content: Json) -> bytes:
    """Return what tells a content from others."""
    try:
        return canonical(content)
    except (ValueError, TypeError, RecursionError):
        return repr(content).encode("utf-8", "backslashreplace")  # fails closed: it equals nothing recorded


@dataclass(slots=True)
class _Session:
    """What one session has recorded."""

    said: set[bytes] = field(default_factory=set)
    read: dict[str, int] = field(default_factory=dict)
    """Runs that were read, and how many events they had."""


class Origins:
    """Says of what a model is about to read where it comes from, and records it.

    Args:
        words: Texts of the adapter's own that a model is told, beside the policy's.
    """

    def __init__(self, guard: Guard, contents: Contents, *, words: Iterable[str] = ()) -> None:
        self._guard = guard
        self._contents = contents
        self._words = tuple(words)
        self._lock = threading.Lock()
        self._sessions: OrderedDict[str, _Session] = OrderedDict()

    def typed(self, run: Run, texts: Iterable[str], *, keeps_open: bool = False) -> None:
        """Record what the user typed: of a sub-agent, what its prompt says."""
        for text in texts:
            # SECURITY: a sub-agent's prompt was written by a model or by the host, never by the user.
            source = "user" if run.parent is None else writer_of(run, text)
            self.give(run, source, text, keeps_open=keeps_open)

    def brought(self, run: Run, typed: Sequence[str], parts: Iterable[tuple[str | None, Json]]) -> None:
        """Record what came along, beside what the user typed, without its origin.

        Args:
            parts: What a model is shown; of the arguments of calls, with the name of the tool.
        """
        parts = list(parts)
        known = self.known(run) if parts else set()
        for tool, part in parts:
            if part in typed or key_of(part) in known or key_of(run.shown(part, tool=tool)) in known:
                continue
            self.give(run, writer_of(run, part), part)

    def give(self, run: Run, source: str, part: Json, *, keeps_open: bool = False) -> None:
        """Record that the model is given something that comes from `source`."""
        said = PromptGiven(source, jsonable(part, hide=run.hide))
        self._guard.record(run, said, keeps_open=keeps_open)

    def known(self, run: Run) -> set[bytes]:
        """Return the keys of everything that the session's runs have recorded."""
        responses = run.plan.responses
        own = (responses.unknown, responses.deny, responses.failure, *self._words)
        with self._lock:
            session = self._sessions.setdefault(run.session, _Session())
            self._sessions.move_to_end(run.session)
            if len(self._sessions) > _MOST_SESSIONS:
                self._sessions.popitem(last=False)
            for row in self._guard.runs.list(session=run.session):
                if session.read.get(row.run) != row.events:
                    session.read[row.run] = row.events
                    for stamped in self._guard.runs.get(row.run).events:
                        session.said.update(map(key_of, self._contents(stamped.event)))
            return session.said | {key_of(text) for text in own if text}


def writer_of(run: Run, part: Json) -> str:
    """Return who wrote a part: `model`, if the call in whose body the run begins says it, else `host`."""
    inside = current_call()
    if not isinstance(part, str) or run.parent is None or inside is None or inside[0] is not run.parent:
        return "host"
    known = run.parent.state.calls.get(inside[1])
    return "model" if known is not None and part in _texts(known.arguments) else "host"


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _texts(part)
