"""Check the log's hash chains: any edit, deletion, insertion, reordering; with --head, truncation as well.

Without RUN the whole log is checked, and its head is printed: note it down elsewhere, and give it as
--head the next time.  With --witness nothing need be noted: the log is compared with what a guard has signed.
"""

from argparse import ArgumentParser, Namespace

from ringfence.cli import selecting
from ringfence.cli.exits import FINE, REFUSED
from ringfence.cli.say import Say


def words(command: ArgumentParser) -> None:
    """Say what the command takes."""
    selecting.only_run_word(command)
    command.add_argument(
        "--head", metavar="H", help="a head printed earlier: POSITION:HASH of the log, or the HASH of a run"
    )
    command.add_argument(
        "--witness",
        metavar="FILE",
        help="the file of the sink `witness`: the log must hold all that it names",
    )
    command.add_argument(
        "--key", metavar="PUBLIC", help="with --witness: the public key (PEM) of who signed it"
    )


def run(asked: Namespace, say: Say) -> int:
    """Verify; 2 if anything was changed."""
    from dataclasses import asdict

    from ringfence.cli.desk import desk
    from ringfence.cli.drawing import count
    from ringfence.cli.find import find_run
    from ringfence.cli.verifying import head_of_log, head_of_run, verify_one, verify_whole, witness_of
    from ringfence.engine.seams.escape import escaped

    known_run = head_of_run(asked.head) if asked.run and asked.head else None
    known_log = head_of_log(asked.head) if not asked.run and asked.head else None
    witness = witness_of(asked.witness, asked.key)
    with desk(asked, reads=True) as here:
        if asked.run:
            found = verify_one(here, find_run(here, asked.run).run, head=known_run, witness=witness)
        else:
            found = verify_whole(here, say, head=known_log, witness=witness)
    if say.json:
        say.data({"intact": found.fault is None, **asdict(found)})
    elif found.fault is not None:
        say.line(("changed", "bold red"), f": {escaped(str(found.fault))}")
    else:
        what = found.run if found.run else count(found.runs, "run")
        say.line(("intact", "green"), f": {what}, {count(found.events, 'event')}")
        if found.purged:
            say.line(
                f"of {found.purged:,} of them the body was purged: that they were written, not what they said"
            )
        if witness is not None:
            say.line(
                f"all that the witness names is there, in {count(found.witnessed or 0, 'line')}; "
                f"{count(found.unwitnessed or 0, 'event')} came later"
            )
        say.line(f"head {found.head or '(the log is empty)'}")
    return FINE if found.fault is None else REFUSED
