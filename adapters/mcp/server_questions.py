"""What a server asks of the client while it works: samples, roots, forms; each is a tool of the policy.

A server may ask only for what the policy declares, and each question is decided like a call.  It must be
known for whose call it is asked: of several that are in flight at one server, none is guessed.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any, Final

import mcp_types as types
from mcp.shared.exceptions import MCPError

from ringfence.adapters.mcp.back import Back
from ringfence.adapters.mcp.definitions import LONG_TEXT, oddities
from ringfence.adapters.mcp.flights import Flight, Together, UnansweredError
from ringfence.adapters.mcp.link import Asked
from ringfence.adapters.mcp.process import Say
from ringfence.adapters.mcp.servers import RESERVED
from ringfence.dsl.plan import Json
from ringfence.engine.decision.calls import ToolCall
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.enforcement.tool_results import ResultLens
from ringfence.engine.seams.errors import EngineError, PendingError, RingfenceError
from ringfence.engine.seams.escape import escaped

SAMPLE: Final = f"{RESERVED}/sampling/createMessage"
ROOTS: Final = f"{RESERVED}/roots/list"
ELICIT: Final = f"{RESERVED}/elicitation/create"
_REFUSED: Final = types.ErrorData(code=types.INVALID_REQUEST, message="not available")

_UNANSWERED: Final = types.ErrorData(code=types.INVALID_REQUEST, message="no answer")
TOGETHER_AT_MOST: Final = 20
"""That a server may ask at once."""
_TOGETHER: ContextVar[Together | None] = ContextVar("ringfence_mcp_together", default=None)


class ServerQuestions:
    """Decides what servers ask, and hands it on."""

    def __init__(self, guard: Guard, say: Say) -> None:
        self._guard = guard
        self._say = say

    def may_ask(self, back: Back) -> Asked:
        """Return how a server's questions are answered; what no policy declares it is not even told of."""
        declared = self._guard.plan.by_bound_name

        async def sample(_: Any, params: types.CreateMessageRequestParams) -> Any:
            said = params.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"meta", "task"})
            return await self._ask(back, said, _SAMPLING)

        async def elicit(_: Any, params: Any) -> Any:
            if not isinstance(params, types.ElicitRequestFormParams):
                return _REFUSED  # an address that a server wants opened is no form
            said = {"message": params.message, "schema": params.requested_schema}
            return await self._ask(back, said, _FORM)

        async def roots(_: Any) -> Any:
            return await self._ask(back, {}, _ROOTS)

        asked = Asked(
            elicit=elicit if ELICIT in declared else None,
            sample=sample if SAMPLE in declared else None,
            roots=roots if ROOTS in declared else None,
        )

        async def together(requests: Mapping[str, types.InputRequest]) -> types.InputResponses:
            return await self._together(back, asked, requests)

        def answered() -> frozenset[str] | None:
            flight = back.flight()
            if not isinstance(flight, Flight):
                return None
            theirs = flight.context.session.client_capabilities
            return (
                frozenset()
                if theirs is None
                else frozenset(kind for kind, can in _CAN.items() if can(theirs))
            )

        return replace(asked, together=together, answered=answered)

    async def _together(
        self, back: Back, asked: Asked, requests: Mapping[str, types.InputRequest]
    ) -> types.InputResponses:
        """Decide each of the questions, and put those that are allowed to the client at once.

        A form that is refused is declined, one that the client left out is left out.

        Raises:
            MCPError: Another question was refused: the call cannot go on.
        """
        flight = back.flight()
        if not isinstance(flight, Flight) or len(requests) > TOGETHER_AT_MOST:
            raise MCPError.from_error_data(_REFUSED)
        flight.undecided += len(requests)
        answers: types.InputResponses = {}

        async def one(name: str, request: types.InputRequest) -> None:
            question = Together(name, flight)
            token = _TOGETHER.set(question)
            try:
                found = await _by_kind(asked, request)
            finally:
                _TOGETHER.reset(token)
                question.settle()
            if found is _REFUSED and isinstance(request, types.ElicitRequest):
                answers[name] = types.ElicitResult(action="decline")
            elif isinstance(found, types.ErrorData) and found is not _UNANSWERED:
                raise MCPError.from_error_data(found)
            elif found is not _UNANSWERED:
                answers[name] = found

        tasks = [asyncio.create_task(one(name, request)) for name, request in requests.items()]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return answers

    async def _ask(self, back: Back, said: Mapping[str, Json], kind: "_Kind") -> Any:
        flight, tool = back.flight(), kind.tool
        if not isinstance(flight, Flight):
            self._say(f"{back.spec.said} asks `{tool}` for no call that could be told: refused")
            return _REFUSED
        if flight.questions_left <= 0:
            return _REFUSED  # said once, below; it is not the record's task to count them
        flight.questions_left -= 1
        if flight.questions_left == 0:
            self._say(f"{back.spec.said} asks too much in one call: the rest of it is refused")
        arguments = {"server": back.spec.argument, **said}
        call = ToolCall(tool, arguments, schema_names=frozenset(arguments))
        capabilities = flight.context.session.client_capabilities
        try:
            if capabilities is None or not kind.can(capabilities):
                await self._guard.arefuse(flight.run, call, "the client takes no such questions")
            if (odd := kind.odd(said)) is not None:
                await self._guard.arefuse(flight.run, call, odd)

            async def body(canonical: Mapping[str, Json]) -> Any:
                return await flight.ask(kind.request(back, canonical), kind.answer, _TOGETHER.get())

            return await self._guard.aexecute(flight.run, call, body, wait=False, lens=_WHOLE)
        except EngineError as error:  # the server hears nothing of it; it is the failure of the whole request
            flight.broken = error
            return _REFUSED
        except PendingError:  # nobody could tell the server to come again
            return _REFUSED
        except RingfenceError as error:
            self._say(escaped(f"{back.spec.said} asks `{tool}`: {error}"[:500]))
            return _REFUSED
        except UnansweredError:  # the server may ask once more
            return _UNANSWERED
        except (MCPError, ValueError):  # the client would not, or answered in no way that can be handed on
            return _REFUSED


