"""Sees the executions of tool bodies by looking at which code begins to run; the tools stay as they are.

Every tool that is made is looked at once, when it is made and before anything guards it: the code of its
function, or of a `_run` of its own, is the body.
"""

import dis
import inspect
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from types import CodeType, FrameType, FunctionType, MethodType
from typing import Any

from langchain_core.tools import BaseTool

from inserted.calls import innermost
from inserted.tally import Tally

_BEGINS = 0
"""What `RESUME` says at the beginning of a function; at the others a coroutine goes on."""


class Bodies:
    """The bodies that are known; each that runs is written down."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._tools: dict[int, set[str]] = {}
        self._codes: list[CodeType] = []  # kept, so that no other code ever has the id of one

    def learn(self, tool: BaseTool) -> None:
        """Take in the bodies of a tool that nobody has guarded yet."""
        for function in _functions(tool):
            code = _code_of(function)
            if code is None:
                continue
            if id(code) not in self._tools:
                self._codes.append(code)
            self._tools.setdefault(id(code), set()).add(tool.name)

    def watch(self) -> None:
        """See from now on, in this thread and in all that begin later."""
        threading.setprofile(self._seen)
        sys.setprofile(self._seen)

    def check(self) -> None:
        """Write it down, and see again, if the test took the sight away."""
        if sys.getprofile() != self._seen or threading.getprofile() != self._seen:
            self._tally.blind()
            self.watch()

    def _seen(self, frame: FrameType, event: str, _: object) -> None:
        if event == "call" and id(frame.f_code) in self._tools and _is_run_of_a_tool(frame):
            tools = self._tools[id(frame.f_code)]
            self._tally.body(tools, through=innermost() in tools)


def _is_run_of_a_tool(frame: FrameType) -> bool:
    """Say whether a tool runs its body here; a suite that calls a plain function by hand runs no tool."""
    caller = frame.f_back
    by_hand = caller is not None and caller.f_globals.get("__name__", "").startswith("tests.")
    return not by_hand and _has_just_begun(frame)


def _has_just_begun(frame: FrameType) -> bool:
    """Say whether a call begins here; a coroutine that goes on is seen as a call, too."""
    code = frame.f_code
    if not code.co_flags & (inspect.CO_COROUTINE | inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR):
        return True
    at = frame.f_lasti
    return dis.opname[code.co_code[at]] != "RESUME" or code.co_code[at + 1] & 3 == _BEGINS


def _functions(tool: BaseTool) -> Iterator[Any]:
    yield getattr(tool, "func", None)
    yield getattr(tool, "coroutine", None)
    for name in ("_run", "_arun"):
        method = getattr(type(tool), name)
        if not method.__module__.startswith("langchain_core.tools"):
            yield method


def _code_of(function: Callable[..., Any] | None) -> CodeType | None:
    """Return the code behind a function, a method, a partial one or an object that can be called."""
    while isinstance(function, partial):
        function = function.func
    function = inspect.unwrap(function) if isinstance(function, FunctionType) else function
    if isinstance(function, type):  # its own: what all classes share would be counted for each of them
        function = vars(function).get("__init__") or vars(function).get("__new__")
        function = function.__func__ if isinstance(function, staticmethod) else function
    if isinstance(function, MethodType):
        function = function.__func__
    if function is not None and not isinstance(function, FunctionType):
        function = type(function).__call__ if callable(function) else None
    return function.__code__ if isinstance(function, FunctionType) else None
