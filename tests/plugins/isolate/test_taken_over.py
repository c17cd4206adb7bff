"""A worker that an intruder has taken over, behind all its walls, while the pool gives it a job.

The intruder puts its own code in the place of what talks to the host.  Whatever it does, the host has an
outcome, goes on, and has the next job done by another worker.  Without walls the same intruder gets out.
"""

import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Executor

import pytest

from ringfence.engine.seams.isolates import Lockdown
from ringfence.plugins.isolate import executor as executors
from ringfence.plugins.isolate import frames, starting
from ringfence.plugins.isolate.executor import IsolatePool
from ringfence.plugins.isolate.settings import IsolateSettings
from ringfence.plugins.isolate.starting import Kind, Program, Worker
from ringfence.plugins.isolate.worker import injected
from tests.plugins.isolate.accounts import SITE, Account
from tests.plugins.isolate.real import works
from tests.plugins.isolate.scripts import body
from tests.plugins.isolate.worker_harness import FOLDER, KERNEL_WALLS
from tests.plugins.isolate.workers import SECOND, closing, echoes

pytest.importorskip("py_mini_racer", reason="the extra `isolate` is not installed")
pytestmark = pytest.mark.skipif(os.name != "posix", reason="workers are processes of POSIX systems")

START = """
import os, sys
reading, writing = os.pipe()
os.write(writing, {phrase!r})
os.close(writing)
os.set_inheritable(reading, True)
entry, options = sys.argv[1:-1], sys.argv[-1]
os.execv(sys.executable, [sys.executable, "-I", "-S", "-B", *entry, options.replace('"HERE"', str(reading))])
"""
"""Hands the worker a descriptor that lets Python be injected; the pool itself never does."""


def injectable(*leave_out: str) -> Program:
    def command(kind: Kind, descriptor: int) -> Sequence[str]:
        options = {"memory_bytes": kind.memory_bytes, "leave_out": leave_out, "injection": "HERE"}
        start = [Account().python, "-I", "-S", "-B", "-c", START.format(phrase=injected.PHRASE)]
        entry = [str(FOLDER / "entry.py"), str(descriptor), SITE, str(FOLDER)]
        return [*start, *entry, json.dumps(options)]

    return command


TAKE_OVER = """
import os, sys, json
channel = sys.modules["ringfence.plugins.isolate.worker.channel"].Channel
honest = channel.send
def raw(self, data):
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(self._descriptor, rest):]
def framed(self, text):
    raw(self, len(text).to_bytes(4, "big") + text)
def evil(self, value):
    if "injected" in value:
        return honest(self, value)
    {act}
channel.send = evil
seen = "taken over"
"""


