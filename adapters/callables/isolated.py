"""`isolated`: a tool of the policy whose body is JavaScript, for plain Python."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from ringfence.adapters.callables.guarded import body_of, current, original_of, signature_of
from ringfence.dsl.plan import Json, ToolPlan
from ringfence.dsl.signatures import Hosted, bodies_for, description_of, isolated_tool, json_schema
from ringfence.engine.decision.calls import ToolCall
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.enforcement.workers import arun_in_worker
from ringfence.engine.seams.errors import EngineError

Body = Callable[[Mapping[str, Json]], Any]


class IsolatedTool:
    """A policy's tool that `runs …` in an isolate: call it, or await `acall`, with its arguments by name.

    Calls belong to the run around them (`with guard.run(…)`).
    """

    name: str
    """As the policy binds it."""
    description: str
    """For a model, from the policy: what it is for; of code, what it may call, and how."""
    schema: Mapping[str, Json]
    """JSON Schema of the arguments."""

    def __init__(
        self, guard: Guard, plan: ToolPlan, inner: Mapping[str, Callable[..., Any]], *, wait: bool
    ) -> None:
        self._guard = guard
        self._wait = wait
        self.name = plan.bound
        originals = {name: original_of(guard, function) for name, function in inner.items()}
        needed = bodies_for(guard.plan, plan, originals)
        defaulted = {name: _defaulted(needed[name], function) for name, function in originals.items()}
        hosted = {
            needed[name].name: Hosted(_documented(function), defaulted[name])
            for name, function in originals.items()
        }
        self.description = description_of(guard.plan, plan, hosted=hosted)
        self.schema = json_schema(plan)
        self._names = frozenset(plan.parameters or ())
        self._async = {name for name, function in originals.items() if inspect.iscoroutinefunction(function)}
        self._inner = {name: _body(function, defaulted[name]) for name, function in originals.items()}
        self._ainner = {
            name: body if name in self._async else _on_worker(body) for name, body in self._inner.items()
        }

    def __call__(self, /, **arguments: Any) -> Json:
        """Run it; see `Guard.execute` for what is raised.

        Raises:
            TypeError: Its code may call a coroutine function: use `acall`.
        """
        if self._async:
            raise TypeError(
                f"the code of `{self.name}` may call `{min(self._async)}`, a coroutine function: use `acall`"
            )
        return self._guard.execute(
            current(self.name), self._call(arguments), _never, wait=self._wait, inner=self._inner
        )

    async def acall(self, /, **arguments: Any) -> Json:
        """Like a call; coroutine functions in `inner` are awaited, others run on threads."""
        return await self._guard.aexecute(
            current(self.name), self._call(arguments), _never, wait=self._wait, inner=self._ainner
        )

    def _call(self, arguments: dict[str, Any]) -> ToolCall:
        return ToolCall(self.name, arguments, schema_names=self._names)


def isolated(
    guard: Guard, name: str, *, inner: Mapping[str, Callable[..., Any]] | None = None, wait: bool = True
) -> IsolatedTool:
    """Return the policy's tool of this name, whose body is the policy's JavaScript or a model's.

    Args:
        inner: What its code may call: a function for every tool that `may call` names, by the names that the
            policy binds, but for tools that run in isolates themselves.  Plain, or guarded by this guard:
            their calls are decided either way, once.
        wait: Wait in place for people; False: raise PendingError instead.

    Raises:
        ValueError: The policy has no such tool, its body is a function, or `inner` is not what it may call.
    """
    return IsolatedTool(guard, isolated_tool(guard.plan, name), inner or {}, wait=wait)


def _defaulted(plan: ToolPlan, function: Callable[..., Any]) -> frozenset[str]:
    """Return the parameters that the policy decides on and the function would fill in."""
    known = signature_of(function, plan.bound).parameters
    optional = [name for name, one in (plan.parameters or {}).items() if one.optional and name in known]
    return frozenset(n for n in optional if known[n].default not in (None, inspect.Parameter.empty))


def _documented(function: Callable[..., Any]) -> str:
    return (inspect.getdoc(function) or "") if inspect.isroutine(function) else ""


def _body(function: Callable[..., Any], defaulted: frozenset[str]) -> Body:
    run = body_of(function)

    def body(arguments: Mapping[str, Json]) -> Any:
        if missing := sorted(defaulted - arguments.keys()):
            # SECURITY: a call of the function itself is decided with its defaults; here they come too late.
            raise TypeError(f"`{missing[0]}` must be given: its default was not decided")
        return run(arguments)

    return body


def _on_worker(body: Body) -> Body:
    return lambda arguments: arun_in_worker(lambda: body(arguments))


def _never(_: Mapping[str, Json]) -> NoReturn:
    raise EngineError("the body of this tool is JavaScript")