async def _by_kind(asked: Asked, request: types.InputRequest) -> Any:
    if isinstance(request, types.ElicitRequest) and asked.elicit is not None:
        return await asked.elicit(None, request.params)
    if isinstance(request, types.CreateMessageRequest) and asked.sample is not None:
        return await asked.sample(None, request.params)
    if isinstance(request, types.ListRootsRequest) and asked.roots is not None:
        return await asked.roots(None)
    return _REFUSED


def _dumped(result: Any) -> Json:
    dumped: Json = result.model_dump(mode="json", by_alias=True, exclude_none=True)
    return dumped


def _never(_: Any, value: Json) -> Any:
    raise ValueError("an answer to a server cannot be cut")


_WHOLE: Final = ResultLens(get=_dumped, set=_never)


def _can_sample(capabilities: types.ClientCapabilities) -> bool:
    return capabilities.sampling is not None


def _can_fill(capabilities: types.ClientCapabilities) -> bool:
    forms = capabilities.elicitation
    return forms is not None and (forms.form is not None or forms.url is None)


def _has_roots(capabilities: types.ClientCapabilities) -> bool:
    return capabilities.roots is not None


@dataclass(frozen=True, slots=True)
class _Kind:
    """One kind of questions."""

    tool: str
    """As a policy binds it."""
    request: Callable[[Back, Mapping[str, Json]], Any]
    """Makes what the client is asked, of what was decided and of nothing else."""
    answer: type[Any]
    can: Callable[[types.ClientCapabilities], bool]
    odd: Callable[[Mapping[str, Json]], str | None] = lambda _: None
    """Says why nobody is asked this, whatever the policy says."""


def _sampling(_: Back, said: Mapping[str, Json]) -> types.CreateMessageRequest:
    fields = {name: value for name, value in said.items() if name != "server"}
    params = types.CreateMessageRequestParams.model_validate(fields, by_name=False)
    return types.CreateMessageRequest(params=params)


def _form(back: Back, said: Mapping[str, Json]) -> types.ElicitRequest:
    # SECURITY: a person must not take a server's question for one of Ringfence, or of another server.
    marked = f"[{back.spec.said} asks] {escaped(str(said['message']))}"
    params = types.ElicitRequestFormParams(message=marked, requested_schema=said["schema"])
    return types.ElicitRequest(params=params)


def _odd_form(said: Mapping[str, Json]) -> str | None:
    """Say what a person would not see of a form, or could not read to its end."""
    if len(said["message"]) > LONG_TEXT:
        return "the question is too long to be read"
    found = oddities({"schema": said["schema"]})
    return f"the form is odd: {found[0]}"[:300] if found else None


_SAMPLING: Final = _Kind(SAMPLE, _sampling, types.CreateMessageResult, _can_sample)
_FORM: Final = _Kind(ELICIT, _form, types.ElicitResult, _can_fill, _odd_form)
_ROOTS: Final = _Kind(ROOTS, lambda *_: types.ListRootsRequest(), types.ListRootsResult, _has_roots)
_CAN: Final[Mapping[str, Callable[[types.ClientCapabilities], bool]]] = {
    "sampling": _can_sample,
    "elicitation": _can_fill,
    "roots": _has_roots,
}
"""By the protocol's names of capabilities."""
