"""A ticket found, and drawn: who decides must see all of it, and nothing that lies about itself."""

import time
from argparse import Namespace
from collections.abc import Sequence

from ringfence.cli.desk import desk
from ringfence.cli.drawing import duration
from ringfence.cli.exits import CommandError
from ringfence.cli.say import Say
from ringfence.engine.seams.escape import escaped, escaped_json
from ringfence.engine.seams.hookspecs import from_words
from ringfence.engine.seams.ports import Ticket


def known(asked: Namespace) -> Ticket:
    """Return the ticket; refuse an id that is not there, and name those that are open."""
    with desk(asked) as here:
        found = here.ask(here.tickets.get(str(asked.ticket).upper()))
        if found is not None:
            return found
        waiting = [ticket.id for ticket in here.ask(here.tickets.pending())]
    few = ", ".join(waiting[:5]) + (" …" if len(waiting) > 5 else "")
    help = f"open tickets: {few}" if waiting else "no ticket is open"
    raise CommandError(f"there is no ticket `{escaped(asked.ticket)}`", help=help)


def draw(say: Say, ticket: Ticket, people: Sequence[str], *, answers: bool) -> None:
    """Draw a ticket.

    Args:
        people: Who is in the group that may answer.
        answers: Show each answer too, those without effect among them.
    """
    is_open = ticket.status == "open"
    say.line(
        (ticket.id, "bold"),
        f"  {escaped(ticket.tool)}",
        "" if is_open else f"  {ticket.status}",
        (f"  run {escaped(ticket.run)}, call {escaped(ticket.call)}", "dim"),
    )
    # SECURITY: a person decides on what is shown here, so nothing of the arguments is cut.
    for name, value in ticket.arguments.items():
        say.line(f"  {escaped(str(name))} = {escaped_json(value)}")
        if name in ticket.sources:
            say.line((f"    from: {from_words(ticket.sources[name])}", "dim"))
    may = f" ({', '.join(map(escaped, people)) or 'nobody: the settings name no people'})"
    group = f", group {escaped(ticket.group)}{may}" if ticket.group else ""
    never = f", never {escaped(ticket.never)}" if ticket.never else ""
    counted = sum(1 for _, verdict, _ in ticket.answers if verdict != "ignored")
    given = f", {counted} of {ticket.quorum} answers" if ticket.quorum > 1 else ""
    say.line(f"  asks: {escaped(ticket.approver)}{group}{never}{given}")
    if ticket.because:
        say.line(f"  because: {escaped(ticket.because)}")
    if ticket.edited is not None:
        say.line("  approved with other arguments:")
        for name, value in ticket.edited.items():
            say.line(f"    {escaped(str(name))} = {escaped_json(value)}")
    for by, verdict, why in ticket.answers if answers else ():
        said = {"approve": "approved", "reject": "denied", "ignored": "no effect"}.get(verdict, verdict)
        say.line(f"  {escaped(by)}: {escaped(said)}" + (f", {escaped(why)}" if why else ""))
    if is_open and ticket.expires_ns is not None:
        left = ticket.expires_ns - time.time_ns()
        say.line(f"  answer within: {duration(left)}" if left > 0 else "  its time is over")
    if is_open:
        say.line(("  ringfence approve " + ticket.id + " --by NAME", "dim"))
