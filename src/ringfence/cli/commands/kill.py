"""Stop a run, every run of an agent, or all runs: nothing of them starts any more.

The order is stored, and every process with live runs obeys and acknowledges it: then the command returns.
It names those that have not in time and ends with 1.
"""

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from typing import TYPE_CHECKING

from ringfence.cli import selecting
from ringfence.cli.exits import CANNOT_RUN, FINE
from ringfence.cli.say import Say

if TYPE_CHECKING:
    from ringfence.dsl.plan import Json
    from ringfence.engine.enforcement.acknowledgements import Killed
    from ringfence.engine.seams.ports import Attendant

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0}


def words(command: ArgumentParser) -> None:
    """Say what the command takes."""
    which = command.add_mutually_exclusive_group(required=True)
    which.add_argument("run", metavar="RUN", nargs="?", help=f"this run: {selecting.RUN}")
    which.add_argument("--agent", metavar="NAME", help="every run of this agent")
    which.add_argument("--all", action="store_true", help="every run")
    command.add_argument("--by", metavar="NAME", help="who orders it; the login name if not said")
    command.add_argument(
        "--within",
        metavar="TIME",
        type=_seconds,
        default="10s",
        help="how long to wait for acknowledgements: 10s (if not said), 500ms, 1m",
    )


def run(asked: Namespace, say: Say) -> int:
    """Order running processes to stop, and wait until they have."""
    import time

    from ringfence.cli.desk import desk, login
    from ringfence.cli.find import find_run
    from ringfence.engine.enforcement.acknowledgements import acknowledged

    with desk(asked) as here:
        row = find_run(here, asked.run) if asked.run else None
        switch = here.kill_switch
        by = here.hidden(asked.by or login())
        order = here.ask(
            switch.order(run=row.run if row else None, agent=asked.agent, by=by, at_ns=time.time_ns())
        )
        with say.progress("ordered; waiting for every process", 1, worth=0, counted=False):
            killed = here.ask(acknowledged(switch, order, within_s=asked.within))
    if say.json:
        say.data(_record(killed))
        return CANNOT_RUN if killed.missing else FINE
    what = f"{row.run}" if row else f"every run of agent {asked.agent}" if asked.agent else "every run"
    say.line(f"ordered to stop: {what}")
    if row and row.status in ("done", "failed", "halted"):
        say.note(f"that run is over already: {row.status}")
    elif row and row.status == "suspended":
        say.note("that run is suspended: it is halted when somebody wants to go on with it")
    _tell(killed, say)
    return CANNOT_RUN if killed.missing else FINE


def _tell(killed: "Killed", say: Say) -> None:
    for one in killed.obeyed:
        still = f"; {one.in_flight} in flight could not be stopped" if one.in_flight else ""
        say.line(("stopped", "green"), f"  {one.holder}{still}")
    for one in killed.missing:
        say.line(("not acknowledged", "bold red"), f"  {one.holder}, silent for {one.silent_s:.1f} s")
    if killed.missing:
        say.note(
            "the order stands: whatever has not acknowledged it obeys it when it goes on; "
            "to be sure now, end those processes"
        )


def _record(killed: "Killed") -> "Json":
    order = killed.order
    return {
        "id": order.id,
        "run": order.run,
        "agent": order.agent,
        "by": order.by,
        "at_ns": order.at_ns,
        "acknowledged": not killed.missing,
        "in_flight": killed.in_flight,
        "obeyed": [_attendant(one) for one in killed.obeyed],
        "missing": [_attendant(one) for one in killed.missing],
    }


def _attendant(one: "Attendant") -> "Json":
    return {
        "holder": one.holder,
        "obeyed": one.obeyed,
        "in_flight": one.in_flight,
        "silent_s": round(one.silent_s, 3),
    }


def _seconds(said: str) -> float:
    """Read a time like `10s`, `500ms` or `1m`; a bare number counts seconds."""
    number = said.rstrip("ms")
    unit = said[len(number) :] or "s"
    try:
        seconds = float(number) * _UNITS[unit]
    except (ValueError, KeyError):
        seconds = -1.0
    if not 0 <= seconds <= 86_400:
        raise ArgumentTypeError(f"`{said}` is no time: write 10s, 500ms or 1m")
    return seconds
