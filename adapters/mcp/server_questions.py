"""What a server asks of the client while it works: samples, roots, forms; each is a tool of the policy.

A server may ask only for what the policy declares, and each question is decided like a call.  It must be
known for whose call it is asked: of several that are in flight at one server, none is guessed.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import mcp_types as types
from mcp.shared.exceptions import MCPError

from ringfence.adapters.mcp.back import Asked, Back
from ringfence.adapters.mcp.flights import Flight
from ringfence.adapters.mcp.process import Say
from ringfence.adapters.mcp.servers import RESERVED
from ringfence.dsl.plan import Json
from ringfence.engine.decision.calls import ToolCall
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.enforcement.tool_results import ResultLens
from ringfence.engine.seams.errors import PendingError, RingfenceError
from ringfence.engine.seams.escape import escaped

SAMPLE: Final = f"{RESERVED}/sampling/createMessage"
ROOTS: Final = f"{RESERVED}/roots/list"
ELICIT: Final = f"{RESERVED}/elicitation/create"
_REFUSED: Final = types.ErrorData(code=types.INVALID_REQUEST, message="not available")


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
            request = types.CreateMessageRequest(params=params)
            return await self._ask(back, SAMPLE, said, request, types.CreateMessageResult, _can_sample)

        async def elicit(_: Any, params: Any) -> Any:
            if not isinstance(params, types.ElicitRequestFormParams):
                return _REFUSED  # an address that a server wants opened is no form
            said = {"message": params.message, "schema": params.requested_schema}
            # SECURITY: a person must not take a server's question for one of Ringfence, or of another server.
            marked = f"[{back.spec.said} asks] {escaped(params.message)}"
            form = types.ElicitRequestFormParams(message=marked, requested_schema=params.requested_schema)
            request = types.ElicitRequest(params=form)
            return await self._ask(back, ELICIT, said, request, types.ElicitResult, _can_fill)

        async def roots(_: Any) -> Any:
            request = types.ListRootsRequest()
            return await self._ask(back, ROOTS, {}, request, types.ListRootsResult, _has_roots)

        return Asked(
            elicit=elicit if ELICIT in declared else None,
            sample=sample if SAMPLE in declared else None,
            roots=roots if ROOTS in declared else None,
        )

    async def _ask(
        self,
        back: Back,
        tool: str,
        said: Mapping[str, Json],
        request: Any,
        answer: type[Any],
        can: Callable[[types.ClientCapabilities], bool],
    ) -> Any:
        flight = back.flight()
        if not isinstance(flight, Flight):
            self._say(f"{back.spec.said} asks `{tool}` for no call that could be told: refused")
            return _REFUSED
        arguments = {"server": back.spec.argument, **said}
        call = ToolCall(tool, arguments, schema_names=frozenset(arguments))
        capabilities = flight.context.session.client_capabilities
        try:
            if capabilities is None or not can(capabilities):
                await self._guard.arefuse(flight.run, call, "the client takes no such questions")

            async def body(_: Mapping[str, Json]) -> Any:
                return await flight.ask(request, answer)

            return await self._guard.aexecute(flight.run, call, body, wait=False, lens=_WHOLE)
        except PendingError:  # nobody could tell the server to come again
            return _REFUSED
        except RingfenceError as error:
            self._say(escaped(f"{back.spec.said} asks `{tool}`: {error}"[:500]))
            return _REFUSED
        except (MCPError, ValueError):  # the client would not, or answered in no way that can be handed on
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
