"""A call that waits for people: asked in the client where the requester may answer, else told to come again.

The authority is Ringfence's own ticket, used once.  An answer out of the client is that of the user on whose
behalf it acts, and counts only where the policy lets that very user answer.
"""

import json
from collections.abc import Awaitable, Callable
from typing import Any, Final

import anyio
import mcp_types as types
from mcp.shared.exceptions import MCPError, NoBackChannelError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from ringfence.adapters.mcp.connections import Context
from ringfence.adapters.mcp.flights import ANSWERS_S, state_of
from ringfence.adapters.mcp.process import Say
from ringfence.dsl.canonical import same
from ringfence.engine.decision.calls import ToolCall
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.enforcement.people import same as same_person
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.seams.errors import DeniedError, PendingError
from ringfence.engine.seams.escape import escaped, escaped_json

_SHOWN_AT_MOST: Final = 4_000
_FIELD: Final = "approve"
_REQUEST: Final = "ringfence"

Execute = Callable[[], Awaitable[Any]]


class Approvals:
    """Asks in the client, and hears its answers."""

    def __init__(self, guard: Guard, say: Say) -> None:
        self._guard = guard
        self._say = say

    async def ask(
        self,
        run: Run,
        call: ToolCall,
        context: Context,
        pending: PendingError,
        execute: Execute,
        *,
        shown: str,
        but: frozenset[str],
    ) -> Any:
        """Have the question answered in the client if that may be, and return what the call gives then.

        Args:
            but: The tickets that the client was asked about just now: not again at once.

        Raises:
            PendingError: Others must answer, elsewhere.
        """
        answerable = [id for id in pending.tickets if id not in but and self._may_answer(run, id)]
        if not answerable or not _has_forms(context):
            raise pending
        asked = types.ElicitRequestFormParams(
            message=_question(call, shown),
            requested_schema={
                "type": "object",
                "properties": {_FIELD: {"type": "boolean", "title": "Approve this call"}},
                "required": [_FIELD],
            },
        )
        if context.protocol_version in MODERN_PROTOCOL_VERSIONS:
            return types.InputRequiredResult(
                input_requests={_REQUEST: types.ElicitRequest(params=asked)},
                request_state=json.dumps({"run": run.id, "tickets": answerable}),
            )
        answer: types.ElicitResult | None = None
        try:
            with anyio.move_on_after(ANSWERS_S):
                answer = await context.session.elicit_form(
                    asked.message, asked.requested_schema, related_request_id=context.request_id
                )
        except (MCPError, NoBackChannelError, ValueError):  # not answered there: it stays open elsewhere
            raise pending from None
        if answer is None or not await self._answer(run, answerable, answer):
            raise pending
        return await execute()

    async def hear(self, run: Run, call: ToolCall, context: Context, params: Any) -> frozenset[str]:
        """Take the answer that a client of 2026 sends with the call it is about; return what it was asked.

        SECURITY: the state is sealed for these arguments and this client; what it names counts only while it
        is an open question about this very call.  Used again it names nothing open, and changes nothing.
        """
        state = state_of(context, params)
        if "tickets" not in state:
            return frozenset()
        answer = (params.input_responses or {}).get(_REQUEST)
        if state.get("run") != run.id or not isinstance(answer, types.ElicitResult):
            return frozenset()
        asked = [id for id in state.get("tickets", ()) if self._is_about(run, id, call)]
        await self._answer(run, [id for id in asked if self._may_answer(run, id)], answer)
        return frozenset(asked)

    async def _answer(self, run: Run, tickets: list[str], answer: types.ElicitResult) -> bool:
        """Give the user's answer; return whether it was one."""
        user = run.principal.user
        said = (answer.content or {}).get(_FIELD)
        if user is None or answer.action == "cancel":
            return False
        approved = answer.action == "accept" and said is True
        heard = False
        for ticket in tickets:
            try:
                if approved:
                    await self._guard.aapprove(ticket, by=user, because="in the client")
                else:
                    await self._guard.adeny(ticket, by=user, because="in the client")
                heard = True
            except DeniedError as error:  # it has no effect: the question stays as it is
                self._say(escaped(str(error)))
        return heard

    def _may_answer(self, run: Run, ticket: str) -> bool:
        """Say whether the policy lets the requester answer this question."""
        known = run.state.open_tickets.get(ticket)
        user = run.principal.user
        if known is None or user is None:
            return False
        if any(same_person(user, one) for one in known.approved_by):
            return False  # a person answers once
        approver = run.plan.approvers[known.approver]
        people = () if approver.group is None else self._guard.settings.people(approver.group)
        return not approver.never_requester and any(same_person(user, one) for one in people)

    def _is_about(self, run: Run, ticket: str, call: ToolCall) -> bool:
        known = run.state.open_tickets.get(ticket)
        asked = None if known is None else run.state.calls.get(known.call)
        if asked is None or asked.tool != call.tool:
            return False
        given = asked.request.arguments
        return asked.withheld is not None or same(dict(given), dict(call.arguments))


def _has_forms(context: Context) -> bool:
    caps = context.session.client_capabilities
    forms = None if caps is None else caps.elicitation
    return forms is not None and (forms.form is not None or forms.url is None)


def _question(call: ToolCall, shown: str) -> str:
    arguments = escaped_json(dict(call.arguments), limit=_SHOWN_AT_MOST)
    return f"Ringfence asks: run `{escaped(shown)}` with {arguments}?"


def pending_text(pending: PendingError) -> str:
    """Return what the client is told of a call that waits for people elsewhere."""
    return (
        f"PENDING APPROVAL {' '.join(pending.tickets)}: people must approve this call. Nothing ran. "
        "Make the same call again later, with the same arguments."
    )
