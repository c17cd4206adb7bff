"""Asking people about one call: open questions durably, wait or put away, decide again with the answers."""

import asyncio
import contextlib
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from ringfence.dsl.plan import Json, Plan, Verdict
from ringfence.engine.decision.calls import ToolCall, call_digest
from ringfence.engine.decision.events import ApprovalAnswered, ApprovalAsked
from ringfence.engine.enforcement import ledger, replies
from ringfence.engine.enforcement.answers import no_group, no_requester
from ringfence.engine.enforcement.approvers import chain
from ringfence.engine.enforcement.deciding import judge, release, release_recorded
from ringfence.engine.enforcement.drive import Steps
from ringfence.engine.enforcement.opening import Opening, store_error
from ringfence.engine.enforcement.requests import keeps_digests_only, keyed
from ringfence.engine.enforcement.runs import Held, Run
from ringfence.engine.enforcement.sources import sources_of
from ringfence.engine.enforcement.waits import Followed, Waits
from ringfence.engine.seams.errors import EngineError, PendingError
from ringfence.engine.seams.hookspecs import Answers, Question
from ringfence.engine.seams.ports import Ticket, TicketStore

_LETTERS: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's base 32: five bits each."""


@dataclass(slots=True)
class Standing:
    """Where the questions of one call stand."""

    approved: dict[str, Ticket]
    """By the approver that the decision asks."""
    waiting: list[Ticket]
    missing: list[str]
    """Approvers that must still be asked."""
    late: list[Ticket]
    """Open, and past their time."""
    refused: str | None = None
    because: str = "refused"
    """For the record of the refund."""
    edited: Ticket | None = None


