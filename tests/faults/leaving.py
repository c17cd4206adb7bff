"""A program that uses a guard, never closes it, and ends as its first word says.

It works in the current folder, whose `ringfence.toml` names sinks.
"""

import asyncio
import concurrent.futures.thread as pools
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from ringfence import Guard, Principal
from ringfence.adapters.callables import guarded
from ringfence.engine.enforcement import in_use
from ringfence.plugin import AuditSink, Event, hookimpl

ALICE = Principal(user="alice")


class HeldBackSink(AuditSink):
    """Keeps what it gets, and writes it when it is closed: its only use of a thread."""

    name = "held_back"

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        self.held: list[str] = []

    async def write(self, events: Sequence[Event]) -> None:
        self.held += [event.line() for event in events]

    async def close(self) -> None:
        await asyncio.to_thread(self._write)

    def _write(self) -> None:
        with open("held_back.jsonl", "w", encoding="ascii") as file:
            file.writelines(f"{line}\n" for line in self.held)


class HangingSink(AuditSink):
    """Takes what it gets; closed, it hangs on a thread."""

    name = "hanging"

    async def write(self, events: Sequence[Event]) -> None:
        """Take them."""

    async def close(self) -> None:
        await asyncio.to_thread(threading.Event().wait)


class BlockingSink(HangingSink):
    """Closed, it holds up the engine's loop itself."""

    name = "blocking"

    async def close(self) -> None:
        threading.Event().wait()


class Sinks:
    @hookimpl
    def ringfence_audit_sinks(self) -> Sequence[type[AuditSink]]:
        return [HeldBackSink, HangingSink, BlockingSink]


guard = Guard.load(plugins=[Sinks()])


@guarded(guard)
def look(what: str) -> str:
    return f"saw {what}"


@guarded(guard)
async def alook(what: str) -> str:
    return f"saw {what}"


def work() -> None:
    with guard.run(principal=ALICE, prompt="look around"):
        for number in range(3):
            look(f"{number}")


async def awork() -> None:
    async with guard.run(principal=ALICE, prompt="look around"):
        await asyncio.gather(*(alook(f"{number}") for number in range(3)))


def end() -> None:
    work()


def fail() -> None:
    work()
    raise ValueError("the program's own mistake")


def leave() -> None:
    work()
    sys.exit(3)


def leave_inside() -> None:
    with guard.run(principal=ALICE):
        look("x")
        sys.exit(4)


def in_a_loop() -> None:
    asyncio.run(awork())


def fail_in_a_loop() -> None:
    async def main() -> None:
        await awork()
        raise ValueError("the program's own mistake")

    asyncio.run(main())


def other_thread() -> None:
    """Leave a thread behind that goes on when the pools of `concurrent.futures` take nothing any more."""

    def late() -> None:
        until_s = time.monotonic() + 30
        while not pools._shutdown and time.monotonic() < until_s:
            time.sleep(0.001)
        if pools._shutdown:
            work()

    work()
    threading.Thread(target=late).start()


def daemon_in_a_body() -> None:
    """Leave a daemon behind inside of a tool's body."""
    inside = threading.Event()

    @guarded(guard)
    def stay() -> None:
        inside.set()
        threading.Event().wait()

    def forever() -> None:
        with guard.run(principal=ALICE):
            stay()

    work()
    threading.Thread(target=forever, daemon=True).start()
    assert inside.wait(30)


def sigterm() -> None:
    work()
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(30)


def handled_sigterm() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sigterm()


def short_of_time() -> None:
    in_use.EXIT_S = 1.0  # type: ignore[misc]
    work()


ENDINGS: dict[str, Callable[[], None]] = {
    one.__name__: one
    for one in (
        *(end, fail, leave, leave_inside, in_a_loop, fail_in_a_loop, other_thread, daemon_in_a_body),
        *(sigterm, handled_sigterm, short_of_time),
    )
}

if __name__ == "__main__":
    ENDINGS[sys.argv[1]]()
