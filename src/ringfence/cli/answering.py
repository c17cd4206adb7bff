"""Answering a ticket from a process that runs no agent: the guard's own rules, without a policy or a run."""

from argparse import Namespace

from ringfence._assembly import SystemClock, builtins
from ringfence.cli.desk import desk, settings_of, without_sinks_and_backends
from ringfence.cli.exits import FINE, PENDING, REFUSED, CommandError
from ringfence.cli.records import ticket_record
from ringfence.cli.say import Say
from ringfence.engine.enforcement.answers import Answering
from ringfence.engine.enforcement.drive import run_sync
from ringfence.engine.enforcement.opening import Opening
from ringfence.engine.enforcement.waits import Waits
from ringfence.engine.seams.dispatch import Extensions
from ringfence.engine.seams.errors import DeniedError
from ringfence.engine.seams.escape import escaped
from ringfence.engine.seams.hookspecs import Answer
from ringfence.engine.seams.loop import EngineLoop
from ringfence.engine.seams.ports import Ticket
from ringfence.engine.seams.settings import Settings


def answer(asked: Namespace, say: Say, verdict: Answer) -> int:
    """Answer one ticket; 2 if the answer has no effect, 4 if more people must answer."""
    ticket_id = _known(asked)
    try:
        ticket = _answered(settings_of(asked), ticket_id, verdict, by=asked.by, because=asked.because)
    except DeniedError as error:
        raise CommandError(str(error), help=error.help or "", code=REFUSED) from error
    if say.json:
        say.data(ticket_record(ticket))
    elif ticket.status == "open":
        given = sum(1 for _, said, _ in ticket.answers if said == "approve")
        say.line(f"{ticket.id}: taken, {given} of {ticket.quorum} people have approved")
    else:
        say.line(f"{ticket.id}: ", (ticket.status, "green" if ticket.status == "approved" else "red"))
        say.note(f"{escaped(ticket.tool)} of run {ticket.run}, call {ticket.call}")
    return PENDING if ticket.status == "open" else FINE


def _known(asked: Namespace) -> str:
    """Return the ticket's id; refuse one that is not there, and name those that are open."""
    ticket_id = str(asked.ticket).upper()
    with desk(asked) as here:
        if here.ask(here.tickets.get(ticket_id)) is not None:
            return ticket_id
        waiting = [ticket.id for ticket in here.ask(here.tickets.pending())]
    few = ", ".join(waiting[:5]) + (" …" if len(waiting) > 5 else "")
    help = f"open tickets: {few}" if waiting else "no ticket is open"
    raise CommandError(f"there is no ticket `{asked.ticket}`", help=help)


def _answered(settings: Settings, ticket_id: str, verdict: Answer, *, by: str, because: str | None) -> Ticket:
    # Sinks and backends belong to the process that runs the agent: it sees the answer and tells them.
    extensions = Extensions.assemble(without_sinks_and_backends(settings), builtins=builtins())
    loop = EngineLoop()
    opening = Opening(
        loop=loop,
        clock=SystemClock(),
        settings=settings,
        extensions=extensions,
        store=lambda: extensions.open_store(settings.store),
    )
    try:
        steps = Answering(opening, Waits(opening), settings).answer(
            ticket_id, verdict, by=by, because=because
        )
        return run_sync(steps, loop)
    finally:
        run_sync(opening.close(), loop)
        loop.close()
