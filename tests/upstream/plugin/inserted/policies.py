"""Policies made from the tools at hand: every one of them is declared, and all are allowed or all denied."""

import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal

from langchain_core.tools import BaseTool
from langchain_core.tools import tool as make_tool

from ringfence import Guard
from ringfence.engine.seams.settings import Settings

Verdict = Literal["allow", "deny"]

_CLAUSES: Final = {"allow": "allow always", "deny": 'deny all: when 1 == 1 because "nothing runs"'}
_HEAD: Final = "language 1\npolicy inserted\ncapability work is read\n"


def policy_of(names: Iterable[str], verdict: Verdict) -> str:
    """Return a policy that declares tools of these names and has one answer to all of their calls."""
    tools = (
        f"tool t{at} is {json.dumps(name, ensure_ascii=False)} {{ needs work  {_CLAUSES[verdict]} }}\n"
        for at, name in enumerate(sorted({name for name in names if name}))
    )
    return _HEAD + "".join(tools)


def names_of(tools: Iterable[Any]) -> Iterator[str]:
    """Yield the names of tools in whatever form they are bound; what has none is left to the framework."""
    for tool in tools:
        if isinstance(tool, BaseTool):
            yield tool.name
        elif isinstance(tool, dict):
            function = tool.get("function")
            inner = function.get("name") if isinstance(function, dict) else None
            yield from (name for name in (inner, tool.get("name"), tool.get("type")) if isinstance(name, str))
        elif callable(tool):
            yield from _name_of(tool)


def _name_of(function: Callable[..., Any]) -> Sequence[str]:
    try:
        return (make_tool(function).name,)
    except (ValueError, TypeError):  # no tool can be made of it: LangChain is about to say so
        return ()


class Guards:
    """The guards that were made for a test, closed when it is over."""

    def __init__(self, verdict: Verdict) -> None:
        self.verdict: Verdict = verdict
        self.module: str | None = None
        """The module of the test that runs."""
        self._names: dict[str, set[str]] = {}
        self._made: list[Guard] = []
        self._folder = tempfile.TemporaryDirectory(prefix="ringfence-upstream-")

    def made_here(self, tool: BaseTool) -> None:
        """Take in a tool of a module of the suite: its middleware may add it to an agent later."""
        function = getattr(tool, "func", None) or getattr(tool, "coroutine", None) or type(tool)
        self._names.setdefault(getattr(function, "__module__", ""), set()).add(tool.name)

    def over(self, tools: Iterable[Any]) -> Guard:
        """Return a new guard whose policy declares these tools, and those of the test's module."""
        names = {*names_of(tools), *self._names.get(self.module or "", ())}
        guard = Guard.load(
            self._file(policy_of(names, self.verdict)), settings=Settings.of({}), store="memory:"
        )
        if self.module is not None:
            self._made.append(guard)
        return guard

    def close(self) -> None:
        """Close all that were made in the test; those of a module last as long as it."""
        while self._made:
            self._made.pop().close(within_s=2)

    @cache  # noqa: B019 - one object lasts as long as the process
    def _file(self, text: str) -> Path:
        file = Path(self._folder.name) / f"inserted{hash(text)}.fence"
        file.write_text(text, encoding="utf-8")
        return file
