"""Another process with a live run, for tests of several: `python -m tests.attending SETTINGS HOW`.

It says `run ID HOLDER` when it is where it should be, then `ended WHY` for what it was doing, and ends when
its standard input does.
"""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.seams.errors import RingfenceError
from ringfence.testing import FakeClock
from ringfence.testing.clock import START_NS
from tests.guards import ALICE, POLICY, call, make_guard

ROOT = Path(__file__).parent.parent
LIMITLESS = POLICY.replace("at most 100 calls ", "").replace("rate 1000 per run", "")
"""Whatever stops its calls is no limit."""


class Process:
    """One such process."""

    def __init__(self, settings: Mapping[str, Any], how: str) -> None:
        self.popen = subprocess.Popen(
            [sys.executable, "-m", "tests.attending", json.dumps(settings), how],
            cwd=ROOT,
            env={"PYTHONPATH": ":".join(filter(None, sys.path)), "PATH": "/usr/bin:/bin"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.run, self.holder = self.said("run").split()

    def said(self, word: str) -> str:
        """Return what it says next, which begins with `word`."""
        assert self.popen.stdout is not None
        line = self.popen.stdout.readline()
        assert line.startswith(word), (line, self.popen.poll())
        return line.removeprefix(word).strip()

    def stand_still(self) -> None:
        """Stop it, and return once it stands; `SIGCONT` lets it go on."""
        os.kill(self.popen.pid, signal.SIGSTOP)
        os.waitpid(self.popen.pid, os.WUNTRACED)

    def end(self) -> None:
        """Let it end in order."""
        assert self.popen.stdin is not None
        self.popen.stdin.close()
        self.popen.wait(60)


@contextlib.contextmanager
def attending(settings: Mapping[str, Any], how: str) -> Iterator[Process]:
    """Start one; whatever became of it, it is gone afterwards."""
    process = Process(settings, how)
    try:
        yield process
    finally:
        process.popen.kill()
        process.popen.wait()
        for pipe in (process.popen.stdin, process.popen.stdout):
            assert pipe is not None
            pipe.close()


def say(run: Run, guard: Guard) -> None:
    guard.opening.ready.journal.flush().result()  # whoever stops it now finds it with no lock of a file
    print("run", run.id, guard._lifecycle._sessions.holder, flush=True)


def ended(error: BaseException | None) -> None:
    print("ended", type(error).__name__, error, flush=True)


async def flying(guard: Guard, run: Run) -> None:
    """An async body that never ends by itself."""

    async def body(_: Mapping[str, Any]) -> None:
        say(run, guard)
        await asyncio.Event().wait()

    try:
        await guard.aexecute(run, call("look", what="x"), body)
    except RingfenceError as error:
        ended(error)


async def modelling(guard: Guard, run: Run) -> None:
    """A model call that never ends by itself."""

    async def model() -> None:
        say(run, guard)
        await asyncio.Event().wait()

    try:
        await guard.abound(run, model)
    except RingfenceError as error:
        ended(error)


def stuck(guard: Guard, run: Run) -> None:
    """A plain body that Python cannot stop."""

    def body(_: Mapping[str, Any]) -> str:
        say(run, guard)
        time.sleep(3600)
        return "too late"

    try:
        guard.execute(run, call("look", what="x"), body)
    except RingfenceError as error:
        ended(error)


def asking(guard: Guard, run: Run) -> None:
    """A call that waits for people in place."""
    run.waiting = Said(lambda: say(run, guard))
    try:
        guard.execute(run, call("pay", amount=5), lambda _: print("ran", flush=True))
    except RingfenceError as error:
        ended(error)


class Said(dict[Any, Any]):
    """Says so when the first waiter enters."""

    def __init__(self, then: Any) -> None:
        super().__init__()
        self._then = then

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(key, value)
        then, self._then = self._then, lambda: None
        then()


def calling(guard: Guard, run: Run) -> None:
    """One call after another, each of which is written down by its body, until one is refused."""
    say(run, guard)
    try:
        while True:
            guard.execute(run, call("look", what="x"), lambda _: None)
    except RingfenceError as error:
        ended(error)


def idle(guard: Guard, run: Run) -> None:
    """Nothing at all."""
    say(run, guard)


def main(settings: str, how: str) -> None:
    said = json.loads(settings)
    hours = said.pop("clock_hours", None)
    clock = None if hours is None else FakeClock(START_NS + hours * 3_600_000_000_000)
    guard = make_guard(LIMITLESS, **said, clock=clock)
    run = guard.begin_run(principal=ALICE, agent="main")
    if how in ("flying", "modelling"):
        asyncio.run({"flying": flying, "modelling": modelling}[how](guard, run))
    else:
        {"stuck": stuck, "asking": asking, "calling": calling, "idle": idle}[how](guard, run)
    sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
