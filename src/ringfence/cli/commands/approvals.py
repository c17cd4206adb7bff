"""List the questions that wait for people."""

from argparse import ArgumentParser, Namespace

from ringfence.cli.exits import FINE
from ringfence.cli.say import Say


def words(command: ArgumentParser) -> None:
    """Say what the command takes."""


def run(asked: Namespace, say: Say) -> int:
    """List open tickets."""
    import time

    from ringfence.cli.desk import desk
    from ringfence.cli.drawing import duration
    from ringfence.cli.records import ticket_record
    from ringfence.engine.seams.escape import escaped, escaped_json
    from ringfence.engine.seams.hookspecs import from_words

    with desk(asked) as here:
        tickets = here.ask(here.tickets.pending())
        people = {ticket.id: here.settings.people(ticket.group) if ticket.group else () for ticket in tickets}
    now_ns = time.time_ns()
    if say.json:
        say.data([{**ticket_record(ticket), "people": list(people[ticket.id])} for ticket in tickets])
        return FINE
    if not tickets:
        say.note("nobody is asked anything")
    for ticket in tickets:
        say.line(
            (ticket.id, "bold"),
            f"  {escaped(ticket.tool)}",
            (f"  run {ticket.run}, call {ticket.call}", "dim"),
        )
        # SECURITY: a person decides on what is shown here, so nothing of the arguments is cut.
        for name, value in ticket.arguments.items():
            say.line(f"  {escaped(str(name))} = {escaped_json(value)}")
            if name in ticket.sources:
                say.line((f"    from: {from_words(ticket.sources[name])}", "dim"))
        may = f" ({', '.join(map(escaped, people[ticket.id])) or 'nobody: the settings name no people'})"
        group = f", group {escaped(ticket.group)}{may}" if ticket.group else ""
        never = f", never {escaped(ticket.never)}" if ticket.never else ""
        given = f", {len(ticket.answers)} of {ticket.quorum} answers" if ticket.quorum > 1 else ""
        say.line(f"  asks: {escaped(ticket.approver)}{group}{never}{given}")
        if ticket.because:
            say.line(f"  because: {escaped(ticket.because)}")
        if ticket.expires_ns is not None:
            left = ticket.expires_ns - now_ns
            say.line(f"  answer within: {duration(left)}" if left > 0 else "  its time is over")
        say.line(("  ringfence approve " + ticket.id + " --by NAME", "dim"))
    return FINE
