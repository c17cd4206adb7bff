"""Answering a ticket from a process that runs no agent: the guard's own rules, without a policy or a run."""

import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping
from pathlib import Path

from ringfence._assembly import SystemClock
from ringfence._builtins import builtins
from ringfence.cli.desk import settings_of, without_sinks_and_backends
from ringfence.cli.exits import FINE, PENDING, REFUSED, CommandError
from ringfence.cli.questions import known
from ringfence.cli.records import ticket_record
from ringfence.cli.say import Say
from ringfence.dsl.canonical import canonical, loads_strict
from ringfence.dsl.plan import Json
from ringfence.engine.enforcement.answers import Answering
from ringfence.engine.enforcement.drive import run_sync
from ringfence.engine.enforcement.opening import Opening
from ringfence.engine.enforcement.waits import Waits
from ringfence.engine.seams.dispatch import Extensions
from ringfence.engine.seams.errors import DeniedError, EngineError
from ringfence.engine.seams.escape import escaped, escaped_json
from ringfence.engine.seams.hookspecs import Answer
from ringfence.engine.seams.loop import EngineLoop
from ringfence.engine.seams.ports import Ticket
from ringfence.engine.seams.settings import Settings


def answer(asked: Namespace, say: Say, verdict: Answer) -> int:
    """Answer one ticket; 2 if the answer has no effect, 4 if more people must answer."""
    edited = edited_arguments(asked)
    asked_about = known(asked)
    if edited is not None and not say.json:
        for line in changes(asked_about.arguments, edited):
            say.note(line)
    try:
        ticket = _answered(
            settings_of(asked), asked_about.id, verdict, by=asked.by, because=asked.because, edited=edited
        )
    except DeniedError as error:
        raise CommandError(str(error), help=error.help or "", code=REFUSED) from error
    except EngineError as error:
        raise CommandError(str(error), help=error.help or "") from error
    if say.json:
        say.data(ticket_record(ticket))
    elif ticket.status == "open":
        given = sum(1 for _, said, _ in ticket.answers if said == "approve")
        say.line(f"{ticket.id}: taken, {given} of {ticket.quorum} people have approved")
    else:
        say.line(f"{ticket.id}: ", (ticket.status, "green" if ticket.status == "approved" else "red"))
        say.note(f"{escaped(ticket.tool)} of run {ticket.run}, call {ticket.call}")
    return PENDING if ticket.status == "open" else FINE


def edited_arguments(asked: Namespace) -> dict[str, Json] | None:
    """Return the arguments that the command line puts in the place of those asked; None: it does not."""
    text, file = getattr(asked, "edit", None), getattr(asked, "edit_file", None)
    if file is not None:
        try:
            text = sys.stdin.read() if file == "-" else Path(file).read_text("utf-8")
        except (OSError, UnicodeError) as error:
            raise CommandError(f"cannot read {escaped(file)}: {error}", help="name a file of JSON") from error
    if text is None:
        return None
    try:
        edited = loads_strict(text)
    except (ValueError, RecursionError) as error:
        raise CommandError(
            f"the edited arguments are no JSON: {escaped(str(error))}", help=_OBJECT
        ) from error
    if not isinstance(edited, dict):
        raise CommandError("the edited arguments are no JSON object", help=_OBJECT)
    return edited


_OBJECT = """write all arguments, like `--edit '{"to": ["ann@acme.example"]}'`"""


def changes(old: Mapping[str, Json], new: Mapping[str, Json]) -> Iterator[str]:
    """Say, line by line and escaped, what an edit changes."""
    for name in dict.fromkeys((*old, *new)):
        if name not in new:
            yield f"{escaped(name)}: left out, was {escaped_json(old[name])}"
        elif name not in old:
            yield f"{escaped(name)}: new, {escaped_json(new[name])}"
        elif canonical(old[name]) != canonical(new[name]):
            yield f"{escaped(name)}: {escaped_json(new[name])}, was {escaped_json(old[name])}"


def _answered(
    settings: Settings,
    ticket_id: str,
    verdict: Answer,
    *,
    by: str,
    because: str | None,
    edited: Mapping[str, Json] | None,
) -> Ticket:
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
            ticket_id, verdict, by=by, because=because, edited=edited
        )
        return run_sync(steps, loop)
    finally:
        run_sync(opening.close(), loop)
        loop.close()
