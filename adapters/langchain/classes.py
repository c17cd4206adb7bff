"""The guarded class of a tool: a subclass of its own, under the same name.

Its `invoke` and `run` add what only the outside knows (the call's id, the raw arguments) and turn refusals
into LangChain's own error messages.
"""

import functools
from collections.abc import Callable
from inspect import signature
from typing import Any
from weakref import WeakKeyDictionary

from langchain_core.callbacks import AsyncCallbackManagerForToolRun, CallbackManagerForToolRun
from langchain_core.messages import ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, StructuredTool, Tool, ToolException
from pydantic import ValidationError

from ringfence.adapters.langchain.admission import Underway, admit
from ringfence.adapters.langchain.calls import task_of
from ringfence.adapters.langchain.functions import ToolRuntime, hints_of, with_proof
from ringfence.adapters.langchain.gate import Incoming, gate_of
from ringfence.adapters.langchain.replies import error_message, told, with_id
from ringfence.adapters.langchain.tree import is_bubble
from ringfence.engine.seams.errors import EngineError, RunHaltedError

_UNFIT = "the arguments do not fit the tool's schema"


class GuardedTool:
    """What a guarded copy does on top of its tool's class."""

    name: str

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """See `BaseTool.invoke`."""
        return super().invoke(_identified(input, config), config, **kwargs)  # type: ignore[misc]

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """See `BaseTool.ainvoke`."""
        return await super().ainvoke(_identified(input, config), config, **kwargs)  # type: ignore[misc]

    def run(self, tool_input: Any, *args: Any, **kwargs: Any) -> Any:
        """See `BaseTool.run`."""
        clean, incoming = admit(self, tool_input, kwargs)
        try:
            with Underway(incoming):
                output = super().run(clean, *args, **kwargs)  # type: ignore[misc]
            why = None if incoming.reached else _UNFIT
        except Exception as error:
            why = _unfit(incoming, error)
            if why is None:
                return _answer(incoming, error)
        if why is None:
            return output
        try:
            incoming.gate.refuse(incoming, why)
        except Exception as refusal:
            return _answer(incoming, refusal)

    async def arun(self, tool_input: Any, *args: Any, **kwargs: Any) -> Any:
        """See `BaseTool.arun`."""
        clean, incoming = admit(self, tool_input, kwargs)
        try:
            with Underway(incoming):
                output = await super().arun(clean, *args, **kwargs)  # type: ignore[misc]
            why = None if incoming.reached else _UNFIT
        except Exception as error:
            why = _unfit(incoming, error)
            if why is None:
                return _answer(incoming, error)
        if why is None:
            return output
        try:
            await incoming.gate.arefuse(incoming, why)
        except Exception as refusal:
            return _answer(incoming, refusal)

    def _filter_injected_args(self, tool_input: dict[str, Any]) -> dict[str, Any]:
        """See `BaseTool._filter_injected_args`, which finds out at every call what it leaves out."""
        gate = gate_of(self)
        if gate is None:
            return super()._filter_injected_args(tool_input)  # type: ignore[misc,no-any-return]
        if gate.told is None:
            every = dict.fromkeys(gate.parameters.visible)
            gate.told = frozenset(super()._filter_injected_args(every))  # type: ignore[misc]
        if tool_input.keys() <= gate.told:
            return dict(tool_input)
        return super()._filter_injected_args(tool_input)  # type: ignore[misc,no-any-return]


def _identified(input: Any, config: RunnableConfig | None) -> Any:
    is_call = isinstance(input, dict) and input.get("type") == "tool_call"
    return with_id(input, task_of(config)) if is_call else input


def _unfit(incoming: Incoming, error: Exception) -> str | None:
    """Say why a call never reached its function, where that is the fault of its arguments."""
    if incoming.reached or is_bubble(error) or isinstance(error, NotImplementedError):
        return None
    if isinstance(error, ValidationError | ToolException | ValueError | TypeError):
        return f"{_UNFIT}: {_short(error)}"
    return None


def _answer(incoming: Incoming, error: Exception) -> ToolMessage | str:
    """Return the model's answer for an error, or raise what is the host's."""
    host = is_bubble(error) or isinstance(error, NotImplementedError | RunHaltedError | EngineError)
    if host or (incoming.call_id is None and not incoming.in_words):
        raise error
    text = told(error, incoming.run.plan, incoming.gate.name)
    if incoming.call_id is None:
        return text
    return error_message(text, name=incoming.gate.name, call_id=incoming.call_id)


