"""Stop a run, every run of an agent, or all runs: nothing of them starts after the order.

The order is stored, and every process on the store obeys it.
"""

from argparse import ArgumentParser, Namespace

from ringfence.cli.exits import FINE
from ringfence.cli.say import Say


def words(command: ArgumentParser) -> None:
    """Say what the command takes."""
    which = command.add_mutually_exclusive_group(required=True)
    which.add_argument("run", metavar="RUN", nargs="?", help="a run's id or the beginning of one")
    which.add_argument("--agent", metavar="NAME", help="every run of this agent")
    which.add_argument("--all", action="store_true", help="every run")
    command.add_argument("--by", metavar="NAME", help="who orders it; the login name if not said")


def run(asked: Namespace, say: Say) -> int:
    """Order running processes to stop."""
    import time

    from ringfence.cli.desk import desk
    from ringfence.cli.find import find_run

    with desk(asked) as here:
        row = find_run(here, asked.run) if asked.run else None
        by = asked.by or _login()
        order = here.ask(
            here.kill_switch.order(
                run=row.run if row else None, agent=asked.agent, by=by, at_ns=time.time_ns()
            )
        )
    if say.json:
        say.data(
            {"id": order.id, "run": order.run, "agent": order.agent, "by": order.by, "at_ns": order.at_ns}
        )
        return FINE
    what = f"{row.run}" if row else f"every run of agent {asked.agent}" if asked.agent else "every run"
    say.line(f"ordered to stop: {what}")
    if row and row.status in ("done", "failed", "halted"):
        say.note(f"that run is over already: {row.status}")
    return FINE


def _login() -> str | None:
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):  # no such user here (a container): the order stands without a name
        return None
