"""A log that may only be read is read as it stands: nothing is passed over, made or changed."""

import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from ringfence.__main__ import main
from ringfence.cli import following
from ringfence.engine.decision import events as e
from ringfence.engine.journal.purging import purge_after
from ringfence.engine.seams.errors import EngineError
from ringfence.engine.seams.loop import EngineLoop
from ringfence.engine.seams.ports import ReadableStore
from ringfence.plugins.sqlite import SqliteStore
from ringfence.plugins.sqlite.connection import Connection, Door
from ringfence.plugins.sqlite.still import connect_still, stand, way_to
from tests.cli.conftest import entries
from tests.guards import call, make_guard

COMMANDS = (
    *(["verify"], ["verify", "R-FIRST"], ["runs"], ["show", "R-FIRST"], ["why", "R-FIRST", "1"]),
    *(["runs", "--verdict", "allow"], ["stats"], ["replay", "last"], ["replay", "R-FIRST"]),
)
"""`replay R-FIRST` refuses a log that nobody's guard wrote; it must say the same of it from everywhere."""


class Written:
    """A file that a writer keeps open, so that what was committed last stands in its write-ahead log."""

    def __init__(self, folder: Path, events: Sequence[e.RunEvent]) -> None:
        self.path = folder / "ringfence.db"
        self.loop = EngineLoop()
        self.store = SqliteStore(f"sqlite:///{self.path}")
        self.loop.submit(self.store.open()).result()
        self.append("R-FIRST", events)

    def append(self, run: str, events: Sequence[e.RunEvent]) -> None:
        assert self.store.events is not None
        self.loop.submit(self.store.events.append(entries(run, events))).result()

    def close(self) -> None:
        self.loop.submit(self.store.close()).result()
        self.loop.close()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that everyone may enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as name:
        made = Path(name)
        made.chmod(0o755)
        yield made
        made.chmod(0o755)


@pytest.fixture
def written(tmp_path: Path, whole_run: list[e.RunEvent]) -> Iterator[Written]:
    made = Written(tmp_path, whole_run)
    yield made
    made.close()


@contextmanager
def only_reading(folder: Path, *, folder_too: bool = True) -> Iterator[None]:
    """Nobody may write the files of the folder, and whoever acts has no special rights."""
    for file in folder.iterdir():
        file.chmod(0o444)
    superuser = os.geteuid() == 0
    if folder_too:
        folder.chmod(0o555)
    elif superuser:
        folder.chmod(0o777)
    before = contents(folder)
    if superuser:
        os.seteuid(65534)
    try:
        yield
        assert contents(folder) == before, "something was made or changed"
    finally:
        if superuser:
            os.seteuid(0)


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def copied(written: Written, folder: Path, *parts: str) -> Path:
    """Copy the file, and what stands beside it, as somebody does who copies what a process has open."""
    for part in ("", *parts):
        shutil.copy(f"{written.path}{part}", folder / f"ringfence.db{part}")
    return folder / "ringfence.db"


def said(capsys: pytest.CaptureFixture[str], path: Path, *words: str) -> tuple[int, str]:
    code = main([*words, "--json", "--store", f"sqlite:///{path}"])
    shown = capsys.readouterr()
    return code, shown.out + shown.err


