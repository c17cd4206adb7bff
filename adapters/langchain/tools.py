"""Guarded copies of tools: same name, same schema, same class to `isinstance`, one door to the function.

The copy's `func`, `coroutine`, `_run` and `_arun` go through the gate, so every path to the body is
guarded: agents, `ToolNode`, sub-agents, `invoke`, `run`, `func`.  Its `invoke` and `run` add what only the
outside knows (the call's id, the raw arguments) and turn refusals into LangChain's own error messages.
"""

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from inspect import signature
from typing import Any, get_args, get_origin, get_type_hints
from weakref import WeakKeyDictionary

from langchain_core.callbacks import AsyncCallbackManagerForToolRun, CallbackManagerForToolRun
from langchain_core.messages import ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config
from langchain_core.tools import BaseTool, StructuredTool, Tool, ToolException
from langchain_core.tools import tool as make_tool
from pydantic import ValidationError

from ringfence.adapters.langchain.capture import expecting
from ringfence.adapters.langchain.classic import is_executor
from ringfence.adapters.langchain.gate import Gate, Incoming, task_of
from ringfence.adapters.langchain.parameters import HIDDEN, Parameters
from ringfence.adapters.langchain.replies import error_message, is_limited, may_say, told, with_id
from ringfence.adapters.langchain.results import lens_for
from ringfence.adapters.langchain.runs import runs_of
from ringfence.adapters.langchain.tree import is_bubble
from ringfence.engine.enforcement.catalogue import undeclared
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.seams.errors import EngineError, RunHaltedError

try:
    from langgraph.prebuilt.tool_node import ToolRuntime
except ImportError:  # langchain-core alone: no ToolNode, so nothing is injected by one
    ToolRuntime = None  # type: ignore[assignment,misc]

SCAFFOLD = "langchain:MODULE:TOOLS"
"""How `ringfence init --tools` is told of LangChain's tools; only the host knows where they stand."""
_GATE = "ringfence_gate"
_DOORS = ("invoke", "ainvoke", "run", "arun", "__call__", "batch", "abatch", "stream", "astream")
"""Through these a tool is run from outside; the guard stands behind LangChain's own."""
_HANDLERS = ("handle_tool_error", "handle_validation_error")
"""With these a tool answers a failure in its own words."""
_UNFIT = "the arguments do not fit the tool's schema"

_INJECTED: ContextVar[Mapping[str, Any] | None] = ContextVar("ringfence_injected", default=None)
_TRUSTED: ContextVar[tuple[Gate, Run] | None] = ContextVar("ringfence_trusted", default=None)


@contextmanager
def injected(**values: Any) -> Iterator[None]:
    """Give injected arguments to guarded tools invoked in the block, as the host's own word.

    Injected arguments in the input of a bare `invoke` are refused: a model could have written them.
    """
    token = _INJECTED.set(values)
    try:
        yield
    finally:
        _INJECTED.reset(token)


@contextmanager
def trusting(gate: Gate, run: Run) -> Iterator[None]:
    """Take the next call of this gate for one of `run`, and what is injected for the framework's own."""
    token = _TRUSTED.set((gate, run))
    try:
        yield
    finally:
        _TRUSTED.reset(token)


def guard_tools(guard: Guard, tools: Sequence[BaseTool | Callable[..., Any]]) -> list[BaseTool]:
    """Return a guarded copy of every tool; use the copies and keep the originals from the model.

    Tools that the policy does not declare are named on the standard error, all at once.

    Raises:
        ValueError: Two tools have one name: the policy could not tell them apart.
        TypeError: Something is no tool, as the dicts of provider-side tools are.
    """
    made = [guarded(guard, tool) for tool in tools]
    names = [tool.name for tool in made]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"two tools are called `{twice[0]}`: the policy could not tell them apart")
    undeclared(guard, names, SCAFFOLD)
    return made


