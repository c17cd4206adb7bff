"""List the questions that wait for people, or show one with its answers, open or not."""

from argparse import ArgumentParser, Namespace

from ringfence.cli.exits import FINE
from ringfence.cli.say import Say


def words(command: ArgumentParser) -> None:
    """Say what the command takes."""
    command.add_argument("ticket", metavar="ID", nargs="?", help="one ticket, also one that is closed")


def run(asked: Namespace, say: Say) -> int:
    """List open tickets, or show one."""
    from ringfence.cli.desk import desk, settings_of
    from ringfence.cli.questions import draw, known
    from ringfence.cli.records import ticket_record

    if asked.ticket is not None:
        tickets = [known(asked)]
    else:
        with desk(asked, reads=True) as here:
            tickets = here.ask(here.tickets.pending())
    settings = settings_of(asked)
    people = [settings.people(ticket.group) if ticket.group else () for ticket in tickets]
    if say.json:
        records = [{**ticket_record(t), "people": list(may)} for t, may in zip(tickets, people, strict=True)]
        say.data(records if asked.ticket is None else records[0])
        return FINE
    if not tickets:
        say.note("nobody is asked anything")
    for ticket, may in zip(tickets, people, strict=True):
        draw(say, ticket, may, answers=asked.ticket is not None)
    return FINE
