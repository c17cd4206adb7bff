"""People answer tickets, from any process: who may, how many, once, in time."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final, Literal

from ringfence.dsl.canonical import canonical
from ringfence.dsl.plan import Json
from ringfence.engine.decision.events import MARK
from ringfence.engine.enforcement.drive import Steps, run_async
from ringfence.engine.enforcement.opening import Opening, store_error
from ringfence.engine.enforcement.people import NAME_AT_MOST, face, same
from ringfence.engine.enforcement.waits import Waits
from ringfence.engine.journal.hiding import Hiding
from ringfence.engine.seams.errors import DeniedError, EngineError, NoTicketError
from ringfence.engine.seams.hookspecs import Answer
from ringfence.engine.seams.ports import RunRow, Ticket
from ringfence.engine.seams.settings import Settings

_BECAUSE_AT_MOST: Final = 4_000
_IGNORED_AT_MOST: Final = 20
"""Answers without effect that one ticket keeps: nobody may fill the store with them."""


class Answering:
    """Takes answers to tickets.  One without effect is refused, and kept with the ticket as `ignored`."""

    def __init__(self, opening: Opening, waits: Waits, settings: Settings) -> None:
        self._opening = opening
        self._waits = waits
        self._settings = settings
        self._hiding = Hiding(opening.secrets)

    def answer(
        self,
        ticket_id: str,
        verdict: Answer,
        *,
        by: str,
        because: str | None = None,
        edited: Mapping[str, Json] | None = None,
    ) -> Steps[Ticket]:
        """Answer a ticket; return it as it stands then.

        Raises:
            NoTicketError: There is no such ticket.
            DeniedError: This answer has no effect.  The text says why.
        """
        if not isinstance(by, str) or not face(by):
            raise DeniedError("an answer needs the name of a person", help="say who answers: `--by NAME`")
        if len(by) > NAME_AT_MOST or (because is not None and len(because) > _BECAUSE_AT_MOST):
            raise DeniedError(
                f"a name has at most {NAME_AT_MOST} characters, and a reason {_BECAUSE_AT_MOST}",
                help="say it shorter",
            )
        if not (_is_text(by) and (because is None or _is_text(because))):
            raise DeniedError("a name and a reason are text", help="half a character stands in no record")
        if edited is not None:
            edited = _edited(edited, self._settings.limits.arguments_bytes)
            if self._hiding.finds(edited) or MARK in canonical(edited).decode():
                # SECURITY: they would be kept for the process that makes the call; and who edits what is
                # hidden would send the mark in its place.
                raise DeniedError(
                    "arguments that hold something secret, or hidden, cannot be edited",
                    help="approve the call or reject it",
                )
        by, because = self._hiding.text(by), None if because is None else self._hiding.text(because)
        yield from self._opening.opened()
        while True:
            ticket, row = yield from self._found(ticket_id)
            if ticket is None:
                raise NoTicketError(f"there is no ticket `{ticket_id}`", help="see `ringfence approvals`")
            if row is not None:
                # SECURITY: people repeat what they know of the session; the store has their words first.
                hiding = Hiding(self._opening.secrets, None, self._opening.hidden.of(row.session))
                by, because = hiding.text(by), None if because is None else hiding.text(because)
            refusal = self._refusal(ticket, verdict, by, edited) or _over(row)
            new = (
                _ignored(ticket, by, refusal) if refusal else _answered(ticket, verdict, by, because, edited)
            )
            if new is ticket or (yield from self._swap(ticket, new)):
                break
        if refusal:
            raise DeniedError(
                f"the answer of `{by}` to {ticket_id} has no effect: {refusal}",
                run=ticket.run,
                call=ticket.call,
                help="see `ringfence approvals` for open questions and who may answer",
            )
        if new.status != "open" and self._opening.extensions.withdraws:
            self._opening.loop.submit(self._opening.extensions.withdraw(ticket_id, f"answered by {by}"))
        return new

    def _found(self, ticket_id: str) -> Steps[tuple[Ticket | None, RunRow | None]]:
        """Return a ticket and the row of its run."""
        try:
            found: tuple[Ticket | None, RunRow | None] = yield self._opening.loop.submit(
                self._ticket_and_run(ticket_id)
            )
        except Exception as error:  # fails closed: nothing is approved
            if isinstance(error, EngineError):
                raise
            raise store_error("could not find the ticket", error) from error
        return found

    async def _ticket_and_run(self, ticket_id: str) -> tuple[Ticket | None, RunRow | None]:
        opening = self._opening
        ticket = await opening.in_time(opening.ready.tickets.get(ticket_id))
        if ticket is None:
            return None, None
        try:
            return ticket, await opening.in_time(opening.ready.log.run(ticket.run))
        except Exception as error:  # fails closed: nothing is approved
            raise store_error("could not find the run of the ticket", error) from error

    def _swap(self, old: Ticket, new: Ticket) -> Steps[bool]:
        try:
            swapped: bool = yield self._opening.submit(self._waits.swap(old, new))
        except Exception as error:  # fails closed: nothing is approved
            raise store_error("could not take the answer", error) from error
        return swapped

    def _refusal(
        self, ticket: Ticket, verdict: Answer, by: str, edited: Mapping[str, Json] | None
    ) -> str | None:
        """Return why this answer has no effect; None: it has one."""
        if ticket.status != "open":
            return f"it is {ticket.status} already"
        if ticket.expires_ns is not None and self._opening.clock.now_ns() >= ticket.expires_ns:
            return "its time is over"
        if not self._belongs(by, ticket.group):
            return f"not in the group `{ticket.group}`" if ticket.group else no_group(ticket.approver)
        # SECURITY: another spelling of a name is not another person.
        if ticket.never is not None and same(by, ticket.never):
            return "the requester may not answer"
        if any(same(who, by) and said != "ignored" for who, said, _ in ticket.answers):
            return "a person answers once"
        if edited is not None and verdict == "approve" and ticket.quorum > 1:
            return f"{ticket.quorum} people must see the same arguments: reject it instead of editing it"
        if verdict not in ("approve", "reject"):
            return "an answer is `approve` or `reject`"
        return None

    def _belongs(self, by: str, group: str | None) -> bool:
        return group is not None and by in self._settings.people(group)


def no_group(approver: str) -> str:
    """Say why nobody may answer, and what to write."""
    return (
        f'the approver `{approver}` names no group, so nobody may answer: write `group "NAME"` in its block, '
        "and the people of that group into the settings"
    )


def no_requester(approver: str) -> str:
    """Say why nobody can be shown to be another than the requester."""
    return (
        f"the approver `{approver}` is `never the requester`, and the host did not say on whose behalf the "
        "run acts: begin it with `Principal(user=...)`"
    )


def _answered(
    ticket: Ticket, verdict: Answer, by: str, because: str | None, edited: Mapping[str, Json] | None
) -> Ticket:
    answers = (*ticket.answers, (by, verdict, because))
    if verdict == "reject":
        return replace(ticket, status="rejected", answers=answers)
    people = {face(who) for who, said, _ in answers if said == "approve"}
    met = len(people) >= ticket.quorum
    return replace(ticket, status="approved" if met else "open", answers=answers, edited=edited)


def _ignored(ticket: Ticket, by: str, why: str) -> Ticket:
    if len(ticket.answers) >= _IGNORED_AT_MOST:
        return ticket
    return replace(ticket, answers=(*ticket.answers, (by, "ignored", why)))


def _is_text(said: str) -> bool:
    """Say whether it can stand in the record as it is: a lone surrogate would be described instead."""
    try:
        said.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _edited(edited: Mapping[str, Json], most_bytes: int) -> dict[str, Json]:
    try:
        said = dict(edited)
        size = len(canonical(said))
    except (ValueError, TypeError) as error:
        raise EngineError(
            "edited arguments are a record of JSON values", help='like `{"to": ["ann@acme.example"]}`'
        ) from error
    if size > most_bytes:
        raise EngineError(
            f"the edited arguments are {size} bytes, more than the {most_bytes} of one call",
            help="reject the call instead",
        )
    return said


class BackendAnswers:
    """What approval backends answer through; on the engine's loop."""

    def __init__(self, answering: Answering) -> None:
        self._answering = answering

    async def resolve(
        self,
        ticket: str,
        verdict: Literal["approve", "reject"],
        *,
        by: str,
        because: str | None = None,
        edited: Mapping[str, Json] | None = None,
    ) -> None:
        """See `hookspecs.Answers`."""
        await run_async(self._answering.answer(ticket, verdict, by=by, because=because, edited=edited))


def _over(row: RunRow | None) -> str | None:
    """Return why nobody waits for the answer any more; None: somebody does, or will."""
    if row is None:
        return "its run is not in the log"
    return "its run is over" if row.status in ("done", "failed", "halted") else None
