"""A guard whose disk ails, in a process of its own: `python -m tests.faults.ailing MANNER FOLDER`.

`full` mounts a file system of one megabyte on FOLDER and fills it, so it needs a mount namespace of its own;
`bounded` lets no file grow (`RLIMIT_FSIZE`), which no release of space mends.  Prints what happened as JSON.
"""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.seams.errors import EngineError, RingfenceError
from tests.guards import ALICE, POLICY, call, make_guard

WAIT_S = 60
TRIES = 50_000
MANY = POLICY.replace("at most 100 calls", f"at most {TRIES * 2} calls").replace(
    "rate 1000 per run", f"rate {TRIES * 2} per run"
)
"""The policy, without limits that end a run before anybody has noticed what ails."""
CALLS: dict[str, dict[str, Any]] = {
    "look": {"what": "x" * 2000},
    "mail": {"to": "a@b.example"},
    "pay": {"amount": 5},
}


def attempt(guard: Guard, run: Run, tool: str) -> tuple[bool, RingfenceError | None]:
    """Make one call; return whether its body ran, and the error."""
    ran: list[bool] = []
    try:
        guard.execute(run, call(tool, **CALLS[tool]), lambda _: ran.append(True), wait=False)
    except RingfenceError as error:
        return bool(ran), error
    return bool(ran), None


def until_refused(guard: Guard, run: Run) -> EngineError:
    """Make calls until one is refused by the engine; what was allowed before may run."""
    for _ in range(TRIES):
        ran, error = attempt(guard, run, "look")
        if isinstance(error, EngineError):
            if ran:
                continue  # it began before anybody knew, and how it ended could not be recorded
            return error
        assert error is None, error
    raise AssertionError("nothing was refused")


def until(true: Callable[[], bool]) -> None:
    """Wait for what another thread is about to do."""
    end = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < end, "it does not come"
        time.sleep(0.005)


def all_refused(guard: Guard, run: Run) -> list[str]:
    """Try everything that would start something; return the diagnostics, and refuse a body that ran."""
    said: list[str] = []
    for tool in CALLS:
        ran, error = attempt(guard, run, tool)
        assert not ran and isinstance(error, EngineError), (tool, ran, error)
        said.append(error.diagnostics())
    try:
        guard.begin_run(principal=ALICE, agent="main")
    except EngineError as error:
        said.append(error.diagnostics())
    else:
        raise AssertionError("a run began that is not recorded")
    return said


def fill(folder: Path) -> Path:
    """Leave no byte free on the file system of the folder; return what to delete."""
    ballast = folder / "ballast"
    with ballast.open("ab", buffering=0) as file:
        for size in (4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
    return ballast


def full(folder: Path) -> dict[str, Any]:
    """The file system under the store has no room left, and then has again."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)], check=True)
    guard = make_guard(MANY, store=f"sqlite:///{folder}/ringfence.db")
    run = guard.begin_run(principal=ALICE, agent="main")
    assert [attempt(guard, run, tool)[0] for tool in ("look", "mail")] == [True, True]
    guard.opening.ready.journal.flush().result(WAIT_S)
    ballast = fill(folder)
    said = [until_refused(guard, run).diagnostics(), *all_refused(guard, run)]
    ballast.unlink()
    until(lambda: guard.opening.ready.journal.away is None)
    going = guard.begin_run(principal=ALICE, agent="main")
    ran = [attempt(guard, going, tool)[0] for tool in ("look", "mail")]
    guard.end_run(going)
    guard.end_run(run)
    guard.close()
    return {"said": said, "ran": ran, "run": run.id, **kept(folder)}


def bounded(folder: Path) -> dict[str, Any]:
    """Writes fail for a reason that is no lack of space: the guard stops for good, and says so."""
    guard = make_guard(MANY, store=f"sqlite:///{folder}/ringfence.db")
    run = guard.begin_run(principal=ALICE, agent="main")
    attempt(guard, run, "look")
    guard.opening.ready.journal.flush().result(WAIT_S)
    grown = (folder / "ringfence.db-wal").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (grown + 20_000, resource.RLIM_INFINITY))
    said = [until_refused(guard, run).diagnostics(), *all_refused(guard, run)]
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    said += all_refused(guard, run)
    lost = ""
    try:
        guard.close()
    except EngineError as error:
        lost = error.diagnostics()
    anew = make_guard(MANY, store=f"sqlite:///{folder}/ringfence.db")
    going = anew.begin_run(principal=ALICE, agent="main")
    ran = [attempt(anew, going, tool)[0] for tool in ("look", "mail")]
    anew.end_run(going)
    anew.close()
    return {"said": said, "lost": lost, "ran": ran, "run": run.id, **kept(folder)}


def kept(folder: Path) -> dict[str, Any]:
    """Return what the commands say of the log that is there now."""

    def said(*words: str) -> Any:
        done = subprocess.run(
            [sys.executable, "-m", "ringfence", *words, "--json", "--store", str(folder / "ringfence.db")],
            capture_output=True,
            text=True,
        )
        return json.loads(done.stdout)

    return {"intact": said("verify")["intact"], "runs": said("runs"), "shown": said("show", "last")}


if __name__ == "__main__":
    os.umask(0o077)
    print(json.dumps({"full": full, "bounded": bounded}[sys.argv[1]](Path(sys.argv[2]))))