@pytest.mark.parametrize("folder_too", [True, False], ids=["folder and file", "file alone"])
@pytest.mark.parametrize("parts", [(), ("-wal",), ("-wal", "-shm")], ids=["file", "with log", "with index"])
def test_every_command_that_reads_says_the_same(
    parts: tuple[str, ...],
    folder_too: bool,
    written: Written,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    guard = make_guard(store=f"sqlite:///{written.path}")
    with guard.run(agent="main") as run:
        guard.execute(run, call("look", what="x"), lambda arguments: arguments)
    guard.close()
    if not parts:
        with closing(sqlite3.connect(written.path)) as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    else:
        assert Path(f"{written.path}-wal").stat().st_size > 0
    path = copied(written, folder, *parts)
    wanted = [said(capsys, written.path, *words) for words in COMMANDS]  # loads all that is imported late
    with only_reading(folder, folder_too=folder_too):
        assert [said(capsys, path, *words) for words in COMMANDS] == wanted
    codes = [code for code, _ in wanted]
    assert codes[:-1] == [0] * (len(COMMANDS) - 1)


def test_nothing_is_purged_there_and_what_would_be_is_said(
    written: Written, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = copied(written, folder, "-wal")
    with only_reading(folder):
        code, told = said(capsys, path, "purge", "--before", "0s")
        assert code == 1 and "read-only" in told
        code, told = said(capsys, path, "purge", "--before", "0s", "--dry-run")
        assert code == 0 and json.loads(told)["runs"] == ["R-FIRST"]


async def test_a_store_that_only_reads_refuses_to_purge(written: Written, folder: Path) -> None:
    path = copied(written, folder, "-wal")
    with only_reading(folder):
        store = SqliteStore(f"sqlite:///{path}")
        await store.open_to_read()
        assert store.events is not None and store.tickets is not None
        last = (await store.events.read("R-FIRST"))[-1]
        row = await store.events.run("R-FIRST")
        assert row is not None
        purge = purge_after(last, row, before_ns=1, by=None, now_ns=1)
        for refused in (
            store.events.purge(purge, upto=last.seq), store.events.scrub(), store.tickets.forget(["T-1"]),
        ):  # fmt: skip
            with pytest.raises(EngineError, match="read-only"):
                await refused
        assert (await store.events.read("R-FIRST"))[-1] == last
        await store.close()


def test_one_can_be_followed(
    written: Written, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(following, "sleep", stop)
    path = copied(written, folder, "-wal", "-shm")
    wanted = said(capsys, written.path, "tail", "--from-start")
    with only_reading(folder):
        assert said(capsys, path, "tail", "--from-start") == wanted
    assert wanted[0] == 130 and "RunStarted" in wanted[1]


def test_a_tampered_one_is_refused_as_everywhere(
    written: Written, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = copied(written, folder, "-wal")
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE event SET kind = 'CallStarted' WHERE position = 3")
    assert said(capsys, path, "verify")[0] == 2
    with only_reading(folder):
        code, told = said(capsys, path, "verify")
    assert code == 2 and "R-FIRST:3" in told


def test_what_a_living_writer_commits_meanwhile_is_read(
    folder: Path, whole_run: list[e.RunEvent], capsys: pytest.CaptureFixture[str]
) -> None:
    live = Written(folder, whole_run)
    try:
        _, before = said(capsys, live.path, "verify")
        for file in folder.iterdir():
            file.chmod(0o644)
        folder.chmod(0o755)
        loop, store = EngineLoop(), SqliteStore(f"sqlite:///{live.path}")
        with acting_without_rights(folder):
            loop.submit(store.open_to_read()).result()
            assert store.events is not None and store.ledger is None
            assert len(loop.submit(store.events.links()).result()) == len(whole_run)
        live.append("R-SECOND", whole_run[:3])
        with acting_without_rights(folder):
            assert len(loop.submit(store.events.links()).result()) == len(whole_run) + 3
            code, told = said(capsys, live.path, "verify")
            assert code == 0 and told != before
        loop.submit(store.close()).result()
        loop.close()
        live.append("R-THIRD", whole_run[:3])  # the reader has taken nothing from the writer
    finally:
        live.close()


@contextmanager
def acting_without_rights(folder: Path) -> Iterator[None]:
    """Act as somebody who may only read; where that cannot be, the folder alone is closed."""
    superuser = os.geteuid() == 0
    if superuser:
        os.seteuid(65534)
    else:
        folder.chmod(0o555)
    try:
        yield
    finally:
        if superuser:
            os.seteuid(0)
        folder.chmod(0o755)


def test_what_would_write_is_refused_in_words(
    written: Written, folder: Path, capsys: pytest.CaptureFixture[str], whole_run: list[e.RunEvent]
) -> None:
    path = copied(written, folder, "-wal")
    said(capsys, written.path, "kill", "--all", "--within", "1ms")
    loop, store = EngineLoop(), SqliteStore(f"sqlite:///{path}")
    assert isinstance(store, ReadableStore)
    with only_reading(folder):
        code, told = said(capsys, path, "kill", "--all", "--within", "1ms")
        assert code == 1 and "is read-only" in told
        loop.submit(store.open_to_read()).result()
        assert store.events is not None
        with pytest.raises(EngineError, match="is read-only"):
            loop.submit(store.events.append(entries("R-NEW", whole_run))).result()
        loop.submit(store.close()).result()
    loop.close()


@pytest.mark.parametrize(
    ("content", "why"), [(b"", "is empty"), (b"no database at all" * 99, "is not a SQLite database")]
)
def test_what_holds_no_log_is_named(
    content: bytes, why: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = folder / "ringfence.db"
    path.write_bytes(content)
    said(capsys, folder / "absent.db", "runs")
    with only_reading(folder):
        code, told = said(capsys, path, "runs")
    assert code == 1 and why in told


def test_an_index_that_may_not_be_read_is_named(
    written: Written, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = copied(written, folder, "-wal", "-shm")
    said(capsys, written.path, "runs")
    with acting_without_rights_on(folder, "ringfence.db-wal"):
        code, told = said(capsys, path, "runs")
    assert code == 1 and "ringfence.db-wal` may not be read" in told


@contextmanager
def acting_without_rights_on(folder: Path, name: str) -> Iterator[None]:
    for file in folder.iterdir():
        file.chmod(0 if file.name == name else 0o644)
    with acting_without_rights(folder):
        yield


async def test_one_that_is_written_while_it_is_read_without_a_lock_gives_no_answer(
    written: Written, folder: Path
) -> None:
    path = copied(written, folder, "-wal")
    way = way_to(path)
    assert not way.locks
    reader = await Connection.opened(lambda: connect_still(path, way, busy_s=1))
    door = Door(path, None, reader, busy_s=1, seen=stand, after=True)

    def count(db: sqlite3.Connection) -> int:
        return int(db.execute("SELECT count(*) FROM event").fetchone()[0])

    def meanwhile(db: sqlite3.Connection) -> int:
        found = count(db)
        with open(f"{path}-wal", "ab") as log:
            log.write(b"x")
        return found

    assert await door.read(count) == 18
    with pytest.raises(EngineError, match="was written while it was read"):
        await door.read(meanwhile)
    with pytest.raises(EngineError, match="deleted or replaced"):
        await door.read(count)
    await door.close()