class Asking:
    """Holds calls until people have answered."""

    def __init__(self, opening: Opening, waits: Waits, answers: Answers) -> None:
        self._opening = opening
        self._waits = waits
        self._answers = answers

    def approval(self, run: Run, held: Held, *, wait: bool, ahead: bool = False) -> Steps[Held]:
        """Return the call once it is allowed; its reservation is held meanwhile.

        Args:
            ahead: The framework has not made the call yet: return it as soon as everybody has answered, to
                be decided with their answers when it is made.

        Raises:
            PendingError: `wait` is False and questions are open; everything stays as it is.
            DeniedError: Refused, expired, withdrawn, or denied when it was decided again.
        """
        # INVARIANT: a ticket is stored only after its `ApprovalAsked`: a call without one has no tickets.
        none = not run.state.calls[held.key].tickets
        followed = self._waits.follow(run.id, held.key, [] if none else None)
        try:
            held.answered = False
            while held.decision.verdict is Verdict.ASK and not held.answered:
                held = yield from self._step(run, held, followed, wait=wait, ahead=ahead)
        except PendingError:
            raise
        except BaseException:  # refused, cancelled, halted or broken: nothing stays open or taken
            self.withdraw(run, held.key, "the call is over")
            release(run, held, "withdrawn")
            raise
        finally:
            self._waits.leave(followed)
        if held.decision.verdict < Verdict.ASK:
            raise replies.refusal(run, held)
        return held

    def _step(self, run: Run, held: Held, followed: Followed, *, wait: bool, ahead: bool) -> Steps[Held]:
        if run.state.halted is not None or run.ended:
            raise run.over()
        tickets = followed.tickets
        if tickets is None:
            self._waits.asks(followed)
            found = yield from self.of_call(run, held.key)
            tickets = self._waits.read(followed, found)
        self.observe(run, held.key, held.call.tool, tickets)
        standing = standing_of(
            run.plan,
            held.decision.asks,
            call_digest(held.call.tool, held.decision.arguments),
            tickets,
            carried={ticket.approver: ticket for ticket in held.tickets if ticket.edited is not None},
            edits=held.edits,
            now_ns=run.now_ns(),
        )
        if standing.late:
            followed.tickets = None  # somebody may have answered one of them just now
            yield from self._expire(run, standing.late)
            return held
        if standing.edited is not None:
            followed.tickets = None
            return (yield from self._edited(run, held, standing.edited, tickets))
        if standing.refused is not None:
            self.withdraw(run, held.key, standing.refused)
            release(run, held, standing.because)
            raise replies.rejected(run, held, standing.refused)
        if standing.missing:
            for approver in standing.missing:
                self._waits.opened(followed, (yield from self._open(run, held, approver)))
            return held
        if not standing.waiting and ahead:
            held.answered = True
            return held
        if not standing.waiting:
            return (yield from self._again(run, held, standing.approved))
        if not wait:
            ids = [ticket.id for ticket in standing.waiting]
            raise PendingError(
                f"`{held.call.tool}` waits for people: {', '.join(ids)}",
                tickets=ids,
                decision=held.decision,
                run=run.id,
                call=held.key,
                help=f"answer with `ringfence approve {ids[0]} --by NAME`, or deny it",
            )
        news = self._waits.enter(run, followed, standing.waiting)
        try:
            yield news
        finally:
            self._waits.go_on(run, followed)
        return held

    # ---- questions ---------------------------------------------------------------------------------

    def of_call(self, run: Run, call: str) -> Steps[list[Ticket]]:
        """Return the tickets of a call, by its key, oldest first."""
        try:
            found: list[Ticket] = yield self._opening.submit(
                self._opening.ready.tickets.of_call(run.id, call)
            )
        except Exception as error:  # fails closed: without answers nothing is approved
            raise store_error("could not say who approved", error, run=run.id) from error
        return found

    def _open(self, run: Run, held: Held, approver: str) -> Steps[Ticket]:
        plan, decision = run.plan, held.decision
        because = _because(run, held, approver)
        put = yield from self.put(
            run,
            approver,
            Ticket(
                id="",
                run=run.id,
                call=held.key,
                tool=plan.by_bound_name[held.call.tool].name,
                arguments=_shown(run, held),
                digest=call_digest(held.call.tool, decision.arguments),
                policy_digest=plan.digest,
                approver=approver,
                group=None,
                quorum=1,
                never=None,
                because=None if because is None else run.hide(because),
                asked_ns=0,
                expires_ns=None,
                sources=sources_of(run, held),
            ),
        )
        if isinstance(put, str):
            raise replies.rejected(run, held, put)
        return put

    def put(self, run: Run, approver: str, about: Ticket) -> Steps[Ticket | str]:
        """Put the question of `about` to an approver: record it, make it durable, and only then show it.

        Returns:
            The ticket; or why nobody may answer it: then it is recorded as withdrawn, and shown to nobody.

        Raises:
            RunHaltedError: It would be one more than the policy says.
        """
        asked = run.plan.approvers[approver]
        requester = run.state.principal.get("user")
        with run.lock:
            _cap(run, about.call, approver)
            now_ns = run.now_ns()
            ticket = replace(
                about,
                id=_drawn(),
                approver=approver,
                group=asked.group,
                quorum=asked.quorum,
                never=requester if asked.never_requester else None,
                asked_ns=now_ns,
                expires_ns=None if asked.within_ns is None else now_ns + asked.within_ns,
                status="open",
                answers=(),
                edited=None,
            )
            run.append(ApprovalAsked(about.call, ticket.id, approver, ticket.expires_ns), at_ns=now_ns)
            # SECURITY: a question that nobody may answer is not shown to anybody: the call is refused.
            nobody = no_group(approver) if asked.group is None else None
            if asked.never_requester and requester is None:
                nobody = no_requester(approver)
            if nobody is not None:
                run.append(ApprovalAnswered(about.call, ticket.id, "withdraw", None, None, nobody))
                return nobody
            run.unasked[ticket.id] = asyncio._get_running_loop()
        try:
            yield from self._opening.durable(run=run.id)
            try:
                yield self._opening.submit(self._opening.ready.tickets.open(ticket))
            except Exception as error:  # fails closed: a question that is not durable is not asked
                raise store_error("could not keep the question", error, run=run.id) from error
        finally:
            del run.unasked[ticket.id]
        yield from self.show(run, ticket)
        return ticket

    def show(self, run: Run, ticket: Ticket) -> Steps[None]:
        """Tell the backends of a question that is in the store."""
        extensions = self._opening.extensions
        if extensions.asks(ticket.group):
            yield self._opening.loop.submit(extensions.ask(question_of(ticket, run), self._answers))

    def _expire(self, run: Run, late: Iterable[Ticket]) -> Steps[None]:
        for ticket in late:
            if (yield from self.swap(run, ticket, replace(ticket, status="expired"))):
                run.append(ApprovalAnswered(ticket.call, ticket.id, "expire", None, None, None))
                self._opening.loop.submit(self._opening.extensions.withdraw(ticket.id, "nobody answered"))

    def swap(self, run: Run, old: Ticket, new: Ticket) -> Steps[bool]:
        """Change a ticket in the store; False: it is another by now."""
        try:
            swapped: bool = yield self._opening.submit(self._waits.swap(old, new))
        except Exception as error:  # fails closed: what the ticket says now is not known
            raise store_error("could not change a question", error, run=run.id) from error
        return swapped

    def withdraw(self, run: Run, key: str, because: str, *, keep: frozenset[str] = frozenset()) -> None:
        """Take the open questions of a call back, but those to `keep`; who still answers changes nothing."""
        known = run.state.calls.get(key)
        for ticket in known.tickets if known is not None else ():
            if ticket.answer is None and ticket.id not in keep:
                # A broken log starts nothing; the ticket is closed anyway.
                with contextlib.suppress(EngineError):
                    run.append(ApprovalAnswered(key, ticket.id, "withdraw", None, None, because))
                self._opening.loop.submit(self._withdrawn(ticket.id, because))

    def withdraw_all(self, run: Run, because: str, *, waiting_too: bool = False) -> None:
        """Take back every open question that nobody waits for in place, and what its call holds.

        Args:
            waiting_too: Also those that somebody waits for.
        """
        with run.lock:
            held = run.take_those(lambda one: one.decision.verdict is Verdict.ASK)
            keys = {one.key for one in held}
            over = [
                key
                for key in sorted({ticket.call for ticket in run.state.open_tickets.values()})
                if waiting_too or key in keys or not run.waiting
            ]
            for key in over:
                self.withdraw(run, key, because)
            for one in held:
                release(run, one, "withdrawn")
            for key in over:
                release_withdrawn(run, key)

    async def _withdrawn(self, ticket_id: str, because: str) -> None:
        tickets = self._opening.ready.tickets
        while (ticket := await tickets.get(ticket_id)) is not None and ticket.status in ("open", "approved"):
            if await self._waits.swap(ticket, replace(ticket, status="withdrawn")):
                await self._opening.extensions.withdraw(ticket_id, because)
                return

    # ---- answers -----------------------------------------------------------------------------------

    def observe(self, run: Run, call: str, tool: str, tickets: Iterable[Ticket]) -> None:
        """Record the answers to a call's tickets that the record does not have yet."""
        for ticket in tickets:
            with run.lock:
                for who, verdict, why in ticket.answers[run.answers_seen.get(ticket.id, 0) :]:
                    edited = (
                        dict(ticket.edited) if ticket.edited is not None and verdict == "approve" else None
                    )
                    if edited is not None and keeps_digests_only(run, tool):
                        edited = keyed(run, edited)
                    run.append(ApprovalAnswered(call, ticket.id, verdict, who, edited, why))

    def observe_all(self, run: Run) -> Steps[None]:
        """Do so for every call of a run that ends: who answered too late stands in its record, too."""
        asked = [known for known in tuple(run.state.calls.values()) if known.tickets]
        if not asked:
            return
        opening, tickets = self._opening, self._opening.ready.tickets

        async def look() -> list[list[Ticket]]:
            return [await opening.in_time(tickets.of_call(run.id, known.key)) for known in asked]

        try:
            found: list[list[Ticket]] = yield opening.loop.submit(look())
        except Exception as error:  # fails closed: whoever ends the run says what becomes of it
            raise store_error("could not say who approved", error, run=run.id) from error
        for known, its in zip(asked, found, strict=True):
            self.observe(run, known.key, known.tool, its)

    def _again(self, run: Run, held: Held, approved: dict[str, Ticket]) -> Steps[Held]:
        """Decide once more, with the exact arguments and the answers; time has passed."""
        editors = [ticket for ticket in held.tickets if ticket.edited is not None]
        tickets = tuple({ticket.id: ticket for ticket in (*editors, *approved.values())}.values())
        approved_by = {
            ticket.approver: tuple(who for who, verdict, _ in ticket.answers if verdict == "approve")
            for ticket in tickets
        }
        exactly = call_digest(held.call.tool, held.decision.arguments)
        yield from run.turnstile.turn()
        try:
            held = yield from judge(
                run, held.key, held.call, approved_by=approved_by, held=held, exactly=exactly
            )
        finally:
            run.turnstile.leave()
        held.tickets = tickets
        return held

    def _edited(self, run: Run, held: Held, ticket: Ticket, tickets: Iterable[Ticket]) -> Steps[Held]:
        """Decide the edited call from the start; of the approvals, only the editor's carries over.

        After a resume this is done again: the questions that are about the edited call stay open.
        """
        assert ticket.edited is not None
        anew = run.plan.by_bound_name[held.call.tool].name, dict(ticket.edited)
        keep = frozenset(t.id for t in tickets if (t.tool, dict(t.arguments)) == anew)
        self.withdraw(run, held.key, "the arguments were edited", keep=keep)
        release(run, held, "withdrawn")
        editor = next(who for who, verdict, _ in ticket.answers if verdict == "approve")
        call: ToolCall = held.call._replace(arguments=dict(ticket.edited))
        yield from run.turnstile.turn()
        try:
            new = yield from judge(
                run, held.key, call, approved_by={ticket.approver: (editor,)}, anew=f"/{ticket.id}"
            )
        finally:
            run.turnstile.leave()
        new.tickets, new.edits = (ticket,), held.edits | {ticket.id}
        return new


