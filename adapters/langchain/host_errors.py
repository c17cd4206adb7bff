"""Errors that are for the host alone: other middleware may catch them on their way, and tell the model.

What the guard could not do, and what puts a graph away, is kept here until its call has ended otherwise, and
raised again where no middleware stands in between.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from langchain_core.messages import AnyMessage, ToolMessage

from ringfence.adapters.langchain.tree import is_bubble
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.seams.errors import EngineError

_MOST_RUNS: Final = 10_000


class HostErrors:
    """The errors of runs, by the model's id for the call; None: by the last request to the model."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._errors: OrderedDict[str, dict[str | None, BaseException]] = OrderedDict()

    @contextmanager
    def hearing(self, run: Run, call_id: str | None) -> Iterator[None]:
        """Keep the error for the host that a call ends in, whatever others make of it."""
        try:
            yield
        except BaseException as error:
            if isinstance(error, EngineError) or is_bubble(error):
                with self._lock:
                    self._errors.setdefault(run.id, {})[call_id] = error
                    if len(self._errors) > _MOST_RUNS:
                        self._errors.popitem(last=False)
            raise
        if run.id in self._errors:  # made, or refused, after all: a retry perhaps
            with self._lock:
                self._errors.get(run.id, {}).pop(call_id, None)

    def caught(self, run_id: str, messages: Iterable[AnyMessage]) -> dict[str | None, BaseException]:
        """Return the errors whose calls have an answer all the same, and that of the last model request.

        SECURITY: their text is in the messages, and the next model would read it.
        """
        if run_id not in self._errors:
            return {}
        answered = {None, *(one.tool_call_id for one in messages if isinstance(one, ToolMessage))}
        with self._lock:
            return {id: error for id, error in self._errors.get(run_id, {}).items() if id in answered}

    def raise_caught(self, run_id: str, messages: Iterable[AnyMessage], *, before_model: bool) -> None:
        """Raise one of the errors that were caught.

        Args:
            before_model: But for that of the last request to the model, which is made anew.

        Raises:
            EngineError: There is one.
        """
        for id, error in self.caught(run_id, messages).items():
            if id is None and before_model:
                continue
            if isinstance(error, EngineError):
                raise error
            raise EngineError(
                "another middleware caught what puts the graph away",
                run=run_id,
                help="let it raise what is a `GraphBubbleUp` of LangGraph's again",
            ) from error

    def paused(self, run_id: str) -> None:
        """Forget what paused the graph: it was put away, so nobody has caught it."""
        if run_id not in self._errors:
            return
        with self._lock:
            left = self._errors.pop(run_id, {})
            if failures := {id: error for id, error in left.items() if isinstance(error, EngineError)}:
                self._errors[run_id] = {**failures}
