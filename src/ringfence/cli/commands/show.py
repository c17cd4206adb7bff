"""Show a run: each prompt, model answer and tool call, its decision, rule and place, latency and error.

RUN is a run's id, the beginning of one, or `last`.  With --html the run becomes a page for a browser, in one
file: it loads nothing, runs nothing, and may be sent to others as it is.
"""

from argparse import ArgumentParser, Namespace

from ringfence.cli import selecting
from ringfence.cli.exits import FINE
from ringfence.cli.say import COLOURS, Say


def words(command: ArgumentParser) -> None:
    """Say what the command takes."""
    selecting.run_word(command)
    command.add_argument(
        "--html", metavar="FILE", help="write one page of HTML there instead; `-` is the standard output"
    )


def run(asked: Namespace, say: Say) -> int:
    """Show one run."""
    if asked.html is not None:
        return _page(asked, say)
    from ringfence.cli.desk import desk
    from ringfence.cli.drawing import count, duration, moment, step_lines
    from ringfence.cli.find import find_run
    from ringfence.cli.history import history, readable
    from ringfence.cli.records import run_record, step_record
    from ringfence.engine.seams.escape import escaped

    with desk(asked, reads=True) as here:
        row = find_run(here, asked.run)
        record = history(here, row.run)
    with readable(row.run):
        steps = record.steps
        lines = [line for step in steps for line in step_lines(step, start_ns=row.started_ns)]
        began, took = moment(row.started_ns), f"{duration(row.last_ns - row.started_ns)}, "
    if record.purged:
        took = ""  # the purge is the last event of the run, and no part of what it did
    if say.json:
        say.data(
            {"run": run_record(row), "gone": record.gone, "steps": [step_record(step) for step in steps]}
        )
        return FINE
    user = f", user {escaped(row.user)}" if row.user else ""
    workspace = f", workspace {escaped(row.workspace)}" if row.workspace else ""
    say.line(
        (row.run, "bold"), f": agent {escaped(row.agent)}{user}{workspace}, ",
        (row.status, COLOURS.get(row.status, "")),
    )  # fmt: skip
    # A row of the list may say anything of its run.
    events = count(row.events, "event") if isinstance(row.events, int) else f"{row.events} events"
    say.line(
        (
            f"policy {escaped(row.policy)}, session {escaped(row.session)}, {began}, {took}{events}",
            "dim",
        )
    )
    say.line()
    for line in lines:
        say.line(*line)
    if record.gone:
        say.note("its process is gone, and so is what it had not yet recorded: what it did last is not known")
    if record.purged:
        say.note(f"of {count(len(record.purged), 'event')} the body was purged")
    return FINE


def _page(asked: Namespace, say: Say) -> int:
    """Write one run as a page of HTML."""
    import sys

    from ringfence import __version__
    from ringfence.cli.desk import desk
    from ringfence.cli.drawing import count
    from ringfence.cli.exits import CommandError
    from ringfence.cli.find import find_run
    from ringfence.cli.page.drawing import drawn
    from ringfence.cli.page.filing import file_page, writable
    from ringfence.cli.page.pages import page_of
    from ringfence.cli.records import run_record
    from ringfence.engine.seams.escape import escaped

    if asked.html == "-" and say.json:
        raise CommandError(
            "--html - and --json would both write to the standard output", help="name a file: --html FILE"
        )
    path = None if asked.html == "-" else writable(asked.html)
    with desk(asked, reads=True) as here:
        row = find_run(here, asked.run)
        page = page_of(here, row, made=f"made by ringfence {__version__} from the log; it is not the log")
    document = drawn(page)
    if path is None:
        sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]  # the page says it is
        sys.stdout.write(document)
        return FINE
    file_page(path, document)
    cut = [*page.cut, *(said for one in page.sections for said in one.cut)]
    if say.json:
        said = [{"run": one.run, "steps": len(one.steps), "intact": one.intact} for one in page.sections]
        size = len(document.encode())
        say.data({"run": run_record(row), "file": str(path), "bytes": size, "shown": said, "cut": cut})
        return FINE
    say.line(f"{escaped(str(path))}: {count(len(page.sections[0].steps), 'step')} of run {escaped(row.run)}")
    for one in cut:
        say.note(one)
    return FINE
