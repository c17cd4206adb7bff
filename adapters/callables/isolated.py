"""`isolated`: a tool of the policy whose body is JavaScript, for plain Python."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from ringfence.adapters.callables.binding import body_of, signature_of
from ringfence.adapters.callables.guarded import current, original_of
from ringfence.dsl.plan import Json, ToolPlan
from ringfence.dsl.signatures import Hosted, bodies_for, description_of, isolated_tool, json_schema
from ringfence.engine.decision.calls import ToolCall
from ringfence.engine.enforcement.filled import FillingBody
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.enforcement.workers import arun_in_worker
from ringfence.engine.journal.jsonable import jsonable
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
        brought = {name: _Brought.of(needed[name], function) for name, function in originals.items()}
        hosted = {needed[name].name: one.hosted() for name, one in brought.items()}
        self.description = description_of(guard.plan, plan, hosted=hosted)
        self.schema = json_schema(plan)
        self._names = frozenset(plan.parameters or ())
        self._async = {name for name, one in brought.items() if one.is_async}
        self._inner = {name: FillingBody(one.body, one.defaults) for name, one in brought.items()}
        self._ainner = {name: FillingBody(one.abody(), one.defaults) for name, one in brought.items()}

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


@dataclass(frozen=True, slots=True)
class _Brought:
    """A function that code may call."""

    function: Callable[..., Any]
    run: Body
    defaults: Mapping[str, Json]
    """What the function fills in, of the parameters that the policy decides on: decided with the call."""

    @classmethod
    def of(cls, plan: ToolPlan, function: Callable[..., Any]) -> "_Brought":
        known = signature_of(function, plan.bound).parameters
        optional = [name for name, one in (plan.parameters or {}).items() if one.optional and name in known]
        defaults = {name: known[name].default for name in optional}
        filled = {n: v for n, v in defaults.items() if v is not None and v is not inspect.Parameter.empty}
        return cls(function, body_of(function), filled)

    @property
    def is_async(self) -> bool:
        return inspect.iscoroutinefunction(self.function)

    def hosted(self) -> Hosted:
        text = inspect.getdoc(self.function) if inspect.isroutine(self.function) else None
        return Hosted(text or "", {name: jsonable(value) for name, value in self.defaults.items()})

    def body(self, arguments: Mapping[str, Json]) -> Any:
        if missing := sorted(self.defaults.keys() - arguments.keys()):
            # SECURITY: the function would use a value that nobody has decided.
            raise TypeError(f"`{missing[0]}` must be given: its default was not decided")
        return self.run(arguments)

    def abody(self) -> Body:
        if self.is_async:
            return self.body
        return lambda arguments: arun_in_worker(lambda: self.body(arguments))


def _never(_: Mapping[str, Json]) -> NoReturn:
    raise EngineError("the body of this tool is JavaScript")
