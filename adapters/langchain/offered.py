"""What a model request offers: tools of ours, and provider-side ones that nobody here can intercept."""

import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final
from weakref import WeakKeyDictionary

from langchain_core.runnables.config import ensure_config
from langchain_core.tools import BaseTool

from ringfence.adapters.langchain.runs import runs_of
from ringfence.adapters.langchain.tools import SCAFFOLD
from ringfence.engine.enforcement.catalogue import undeclared
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.seams.escape import escaped

_ELSEWHERE = ("tools", "functions")
"""Settings of a model call through which tools could be offered as well."""


_SAID: Final[WeakKeyDictionary[Guard, set[str]]] = WeakKeyDictionary()
"""What was said under each guard, however many middlewares and sub-agents share it."""
_LOCK: Final = threading.Lock()


def visible_tools(guard: Guard, tools: Sequence[BaseTool | Callable[..., Any] | dict[str, Any]]) -> list[Any]:
    """Return those of the tools that the model of the run at hand may be offered.

    For graphs and executors that bind tools themselves, where the model is asked:
    `model.bind_tools(visible_tools(guard, tools))`.

    Raises:
        NoRunError: There is no run around this.
    """
    return Offered(guard).shown(runs_of(guard).of_tool("visible_tools", ensure_config()), tools)


class Offered:
    """Filters what models are offered; what no policy declares is hidden, and said to be."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        with _LOCK:
            self._said = _SAID.setdefault(guard, set())

    def shown(self, run: Run, tools: Sequence[Any]) -> list[Any]:
        """Return the tools that the policy declares and the run holds."""
        undeclared(self._guard, [name for tool in tools if (name := name_of(tool)) is not None], SCAFFOLD)
        return [tool for tool in tools if self._is_shown(run, tool)]

    def settings(self, run: Run, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return the settings of a model call without the tools that `shown` would leave out."""
        kept = dict(settings)
        for name in _ELSEWHERE:
            if isinstance(kept.get(name), Sequence):
                kept[name] = self.shown(run, kept[name])
        return kept

    def _is_shown(self, run: Run, tool: Any) -> bool:
        if (name := name_of(tool)) is not None:
            return bool(self._guard.visible(run, [name]))
        names = list(names_of(tool))
        if names and self._guard.visible(run, names):
            return True
        self._say(names[0] if names else repr(type(tool)))
        return False

    def _say(self, name: str) -> None:
        with _LOCK:
            if name in self._said:
                return
            self._said.add(name)
        print(
            f"ringfence: `{escaped(name)}` is not offered to the model: it would run at the provider, where"
            " no call can be intercepted, and the policy does not declare it",
            file=sys.stderr,
        )


def name_of(tool: Any) -> str | None:
    """Return the name of a tool that runs here, as a model writes it; None: it is none."""
    if isinstance(tool, BaseTool):
        return tool.name
    return getattr(tool, "__name__", None) if callable(tool) else None


def names_of(tool: Any) -> Iterator[str]:
    """Yield the names by which a policy may declare a tool that is given as a dict: name, then type."""
    if not isinstance(tool, Mapping):
        return
    function = tool.get("function")
    for name in (
        function.get("name") if isinstance(function, Mapping) else None,
        tool.get("name"),
        tool.get("type") if tool.get("type") != "function" else None,
    ):
        if isinstance(name, str):
            yield name