def _short(error: Exception) -> str:
    if isinstance(error, ValidationError):
        places = [".".join(str(part) for part in one["loc"]) or "input" for one in error.errors()]
        return ", ".join(f"`{place}`" for place in places[:5])
    return type(error).__name__


_PLAIN = (BaseTool._arun, StructuredTool._run, StructuredTool._arun, Tool._run, Tool._arun)
"""LangChain's own, which only lead to each other, to `func` and to `coroutine`."""
_CLASSES: "WeakKeyDictionary[type[BaseTool], type[BaseTool]]" = WeakKeyDictionary()


def guarded_class(kind: type[BaseTool]) -> type[BaseTool]:
    """Return the guarded subclass of a tool's class; one per class, under the same name."""
    known = _CLASSES.get(kind)
    if known is None:
        known = _CLASSES[kind] = _derive(kind)
    return known


def _derive(kind: type[BaseTool]) -> type[BaseTool]:
    members: dict[str, Any] = {
        "__module__": kind.__module__,
        "__doc__": kind.__doc__,
        "__qualname__": kind.__qualname__,
    }
    own_run, own_arun = kind._run not in _PLAIN, kind._arun not in _PLAIN
    if own_run:
        # SECURITY: also where the class has a guarded `func`: its own `_run` need not come to it.
        members["_run"] = _method(kind._run)
    if own_arun:
        members["_arun"] = _async_method(kind._arun)
    if not issubclass(kind, StructuredTool | Tool):
        if not hasattr(kind, "func"):
            members["func"] = _hinting(kind._run)
    elif not own_run and not own_arun:
        members["_run"], members["_arun"] = _plain_methods(kind._run, kind._arun)
    return type(kind.__name__, (GuardedTool, kind), members)


def _plain_methods(
    run: Callable[..., Any], arun: Callable[..., Any]
) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return LangChain's own methods in a form that it need not find out about at every call.

    Their signature and their one annotation that matters are at hand; and a function that takes nothing of
    the framework's is called as LangChain would, without a look at it.
    """

    def _run(
        self: Any,
        *args: Any,
        config: RunnableConfig,
        run_manager: CallbackManagerForToolRun | None = None,
        **kwargs: Any,
    ) -> Any:
        gate = gate_of(self)
        if gate is not None and gate.plain_func is not None and self.func is gate.functions[0]:
            return gate.run(gate.plain_func, args, kwargs)
        return run(self, *args, config=config, run_manager=run_manager, **kwargs)

    async def _arun(
        self: Any,
        *args: Any,
        config: RunnableConfig,
        run_manager: AsyncCallbackManagerForToolRun | None = None,
        **kwargs: Any,
    ) -> Any:
        gate = gate_of(self)
        if gate is not None and gate.plain_coroutine is not None and self.coroutine is gate.functions[1]:
            return await gate.arun(gate.plain_coroutine, args, kwargs)
        return await arun(self, *args, config=config, run_manager=run_manager, **kwargs)

    methods: tuple[Any, Any] = (_run, _arun)
    for method in methods:
        method.__signature__ = signature(method)
        method.__annotations__ = {"config": RunnableConfig}
    return methods


def _method(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def guarded_run(self: Any, *args: Any, **values: Any) -> Any:
        gate = gate_of(self)
        assert gate is not None, "a guarded copy has a gate"
        return gate.run(functools.partial(method, self), args, values)

    return guarded_run


def _async_method(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    async def guarded_arun(self: Any, *args: Any, **values: Any) -> Any:
        gate = gate_of(self)
        assert gate is not None, "a guarded copy has a gate"
        return await gate.arun(functools.partial(method, self), args, values)

    return guarded_arun


def _hinting(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a `func` for classes that have none: ToolNode reads its hints, and it is guarded too."""

    def func(self: Any, *args: Any, **values: Any) -> Any:
        return self._run(*args, **values)

    hints = hints_of(method)
    func.__annotations__ = {} if ToolRuntime is None else hints if "runtime" in hints else with_proof(hints)
    return func