def guarded(guard: Guard, tool: BaseTool | Callable[..., Any]) -> BaseTool:
    """Return the guarded copy of one tool; a copy of this guard is returned as it is."""
    if isinstance(tool, dict) or not (isinstance(tool, BaseTool) or callable(tool)):
        raise TypeError("only tools that run here can be guarded; a provider-side tool cannot be intercepted")
    bound = tool if isinstance(tool, BaseTool) else make_tool(tool)
    known = gate_of(bound)
    if known is not None:
        if known.guard is guard:
            return bound
        if not guard.plays_back:
            raise ValueError(f"`{bound.name}` is guarded by another guard")
        bound = known.tool  # the record answers for it, whoever guards it
    refuse_own_doors(bound)
    plan = guard.plan.by_bound_name.get(bound.name)
    gate = Gate(
        guard,
        bound.name,
        bound,
        parameters_of(bound),
        runs_of(guard),
        lens_for(
            with_artifact=bound.response_format == "content_and_artifact",
            is_limited=plan is not None and is_limited(plan),
        ),
    )
    silent = {} if may_say(guard.plan, bound.name) else dict.fromkeys(_HANDLERS, False)
    copy = bound.model_copy(update=_functions(bound, gate) | silent)
    object.__setattr__(copy, "__class__", _class_of(type(bound)))
    copy.__dict__[_GATE] = gate
    gate.functions = _functions_of(copy)
    return copy


def gate_of(tool: object) -> Gate | None:
    """Return the gate of a guarded tool, or None."""
    gate = getattr(tool, "__dict__", {}).get(_GATE)
    return gate if isinstance(gate, Gate) else None


def refuse_own_doors(tool: BaseTool) -> None:
    """Raise TypeError for a tool that could run a body before the guard is met.

    SECURITY: whether an `invoke` of its own ever comes to `_run` cannot be known beforehand.
    """
    if (name := own_method(tool, _DOORS)) is not None:
        raise TypeError(
            f"`{tool.name}` cannot be guarded: it has a `{name}` of its own; do its work in `_run`"
        )
    for name in ("_run", "_arun"):
        if name in tool.__dict__:
            raise TypeError(f"`{tool.name}` cannot be guarded: its `{name}` was exchanged on the object")


def own_method(tool: BaseTool, names: Iterable[str]) -> str | None:
    """Return the first of these methods that is not LangChain's own; None: all of them are."""
    for name in names:
        home = next((kind for kind in type(tool).__mro__ if name in kind.__dict__), BaseTool)
        if name in tool.__dict__ or home.__module__.partition(".")[0] != "langchain_core":
            return name
    return None


# ---- the function ----------------------------------------------------------------------------------


def parameters_of(tool: BaseTool) -> Parameters:
    """Return what is known of a tool's parameters."""
    functions = [_function_of(tool), tool._run, tool._arun]
    named = [name for one in functions for name, hint in _hints(one).items() if hint is RunnableConfig]
    return Parameters(tool, named)


def _function_of(tool: BaseTool) -> Callable[..., Any]:
    return getattr(tool, "func", None) or getattr(tool, "coroutine", None) or tool._run


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(function, include_extras=True)
    except (NameError, TypeError, AttributeError):  # LangChain cannot resolve these either
        return {}


def _functions_of(tool: BaseTool) -> tuple[Any, ...]:
    return tuple(tool.__dict__.get(name) for name in ("func", "coroutine", "_run", "_arun"))


def _functions(tool: BaseTool, gate: Gate) -> dict[str, Any]:
    """Return the guarded `func` and `coroutine`, for tools that have them."""
    if not isinstance(tool, StructuredTool | Tool):
        return {}
    changed: dict[str, Any] = {}
    if tool.func is not None:
        changed["func"] = _telling(_sync(tool.func, gate), tool.func)
    if tool.coroutine is not None:
        changed["coroutine"] = _telling(_async(tool.coroutine, gate), tool.coroutine)
    return changed


def _telling(wrapper: Callable[..., Any], function: Callable[..., Any]) -> Callable[..., Any]:
    """Give the wrapper the function's signature, and one more hint that makes ToolNode prove itself."""
    hints = _hints(function)
    wrapper.__signature__ = signature(function)  # type: ignore[attr-defined]
    named = "runtime" in signature(function).parameters
    wrapper.__annotations__ = hints if named else _with_proof(hints)
    return wrapper


def _with_proof(hints: dict[str, Any]) -> dict[str, Any]:
    """Return hints that make ToolNode inject a runtime: of several parameters it fills one alone."""
    if ToolRuntime is None or any(map(_is_runtime, hints.values())):
        return hints
    return {**hints, HIDDEN: ToolRuntime}


def _is_runtime(hint: Any) -> bool:
    return (get_origin(hint) or hint) is ToolRuntime or any(map(_is_runtime, get_args(hint)))