def _drawn() -> str:
    number = secrets.randbits(40)  # one question to the system, not one for each letter
    return "T-" + "".join(_LETTERS[number >> bits & 31] for bits in range(0, 40, 5))


async def take_back(tickets: TicketStore, ticket: Ticket) -> None:
    """Close an open question of a run that is over; who has answered it without effect changes nothing."""
    left: Ticket | None = ticket
    while left is not None and left.status == "open":
        if await tickets.swap(left, replace(left, status="withdrawn")):
            return
        left = await tickets.get(ticket.id)


def release_withdrawn(run: Run, call: str) -> None:
    """Give back what a call holds whose questions were taken back, put away and not made again or not."""
    with contextlib.suppress(EngineError):  # fails closed: without its record the reservation stays taken
        for name in release_recorded(run, call, "withdrawn"):
            ledger.refund_later(run.opening, name)


def standing_of(
    plan: Plan,
    asks: Iterable[str],
    digest: str,
    tickets: list[Ticket],
    *,
    carried: Mapping[str, Ticket],
    edits: frozenset[str],
    now_ns: int,
) -> Standing:
    """Say where the questions about exactly this call stand.

    Args:
        digest: Of the call as it was decided last.
        carried: By approver, the tickets whose edited arguments it has: who edited has approved them.
        edits: The tickets whose edited arguments have been taken.
    """
    standing = Standing({}, [], [], [])
    # Whoever is asked now: after a resume the call comes with its first arguments, and is edited again.
    standing.edited = next(
        (
            t
            for t in tickets
            if t.status == "approved"
            and t.edited is not None
            and t.id not in edits
            and t.digest == digest
            and t.policy_digest == plan.digest
        ),
        None,
    )
    for approver in asks:
        for name in chain(plan, approver):
            if name in carried:
                standing.approved[approver] = carried[name]
                break
            ticket = next(
                (
                    t
                    for t in reversed(tickets)
                    # SECURITY: who edited the arguments has not approved the ones that were asked.
                    if t.approver == name
                    and t.edited is None
                    and t.digest == digest
                    and t.policy_digest == plan.digest
                ),
                None,
            )
            if ticket is None:
                standing.missing.append(name)
                break
            if _place(standing, approver, ticket, now_ns):
                break
        else:
            standing.refused, standing.because = "nobody answered in time", "expired"
    return standing


