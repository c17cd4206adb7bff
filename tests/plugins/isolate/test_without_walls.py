"""The controls: what the attacks do where nothing stops them, so that their tests have power.

No deadline, no limits, V8 without flags, one isolate for all: the same texts, from the same lists, then do
what they are there for.
"""

import json
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ringfence.plugins.isolate import gauges
from tests.plugins.isolate.accounts import SITE
from tests.plugins.isolate.scripts import LIVENESS, MEMORY
from tests.plugins.isolate.worker_harness import JOB, KERNEL_WALLS, PATIENCE_S, Worker

pytest.importorskip("py_mini_racer", reason="the extra `isolate` is not installed")

DEADLINE_NS = 500_000_000
"""What the pool's tests give the same attacks."""

GIGABYTE = 1 << 30
FAR_BEYOND = 300 << 20
"""Bytes: what the pool's tests give the same attacks is a tenth of it."""


@pytest.mark.parametrize("attack", LIVENESS)
def test_without_a_deadline_it_does_not_end(attack: str) -> None:
    with Worker(leave_out=KERNEL_WALLS) as worker:
        before = gauges.cpu_ns(worker.process.pid)
        worker.send({"job": {**JOB, "source": LIVENESS[attack]}})
        until = time.monotonic() + PATIENCE_S
        assert before is not None
        while (gauges.cpu_ns(worker.process.pid) or 0) - before < 2 * DEADLINE_NS:
            said, _, _ = select.select([worker._socket], [], [], 0.02)
            assert not said, f"it ended by itself: {worker.receive()}"
            assert time.monotonic() < until, "it used no processor time"


@pytest.mark.parametrize("attack", MEMORY)
def test_without_limits_it_takes_what_there_is(attack: str) -> None:
    with Worker(leave_out=KERNEL_WALLS, memory_bytes=4 * GIGABYTE) as worker:
        worker.send({"job": {**JOB, "source": MEMORY[attack], "memory_bytes": 4 * GIGABYTE}})
        until = time.monotonic() + PATIENCE_S
        while peak_bytes(worker.process.pid) < FAR_BEYOND:
            said, _, _ = select.select([worker._socket], [], [], 0.02)
            assert not said, f"it ended within {peak_bytes(worker.process.pid) >> 20} MB: {worker.receive()}"
            assert time.monotonic() < until, f"it took {peak_bytes(worker.process.pid) >> 20} MB"


def peak_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text("ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) << 10
    raise AssertionError("it has ended")


BARE = """
import json, os, sys
sys.path.append(sys.argv[1])
from py_mini_racer import MiniRacer
texts, racer, seen = json.loads(sys.argv[2]), MiniRacer(), {}
for name, text in texts.items():
    try:
        seen[name] = racer.eval(text)
    except Exception as error:
        seen[name] = type(error).__name__
print(json.dumps(seen), flush=True)
os._exit(0)
"""

WRAPPED = "(function () { return (%s) }); 1"
"""How a source is put into a function, if nobody looks what the parser makes of it."""

TEXTS: dict[str, tuple[str, object]] = {
    "eval": ("eval('1')", 1),
    "Function": ("(() => {}).constructor('return 1')()", 1),
    "AsyncFunction": ("typeof (async () => {}).constructor('return 1')", "function"),
    "GeneratorFunction": ("(function* () {}).constructor('yield 1')().next().value", 1),
    "constructor of a host's value": ("JSON.parse('{}').constructor.constructor('return 1')()", 1),
    "WebAssembly": ("new WebAssembly.Memory({ initial: 1 }).buffer.byteLength", 65536),
    "SharedArrayBuffer": ("new SharedArrayBuffer(8).byteLength", 8),
    "Atomics": ("typeof Atomics.wait", "function"),
    "timers": ("typeof setTimeout", "function"),
    "WeakRef": ("typeof WeakRef", "function"),
    "FinalizationRegistry": ("typeof FinalizationRegistry", "function"),
    "Intl": ("typeof Intl.DateTimeFormat", "function"),
    "Temporal": ("typeof Temporal", "object"),
    "console": ("typeof console.log", "function"),
    "a clock that goes": ("{ const t = Date.now(); while (Date.now() === t); Date.now() > t }", True),
    "a text that closes what it did not open": (
        WRAPPED % "1)}); globalThis.out = 1; (function () { return (1",
        1,
    ),
    "what it did outside": ("out", 1),
    "pollution, left": ("Object.prototype.polluted = 'yes'; globalThis.left = 1", 1),
    "pollution, found": ("({}).polluted + left", "yes1"),
    "a hijack, left": ("JSON.stringify = () => 'x'; Array.prototype.push = () => 7; 1", 1),
    "a hijack, found": ("JSON.stringify({}) + [].push(1)", "x7"),
}
"""What our isolates refuse, forget or hide: text -> what it gives in V8 as it comes."""


def bare(texts: dict[str, str]) -> dict[str, object]:
    """Return what the texts give in V8 as it comes, in one isolate of an ordinary process."""
    ran = subprocess.run(
        [sys.executable, "-c", BARE, SITE, json.dumps(texts)],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found: dict[str, object] = json.loads(ran.stdout)
    return found


@pytest.fixture(scope="module")
def found() -> dict[str, object]:
    return bare({name: text for name, (text, _) in TEXTS.items()})


@pytest.mark.parametrize("text", TEXTS)
def test_in_v8_as_it_comes_the_text_does_what_it_says(found: dict[str, object], text: str) -> None:
    assert found[text] == TEXTS[text][1]


def test_without_a_seed_another_process_has_other_chance() -> None:
    chance = {"chance": "Math.random()"}
    assert bare(chance) != bare(chance)


def test_in_the_hosts_process_memory_that_runs_out_ends_the_host() -> None:
    script = (
        "import sys; sys.path.append(sys.argv[1])\n"
        "from py_mini_racer import MiniRacer, init_mini_racer\n"
        "init_mini_racer(flags=('--single-threaded', '--max-heap-size=32'))\n"
        "try:\n"
        "    MiniRacer().eval('let z = []; for (;;) z.push({ x: 1, y: [1, 2] })')\n"
        "except BaseException:\n"
        "    pass\n"
        "print('the host goes on')\n"
    )
    ran = subprocess.run([sys.executable, "-c", script, SITE], capture_output=True, timeout=120)
    assert ran.returncode in (-signal.SIGTRAP, -signal.SIGABRT, -signal.SIGILL)
    assert b"goes on" not in ran.stdout


def test_pythons_own_decoder_gives_up_on_what_is_deep() -> None:
    with pytest.raises(RecursionError):
        json.loads("[" * 100_000 + "]" * 100_000)