def _sync(function: Callable[..., Any], gate: Gate) -> Callable[..., Any]:
    @functools.wraps(function)
    def guarded_function(*args: Any, **values: Any) -> Any:
        return gate.run(function, args, values)

    return guarded_function


def _async(function: Callable[..., Any], gate: Gate) -> Callable[..., Any]:
    @functools.wraps(function)
    async def guarded_coroutine(*args: Any, **values: Any) -> Any:
        return await gate.arun(function, args, values)

    return guarded_coroutine


# ---- the class -------------------------------------------------------------------------------------


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
        clean, incoming = _admit(self, tool_input, kwargs)
        try:
            with _underway(incoming):
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
        clean, incoming = _admit(self, tool_input, kwargs)
        try:
            with _underway(incoming):
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


def _identified(input: Any, config: RunnableConfig | None) -> Any:
    is_call = isinstance(input, dict) and input.get("type") == "tool_call"
    return with_id(input, task_of(config)) if is_call else input


@contextmanager
def _underway(incoming: Incoming) -> Iterator[None]:
    """Carry a call to its function; trust is for this call, not for what its body invokes."""
    trusted = _TRUSTED.set(None)
    try:
        with incoming.gate.incoming(incoming), expecting(incoming.gate.name):
            yield
    finally:
        _TRUSTED.reset(trusted)


def _admit(tool: Any, tool_input: Any, kwargs: Mapping[str, Any]) -> tuple[Any, Incoming]:
    """Find the run, and take from the input what only the framework may set."""
    gate = gate_of(tool)
    assert gate is not None, "a guarded copy has a gate"
    if _functions_of(tool) != gate.functions:
        # SECURITY: copied or changed after it was guarded; what would run does not meet the guard.
        raise EngineError(f"the function of `{tool.name}` was exchanged after it was guarded")
    config = ensure_config(kwargs.get("config"))
    trust = _TRUSTED.get()
    through_middleware = trust is not None and trust[0] is gate
    run = trust[1] if trust is not None and through_middleware else gate.runs.of_tool(gate.name, config)
    parameters = gate.parameters
    clean: Any = tool_input
    if isinstance(tool_input, str):
        first = parameters.first()
        given: dict[str, Any] = {first: tool_input} if first else {}
        clean = dict(given) if first else tool_input
    else:
        given = dict(tool_input)
        clean = dict(tool_input)
        trusted = through_middleware or _proves(given, parameters)
        clean.pop(HIDDEN, None)
        if trusted:
            given.pop(HIDDEN, None)
        for name in parameters.injected & clean.keys():
            # SECURITY: a bare invoke does not strip what a model forged; it stays in `given`, which no
            # schema knows, so the policy refuses the call.
            (given if trusted else clean).pop(name)
    if isinstance(clean, dict):
        clean |= {n: v for n, v in (_INJECTED.get() or {}).items() if n in parameters.injected}
    call_id, in_words = kwargs.get("tool_call_id"), is_executor(kwargs)
    return clean, Incoming(gate, run, dict(given), call_id, config, in_words=in_words)


def _proves(given: Mapping[str, Any], parameters: Parameters) -> bool:
    if ToolRuntime is None:
        return False
    names = parameters.injected | {HIDDEN, "runtime"}
    return any(isinstance(given.get(name), ToolRuntime) for name in names)


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


def _class_of(kind: type[BaseTool]) -> type[BaseTool]:
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
        members["_run"], members["_arun"] = _plainly_annotated(kind._run, kind._arun)
    return type(kind.__name__, (GuardedTool, kind), members)


def _plainly_annotated(
    run: Callable[..., Any], arun: Callable[..., Any]
) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return the methods with annotations that are no text: LangChain compiles those at every call."""

    def _run(
        self: Any,
        *args: Any,
        config: RunnableConfig,
        run_manager: CallbackManagerForToolRun | None = None,
        **kwargs: Any,
    ) -> Any:
        return run(self, *args, config=config, run_manager=run_manager, **kwargs)

    async def _arun(
        self: Any,
        *args: Any,
        config: RunnableConfig,
        run_manager: AsyncCallbackManagerForToolRun | None = None,
        **kwargs: Any,
    ) -> Any:
        return await arun(self, *args, config=config, run_manager=run_manager, **kwargs)

    return _run, _arun


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

    hints = _hints(method)
    func.__annotations__ = {} if ToolRuntime is None else hints if "runtime" in hints else _with_proof(hints)
    return func
