"""`make load`: a thousand runs at once for a minute, on SQLite, then in four processes on two servers."""

import asyncio
import os
import platform
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from bench.load.checking import checked
from bench.load.driving import Load
from bench.load.places import PARTS, Part, Place
from bench.load.processes import worked
from bench.load.reports import Report, together
from bench.load.telling import Outcome, document, tell
from bench.load.worker import Order
from ringfence.cli.say import Say

_TICK_S = 0.2


def main(words: Sequence[str]) -> int:
    """Put on the parts that are named, or all; 1 if anything came out wrong."""
    asked = _asked(words)
    say = Say(json=asked.json)
    load_before = os.getloadavg()[0]
    done: dict[str, Any] = {}
    left_out: dict[str, str] = {}
    held = True
    for name in asked.parts or PARTS:
        part = PARTS[name]
        lacking = part.lacking()
        if lacking is not None:
            left_out[name] = lacking
            say.note(f"{part.title}: left out: {lacking}")
            continue
        try:
            outcome = put_on(part, asked, say)
        except RuntimeError as error:  # the load fails: nothing is known of it
            held = False
            done[name] = {"faults": [str(error)]}
            say.note(f"{part.title}: {error}")
            continue
        held = held and not outcome.faults
        done[name] = document(outcome)
        if not asked.json:
            tell(part.title, outcome, say)
    # What was named and could not be done is no success.
    held = held and not (asked.parts and left_out)
    machine = {
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "load_before": load_before,
        "load_after": os.getloadavg()[0],
    }
    if asked.json:
        say.data({"held": held, "machine": machine, "parts": done, "left_out": left_out})
    else:
        say.line(
            f"Python {machine['python']}, {machine['cores']} cores, "
            f"load average {load_before:.1f} before and {machine['load_after']:.1f} after"
        )
    return 0 if held else 1


def _asked(words: Sequence[str]) -> Namespace:
    parser = ArgumentParser(prog="python -m bench.load", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"some of: {', '.join(PARTS)}")
    parser.add_argument("--at-once", type=_positive, default=1_000, help="runs at once, in all processes")
    parser.add_argument("--processes", type=_positive, default=4, help="of the part on servers")
    bound = parser.add_mutually_exclusive_group()
    bound.add_argument("--seconds", type=_seconds, default=60.0, help="for how long, each part")
    bound.add_argument(
        "--rounds", type=_positive, help="instead: so many runs after one another, in each place"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    asked = parser.parse_args(words)
    for name in asked.parts:
        if name not in PARTS:
            parser.error(f"there is no part `{name}`; there are {', '.join(PARTS)}")
    shared = any(PARTS[name].several for name in asked.parts or PARTS)
    if shared and asked.at_once < asked.processes:
        parser.error("there must be a run for each process: raise --at-once, or lower --processes")
    return asked


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise ArgumentTypeError(f"`{text}` is no whole number from 1 on")
    return int(text)


def _seconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:  # a wrong word: nothing is put on
        number = 0.0
    if not 0 < number <= 3_600:
        raise ArgumentTypeError(f"`{text}` is no number of seconds up to an hour")
    return number


def put_on(part: Part, asked: Namespace, say: Say) -> Outcome:
    """Put one load on, then look at its log."""
    with part.placed() as place:
        report = asyncio.run(_driven(part, place, asked, say))
        return Outcome(report, checked(place.store, report))


async def _driven(part: Part, place: Place, asked: Namespace, say: Say) -> Report:
    orders = list(orders_of(place, asked, asked.processes if part.several else 1))
    with _progress(part, asked, say) as ticking:
        ticks = asyncio.create_task(ticking())
        try:
            return together(await worked(orders))
        finally:
            ticks.cancel()
            await asyncio.wait([ticks])


def orders_of(place: Place, asked: Namespace, processes: int) -> Iterator[Order]:
    """Share the runs among the processes."""
    first = 0
    for number in range(processes):
        share = asked.at_once // processes + (number < asked.at_once % processes)
        load = Load(share, rounds=asked.rounds, seconds=None if asked.rounds else asked.seconds)
        yield Order(load, place.store, place.ledger, first)
        first += share


@contextmanager
def _progress(part: Part, asked: Namespace, say: Say) -> Iterator[Any]:
    """Show how much of the time has gone; opening and ending are beyond it."""
    total = int(asked.seconds / _TICK_S)
    with say.progress(part.title, total, worth=1, counted=asked.rounds is None) as advance:

        async def ticking() -> None:
            while True:
                await asyncio.sleep(_TICK_S)
                advance()

        yield ticking


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
