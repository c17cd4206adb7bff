"""Decide every call of many runs again by another policy: what changes, by rule, and what no run exercised.

The same as `replay --policy`, over all runs of the log.  No tool is executed, and nothing is written.
"""

from argparse import ArgumentParser, ArgumentTypeError, Namespace

from ringfence.cli.exits import CANNOT_RUN, FINE, POLICY_INVALID, REFUSED, CommandError
from ringfence.cli.say import Say

_UNITS_NS = {"s": 10**9, "m": 60 * 10**9, "h": 3_600 * 10**9, "d": 86_400 * 10**9, "w": 604_800 * 10**9}
_FEW_EVENTS = 50_000
"""So many events are decided again sooner than another process has started."""


def words(command: ArgumentParser) -> None:
    """Say what the command takes."""
    command.add_argument("--policy", metavar="FILE", required=True, help="the policy to decide by")
    command.add_argument(
        "--since", metavar="TIME", type=_ago_ns, help="only runs that began within it: 7d, 12h, 30m, 45s, 2w"
    )
    command.add_argument("--agent", metavar="NAME", help="only runs of this agent")
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
    from ringfence.dsl.diagnostic import draw
    from ringfence.engine.retrospect.backtest import backtest, chosen
    from ringfence.engine.seams.errors import EngineError

    if asked.processes is not None and asked.processes < 1:
        raise CommandError("--processes must be at least 1")
    with desk(asked, reads=True) as here:
        plan = (loaded := read_policy(asked.policy, here.settings)).plan
        if plan is None:
            say.note(draw(loaded.diagnostics))
            return POLICY_INVALID
        since_ns = None
        if asked.since is not None:
            # The store's clock may be ahead of this host's; of a file it is the last time that was recorded.
            since_ns = max(time.time_ns(), here.ask(here.store.now_ns()) or 0) - asked.since
        rows = chosen(here.runs(), since_ns=since_ns, agent=asked.agent)
        if not rows:
            say.note("no runs")
        processes = asked.processes or _processes(
            sum(row.events for row in rows if isinstance(row.events, int))
        )
        try:
            with say.progress("backtest", len(rows), worth=200) as advance:
                found = backtest(
                    rows,
                    lambda each: here.ask(here.events.read(each)),
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


def _ago_ns(said: str) -> int:
    """Read a time like `7d` or `12h`, in nanoseconds."""
    number, unit = said[:-1], said[-1:]
    if not (number.isascii() and number.isdecimal() and unit in _UNITS_NS and len(number) < 7):
        raise ArgumentTypeError(f"`{said}` is no time: write 7d, 12h, 30m, 45s or 2w")
    return int(number) * _UNITS_NS[unit]
