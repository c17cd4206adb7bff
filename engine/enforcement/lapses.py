"""A question that nobody answered in time, in a run that is put away: passed on, or the end of its call.

Every step can be done again, for the process may die after each.  So the ticket that brought the caretaker
here is closed last: until then the next one finds it and goes on, and nothing is recorded twice.
"""

import contextlib
from collections.abc import Iterable
from dataclasses import replace

from ringfence.engine.decision.events import ApprovalAnswered
from ringfence.engine.decision.known import KnownCall
from ringfence.engine.enforcement.approvers import chain
from ringfence.engine.enforcement.deciding import release_recorded
from ringfence.engine.enforcement.drive import Steps
from ringfence.engine.enforcement.opening import Opening, store_error
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.enforcement.tickets import Asking, Standing, standing_of
from ringfence.engine.seams.errors import RunHaltedError
from ringfence.engine.seams.ports import Ticket

NOBODY = "nobody answered in time"


class Lapses:
    """Does with a late question what the run would do if it were here."""

    def __init__(self, opening: Opening, asking: Asking) -> None:
        self._opening = opening
        self._asking = asking

    def take(self, run: Run, call: str) -> Steps[None]:
        """Record which questions of a call are past their time, and what becomes of it.

        Whoever calls holds the lease of the run's session, and makes the record durable.
        """
        tickets = yield from self._asking.of_call(run, call)
        now_ns = run.now_ns()
        late = [ticket for ticket in tickets if is_late(ticket, now_ns)]
        if not late:
            return
        known = run.state.calls.get(call)
        if known is not None:
            self._asking.observe(run, call, known.tool, tickets)
            self._expire(run, known, tickets, late)
            left_ns = run.remaining_ns(run.now_ns())
            if left_ns is not None and left_ns <= 0:
                run.time_is_up()
            elif known.started_ns is None:
                yield from self._go_on(run, known, tickets, late)
        yield from self._opening.durable(run=run.id)
        for ticket in late:
            said = yield from self._close(run, ticket)
            if known is not None and said == "rejected" and run.state.halted is None:
                yield from self._refuse(run, known, "a person said no", "refused")

    def _expire(self, run: Run, known: KnownCall, tickets: Iterable[Ticket], late: Iterable[Ticket]) -> None:
        ids, stored = {ticket.id for ticket in late}, {ticket.id for ticket in tickets}
        for one in known.tickets:
            if one.answer is None and one.id in ids:
                run.append(ApprovalAnswered(known.key, one.id, "expire", None, None, None))
            elif one.answer is None and one.id not in stored:  # whoever recorded it died before it was shown
                run.append(ApprovalAnswered(known.key, one.id, "withdraw", None, None, "it was never shown"))

    def _go_on(self, run: Run, known: KnownCall, tickets: list[Ticket], late: list[Ticket]) -> Steps[None]:
        standing = _standing(run, known, tickets, late)
        if standing.edited is not None:
            return  # the call comes back as another one, which is decided anew
        refused, because = standing.refused, standing.because
        if refused is None:
            for approver in standing.missing:
                about = next((t for t in late if approver in chain(run.plan, t.approver)), late[-1])
                try:
                    put = yield from self._asking.put(run, approver, about)
                except RunHaltedError:  # one question more than the policy allows: the run is over
                    return
                if isinstance(put, str):
                    refused, because = put, "expired"
                    break
            for ticket in standing.waiting:  # whoever opened it may have died before anybody was told
                yield from self._asking.show(run, ticket)
        if refused is not None:
            yield from self._refuse(run, known, refused, because)

    def _refuse(self, run: Run, known: KnownCall, refused: str, because: str) -> Steps[None]:
        """Give back what the call holds; made again, it is refused by what its tickets say."""
        self._asking.withdraw(run, known.key, refused)
        names = release_recorded(run, known.key, because)
        yield from self._opening.durable(run=run.id)
        for name in names:
            try:
                yield self._opening.submit(self._opening.ready.ledger.refund(name))
            except Exception as error:  # fails closed: it stays taken, and is given back the next time
                raise store_error("could not give back a reservation", error, run=run.id) from error

    def _close(self, run: Run, late: Ticket) -> Steps[str]:
        """Close a ticket that is recorded as expired; return what it says then."""
        while True:
            try:
                ticket: Ticket | None = yield self._opening.submit(self._opening.ready.tickets.get(late.id))
            except Exception as error:  # fails closed: nobody may answer it any more
                raise store_error("could not find a question", error, run=run.id) from error
            # SECURITY: approved this moment, by a clock that is behind: what is recorded stands.
            if ticket is None or ticket.status not in ("open", "approved"):
                return "gone" if ticket is None else ticket.status
            if (yield from self._asking.swap(run, ticket, replace(ticket, status="expired"))):
                with contextlib.suppress(Exception):  # a backend that shows it still is told when answered
                    yield self._opening.loop.submit(self._opening.extensions.withdraw(late.id, NOBODY))
                return "expired"


def is_late(ticket: Ticket, now_ns: int) -> bool:
    """Say whether a question is open, and past its time."""
    return ticket.status == "open" and ticket.expires_ns is not None and now_ns >= ticket.expires_ns


def _standing(run: Run, known: KnownCall, tickets: list[Ticket], late: list[Ticket]) -> Standing:
    digest = late[-1].digest
    carried = {
        t.approver: t
        for t in tickets
        if t.edited is not None and t.status == "approved" and t.digest != digest
    }
    return standing_of(
        run.plan,
        known.asks,
        digest,
        [replace(t, status="expired") if t in late else t for t in tickets],
        carried=carried,
        edits=frozenset(t.id for t in carried.values()),
        now_ns=run.now_ns(),
    )
