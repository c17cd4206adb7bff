"""A disk that is full, read-only or locked: calls are denied, nothing starts; then it goes on."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ringfence.__main__ import main
from ringfence.engine.decision.events import CallDecided
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.seams.errors import EngineError, StoreAwayError
from ringfence.plugins.sqlite import SqliteStore
from tests.faults.ailing import MANY, WAIT_S, all_refused, attempt, until, until_refused
from tests.guards import ALICE, events_of, make_guard

ROOT = Path(__file__).parent.parent.parent
MOUNTS = ["unshare", "--user", "--map-root-user", "--mount"]


def ailing(manner: str, folder: Path, *around: str) -> dict[str, Any]:
    """Let the disk ail in a process of its own; return what happened."""
    done = subprocess.run(
        [*around, sys.executable, "-m", "tests.faults.ailing", manner, str(folder)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def can_mount(folder: Path) -> bool:
    """Say whether this user may mount a file system of its own here."""
    if shutil.which("unshare") is None:
        return False
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)]
    return subprocess.run([*MOUNTS, *mount], capture_output=True).returncode == 0


def test_a_file_system_without_room_denies_and_work_goes_on_when_there_is_room(tmp_path: Path) -> None:
    if not can_mount(tmp_path):
        if os.environ.get("TEST_ISOLATES") == "required":
            pytest.fail("this machine lacks user namespaces in which a file system can be mounted")
        pytest.skip("this machine lacks user namespaces in which a file system can be mounted")
    found = ailing("full", tmp_path, *MOUNTS)
    for said in found["said"]:
        assert "there is no room left to write the store" in said and "help: free disk space" in said
    assert found["ran"] == [True, True] and found["intact"]
    assert {run["status"] for run in found["runs"]} == {"done"}, "no run was lost for it"


def test_a_disk_that_fails_otherwise_stops_the_guard_for_good_and_the_next_one_goes_on(
    tmp_path: Path,
) -> None:
    found = ailing("bounded", tmp_path)
    for said in found["said"]:
        assert "the disk under the store" in said and "check the disk and its quota" in said
        assert "load a new guard" in said
    assert "could not be written before the guard was closed" in found["lost"]
    assert found["ran"] == [True, True] and found["intact"]
    assert {run["run"]: run["status"] for run in found["runs"]}[found["run"]] == "halted", "unclean"


# ---- in this process -----------------------------------------------------------------------------


class Ill:
    """A guard on a file, and its store's own connections."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "ringfence.db"
        self.store = SqliteStore(f"sqlite:///{self.path}", busy_s=0.05)
        self.guard = make_guard(MANY, opened=lambda: self.store)
        self.run = self.begin()

    def begin(self) -> Run:
        return self.guard.begin_run(principal=ALICE, agent="main")

    def pragma(self, text: str) -> None:
        """Set something on the connection that writes; nothing where it is closed, for it ends with it."""
        if self.store._door is None:
            return
        assert self.store._door._writer is not None
        work = self.store._door._writer.call(lambda db: db.execute(f"PRAGMA {text}").close())
        self.guard.opening.loop.submit(work).result(WAIT_S)


@contextmanager
def without_room(ill: Ill) -> Iterator[None]:
    """SQLite's own limit of a file's size is reached; it fails as a full disk does."""
    with sqlite3.connect(ill.path) as db:
        (pages,) = db.execute("PRAGMA page_count").fetchone()
    db.close()
    ill.pragma(f"max_page_count = {pages}")
    try:
        yield
    finally:
        ill.pragma("max_page_count = 1000000")


@contextmanager
def not_to_be_written(ill: Ill) -> Iterator[None]:
    """The connection may only read, whatever the file says."""
    ill.pragma("query_only = ON")
    try:
        yield
    finally:
        ill.pragma("query_only = OFF")