def _cap(run: Run, call: str, approver: str) -> None:
    """Halt a run instead of asking once more than its policy says, where a question is passed on."""
    asked = run.state.calls[call].approvers_asked
    one: Run | None = run
    while one is not None:
        limit = one.state.agent.requests if one.state.agent is not None else None
        if limit is not None and approver not in asked and one.state.requests >= limit.at_most:
            one.halt(limit.reason, by=None, detail=None)
            raise run.over()
        one = one.parent


def _place(standing: Standing, approver: str, ticket: Ticket, now_ns: int) -> bool:
    """Put one ticket where it belongs; return False if the question is passed on."""
    match ticket.status:
        case "open" if ticket.expires_ns is not None and now_ns >= ticket.expires_ns:
            standing.late.append(ticket)
        case "open":
            standing.waiting.append(ticket)
        case "approved":
            standing.approved[approver] = ticket
        case "expired":
            return False
        case "rejected":
            standing.refused = "a person said no"
        case "withdrawn":
            standing.refused, standing.because = "the question was withdrawn", "withdrawn"
        case _:
            standing.refused = "the approval was used before"
    return True


def _shown(run: Run, held: Held) -> dict[str, Json]:
    """Return the arguments as people are shown them, and as the store keeps them: nothing secret in them."""
    arguments = dict(held.decision.arguments)
    return arguments if run.hiding is None else run.hiding.value(arguments)


def _because(run: Run, held: Held, approver: str) -> str | None:
    """Return why this approver is asked: the words of the rules that ask it, or pass a question on to it."""
    plan, reasons = run.plan, held.decision.reasons
    said = {(r.name.removesuffix("!error"), r.place): r.because for r in reasons if r.effect == "ask"}
    for clause in plan.by_bound_name[held.call.tool].asks:
        because = said.get((clause.name, clause.place))
        if because and clause.approver and approver in chain(plan, clause.approver):
            return because
    return None


def question_of(ticket: Ticket, run: Run) -> Question:
    """Return the ticket as it is shown to people."""
    return Question(
        ticket=ticket.id,
        run=ticket.run,
        agent=run.agent,
        tool=ticket.tool,
        arguments=ticket.arguments,
        approver=ticket.approver,
        group=ticket.group,
        because=ticket.because,
        requester=run.principal.user,
        asked_ns=ticket.asked_ns,
        expires_ns=ticket.expires_ns,
        sources=ticket.sources,
    )
