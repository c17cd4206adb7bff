"""Decide every call of many runs again by another policy: what changes, by rule, and what no run exercised.

The same as `replay --policy`, over all runs of the log.  No tool is executed, and nothing is written.
"""

from argparse import ArgumentParser, Namespace

from ringfence.cli import selecting
from ringfence.cli.exits import CANNOT_RUN, FINE, POLICY_INVALID, REFUSED, CommandError
from ringfence.cli.say import Say

_FEW_EVENTS = 50_000
"""So many events are decided again sooner than another process has started."""


def words(command: ArgumentParser) -> None:
    """Say what the command takes."""
    command.add_argument("--policy", metavar="FILE", required=True, help="the policy to decide by")
    selecting.agent_word(command)
    selecting.since_word(command)
    command.add_argument(
        "--processes",
        metavar="N",
        type=int,
        help="in how many processes; one for each core if it is not said",
    )


def run(asked: Namespace, say: Say) -> int:
    """Decide runs again; 2 if a decision would have been different."""
    import time

    from ringfence.cli.backtested import document, tell
    from ringfence.cli.desk import desk
    from ringfence.cli.policy import read_policy
    from ringfence.cli.since import since_ns
    from ringfence.dsl.diagnostic import draw
    from ringfence.engine.retrospect.backtest import backtest, chosen
    from ringfence.engine.retrospect.shares import read_runs
    from ringfence.engine.seams.errors import EngineError

    if asked.processes is not None and asked.processes < 1:
        raise CommandError("--processes must be at least 1", help="leave it out for one for each core")
    since = None if asked.since is None else since_ns(asked.since, now_ns=time.time_ns())
    with desk(asked, reads=True) as here:
        plan = (loaded := read_policy(asked.policy, here.settings)).plan
        if plan is None:
            say.note(draw(loaded.diagnostics))
            return POLICY_INVALID
        rows = chosen(here.runs(), since_ns=since, agent=asked.agent)
        if not rows:
            say.note("no runs")
        processes = asked.processes or _processes(
            sum(row.events for row in rows if isinstance(row.events, int))
        )
        try:
            with say.progress("backtest", len(rows), worth=200) as advance:
                found = backtest(
                    rows,
                    lambda runs: here.ask(read_runs(here.events, runs)),
                    plan,
                    processes=processes,
                    each=advance,
                )
        except EngineError as error:
            raise CommandError(str(error), help=error.help or "") from error
    if say.json:
        say.data(document(found))
    else:
        tell(found, say)
    if found.changes:
        return REFUSED
    return CANNOT_RUN if found.not_decided else FINE


def _processes(events: int) -> int:
    """Return how many processes so many events are worth: at most one for each core."""
    import os

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, events // _FEW_EVENTS))