HOLDS = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def locked(ill: Ill) -> Iterator[None]:
    """Another process holds the file's lock, until it dies."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(ill.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        try:
            yield
        finally:
            holder.kill()


CONDITIONS = (
    pytest.param(without_room, "there is no room left to write the store", "free disk space", id="full"),
    pytest.param(not_to_be_written, "is read-only", "give this user the right", id="read-only"),
    pytest.param(locked, "stayed locked by another process", "end the process that holds it", id="locked"),
)


@pytest.mark.parametrize(("condition", "what", "mend"), CONDITIONS)
def test_a_store_that_takes_nothing_denies_records_the_denials_and_goes_on_by_itself(
    tmp_path: Path,
    condition: Callable[[Ill], Any],
    what: str,
    mend: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ill = Ill(tmp_path)
    assert [attempt(ill.guard, ill.run, tool)[0] for tool in ("look", "mail")] == [True, True]
    ill.guard.opening.ready.journal.flush().result(WAIT_S)
    with condition(ill):
        first = until_refused(ill.guard, ill.run)
        assert isinstance(first, StoreAwayError)
        for said in (first.diagnostics(), *all_refused(ill.guard, ill.run)):
            assert what in said and mend in said, said
    until(lambda: ill.guard.opening.ready.journal.away is None)
    assert [attempt(ill.guard, ill.run, tool)[0] for tool in ("look", "mail")] == [True, True]
    decided = [event for event in events_of(ill.guard, ill.run) if isinstance(event, CallDecided)]
    denied = [event for event in decided if event.verdict == "deny"]
    assert len(denied) >= 3, "the denials were kept, and written when they could be"
    assert {str(event.facts["failed"]) for event in denied} <= {
        "the audit log's store is away",
        "the ledger did not answer",
    }
    assert ill.guard.runs.get(ill.run.id).replay().divergence is None
    ill.guard.end_run(ill.run)
    ill.guard.close()
    assert main(["verify", "--store", str(ill.path)]) == 0
    assert "intact" in capsys.readouterr().out


@pytest.mark.parametrize(("condition", "what", "mend"), CONDITIONS)
def test_a_guard_that_is_closed_meanwhile_says_what_is_lost_and_the_log_verifies(
    tmp_path: Path,
    condition: Callable[[Ill], Any],
    what: str,
    mend: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ill = Ill(tmp_path)
    ill.guard.opening.ready.journal.flush().result(WAIT_S)
    ill.guard.opening.patience_s = 0.5
    with condition(ill):
        until_refused(ill.guard, ill.run)
        with pytest.raises(EngineError, match=f"could not be written before the guard was closed.*{what}"):
            ill.guard.close()
    anew = make_guard(MANY, store=f"sqlite:///{ill.path}")
    going = anew.begin_run(principal=ALICE, agent="main")
    assert attempt(anew, going, "mail") == (True, None)
    anew.end_run(going)
    anew.close()
    assert main(["verify", "--store", str(ill.path)]) == 0
    capsys.readouterr()


# ---- at opening ----------------------------------------------------------------------------------


@pytest.fixture
def strangers_folder() -> Iterator[Path]:
    """A folder that everyone may enter, while the test acts as a user without special rights."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        superuser = os.geteuid() == 0
        if superuser:
            os.chown(folder, 65534, 65534)
            os.seteuid(65534)
        try:
            yield folder
        finally:
            folder.chmod(0o755)
            if superuser:
                os.seteuid(0)


def test_a_file_that_may_not_be_written_is_refused_until_it_may(
    strangers_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = strangers_folder / "ringfence.db"

    def worked(guard: Guard) -> bool:
        run = guard.begin_run(principal=ALICE, agent="main")
        ran, _ = attempt(guard, run, "look")
        guard.end_run(run)
        return ran

    first = make_guard(MANY, store=f"sqlite:///{path}")
    assert worked(first)
    first.close()
    path.chmod(0o444)
    guard = make_guard(MANY, store=f"sqlite:///{path}")
    for _ in range(2):
        with pytest.raises(EngineError, match="read-only") as caught:
            guard.begin_run(principal=ALICE, agent="main")
        assert "give this user the right to write it" in caught.value.diagnostics()
    path.chmod(0o600)
    assert worked(guard), "the same guard, once it may"
    guard.close()
    assert main(["verify", "--store", str(path)]) == 0
    assert "intact: 2 runs" in capsys.readouterr().out