@pytest.fixture
def taken_over(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Have the next worker taken over by what acts like this; those after it are honest."""
    acts: list[str] = []
    started = starting.started

    async def taken(
        kind: Kind, program: Program, starter: Executor, *, wanted: frozenset[str], within_s: float
    ) -> Worker:
        worker = await started(kind, program, starter, wanted=wanted, within_s=within_s)
        if acts:
            await worker.child.send(frames.written({"inject": TAKE_OVER.replace("{act}", acts.pop())}))
            assert await worker.child.receive() == {"injected": "'taken over'"}
        return worker

    monkeypatch.setattr(executors, "started", taken)
    return acts.append


def pool(*leave_out: str) -> IsolatePool:
    return IsolatePool(IsolateSettings(workers=2, spare=0), program=injectable(*leave_out))


def framed(value: object) -> str:
    return f"framed(self, {json.dumps(value).encode()!r})"


def call(**changed: object) -> dict[str, object]:
    return {"id": 1, "tool": "add", "arguments": "{}", **changed}


LIES = {
    "a length that lies": ("raw(self, b'\\xff\\xff\\xff\\xff{}')", "4294967295 bytes"),
    "no length": ("raw(self, b'\\0\\0\\0\\0{}')", "0 bytes"),
    "a frame that is cut short": ("raw(self, b'\\0\\0\\0\\x10{}'); os._exit(0)", "ended by itself"),
    "no UTF-8": ("raw(self, b'\\0\\0\\0\\4\\xff\\xfe{}')", "not JSON"),
    "no JSON": ("raw(self, b'\\0\\0\\0\\4{1:}')", "broke the protocol"),
    "a name twice": ('framed(self, b\'{"done":1,"done":2}\')', "a name twice"),
    "a deep frame": ("framed(self, b'[' * 200_000)", "broke the protocol"),
    "a deep result": (framed({"done": {"result": "[" * 300 + "]" * 300}}), "nested deeper"),
    "a result that is no JSON": (framed({"done": {"result": "{nonsense"}}), "broke the protocol"),
    "a result that is too large": (framed({"done": {"result": '"' + "x" * 200_000 + '"'}}), "larger than"),
    "a result and calls": (framed({"done": {"result": "1"}, "calls": []}), "no answer"),
    "ready again": (framed({"ready": {"v8": "1", "layers": [], "pid": 1}}), "no answer"),
    "a failure of another's": (
        framed({"failed": {"failure": "lockdown", "message": "x", "line": None, "column": None}}),
        "no known way",
    ),
    "an id that was not given": (framed({"calls": [call(id=2)]}), "another id"),
    "an id that is no number": (framed({"calls": [call(id=True)]}), "another id"),
    "an id twice": (framed({"calls": [call(), call()]}), "another id"),
    "more than a call": (framed({"calls": [call(run="another")]}), "no call"),
    "a flood": (
        "raw(self, b'\\0\\xff\\xff\\xff')\n    while True: raw(self, b'x' * 65536)",
        "broke the protocol",
    ),
    "a socket": ("import _socket; _socket.socket(2, 1)", "walled off (seccomp)"),
    "another process": ("os.fork()", "walled off (seccomp)"),
    "another program": ("os.execv('/bin/true', ['true'])", "walled off (seccomp)"),
    "a signal to the host": ("os.kill(1, 0)", "walled off (seccomp)"),
    "a file": ("os.open('/etc/passwd', os.O_RDONLY)", "ended by itself"),
    "an end": ("os._exit(0)", "ended by itself"),
}


@pytest.mark.parametrize("lie", LIES)
async def test_whatever_an_intruder_does_the_host_goes_on(
    taken_over: Callable[[str], None], lie: str
) -> None:
    act, words = LIES[lie]
    async with closing(pool()) as executor:
        taken_over(act)
        outcome = await executor.run(body("a => 1"), echoes)
        assert (outcome.result, outcome.failure) == (None, "killed"), outcome
        assert words in (outcome.message or ""), outcome
        assert "seccomp" in outcome.layers
        await works(executor)


async def test_an_intruder_who_says_nothing_is_ended(taken_over: Callable[[str], None]) -> None:
    async with closing(pool()) as executor:
        taken_over("while True: pass")
        outcome = await executor.run(body("a => 1", time_ns=SECOND // 2), echoes)
        assert outcome.failure == "time"
        await works(executor)


async def test_an_intruder_can_make_no_more_calls_than_code_can(taken_over: Callable[[str], None]) -> None:
    many = [call(id=nth) for nth in range(1, 1002)]
    async with closing(pool()) as executor:
        taken_over(f"framed(self, {json.dumps({'calls': many}).encode()!r})")
        outcome = await executor.run(body("a => 1"), echoes)
        assert outcome.failure == "calls"
        await works(executor)


FREE = {
    "a socket": "import _socket; _socket.socket(2, 1)",
    "another process": "child = os.fork() or os._exit(0); os.waitpid(child, 0)",
    "a signal to the host": "os.kill(os.getppid(), 0)",
    "a file": "os.open('/etc/passwd', os.O_RDONLY)",
}


@pytest.mark.parametrize("attack", [None, *FREE])
async def test_without_walls_the_same_intruder_gets_out(
    taken_over: Callable[[str], None], attack: str | None
) -> None:
    """The first line is the control of the controls: an intruder who does nothing gives its own result."""
    act = "" if attack is None else f"{FREE[attack]}; "
    lockdown: Lockdown = "process"
    async with closing(pool(*KERNEL_WALLS)) as executor:
        taken_over(act + framed({"done": {"result": '"out"'}}))
        outcome = await executor.run(body("a => 1", lockdown=lockdown), echoes)
        assert outcome.result == '"out"', outcome
