"""The sqlite store and its file: privacy, sharing, group commit, and a clear error for whatever is wrong."""

import asyncio
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from ringfence.engine.decision.calls import Charge
from ringfence.engine.journal.chain import ZERO, entry_fault, link_fault
from ringfence.engine.seams.errors import EngineError
from ringfence.engine.seams.ports import Reservation
from ringfence.plugins import memory, sqlite
from ringfence.plugins.memory import MemoryStore
from ringfence.plugins.sqlite import SqliteStore
from ringfence.plugins.sqlite.connection import Connection, Door
from ringfence.testing.stores import entries, ticket

NOW = 1_795_000_000_000_000_000
CHARGE = Charge("mail", "alice", 1, 10, 60_000_000_000)


def at(path: Path, **options: object) -> SqliteStore:
    return SqliteStore(f"sqlite:///{path}", **options)  # type: ignore[arg-type]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ringfence.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    made = at(path, busy_s=0.02)
    await made.open()
    yield made
    await made.close()


def door_of(store: SqliteStore) -> Door:
    assert store._door is not None
    return store._door


def writer_of(store: SqliteStore) -> Connection:
    writer = door_of(store)._writer
    assert writer is not None
    return writer


async def append(store: SqliteStore, run: str, count: int = 1) -> None:
    assert store.events is not None
    await store.events.append(entries(count, run=run))


async def test_the_file_and_its_log_are_readable_by_their_owner_alone(path: Path) -> None:
    before = os.umask(0)
    try:
        store = at(path)
        await store.open()
        await append(store, "r")
        assert store.leases is not None
        await store.leases.lease("s", "h")
        modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}
        await store.close()
    finally:
        os.umask(before)
    assert modes == {
        "ringfence.db": 0o600,
        "ringfence.db-wal": 0o600,
        "ringfence.db-shm": 0o600,
        "ringfence.db.holders": 0o700,
    }


async def test_a_relative_url_is_seen_from_the_folder_of_its_making(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = SqliteStore("sqlite:///a #?%41.db")
    monkeypatch.chdir("/")
    await store.open()
    await store.close()
    assert (tmp_path / "a #?%41.db").is_file()


@pytest.mark.parametrize("url", ["sqlite:///", "sqlite:///:memory:", "sqlite://x.db", "x.db", ""])
def test_a_url_that_names_no_file_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="names no file"):
        SqliteStore(url)


def test_the_hooks_take_their_own_urls_alone(path: Path) -> None:
    assert isinstance(sqlite.ringfence_open_store(f"sqlite:///{path}"), SqliteStore)
    assert isinstance(memory.ringfence_open_store("memory:"), MemoryStore)
    assert sqlite.ringfence_open_store("memory:") is None
    assert memory.ringfence_open_store("sqlite:///x.db") is None
    assert [*sqlite.ringfence_store_schemes(), *memory.ringfence_store_schemes()] == ["sqlite", "memory"]


async def test_what_was_written_is_there_after_it_is_opened_again(path: Path) -> None:
    for number in range(3):
        store = at(path, create=number == 0)
        await store.open()
        await append(store, f"r{number}", 2)
        assert store.ledger is not None
        await store.ledger.reserve(Reservation(f"r/{number}", (CHARGE,)), now_ns=NOW)
        await store.close()
        await store.close()
    store = at(path)
    await store.open()
    assert store.events is not None
    assert store.ledger is not None
    assert [link.position for link in await store.events.links()] == [1, 2, 3, 4, 5, 6]
    refused = await store.ledger.reserve(
        Reservation("r/9", (Charge("mail", "alice", 8, 10, 60_000_000_000),)), now_ns=0
    )
    assert [refusal.budget for refusal in refused] == ["mail"]
    await store.close()


# ---- what can be wrong with the file ----------------------------------------------------------------


def nothing_there(path: Path) -> Path:
    return path.parent / "no" / "x.db"


def in_a_file(path: Path) -> Path:
    path.write_text("x")
    return path / "x.db"


def a_folder(path: Path) -> Path:
    path.mkdir()
    return path


def no_database(path: Path) -> Path:
    path.write_text("a letter to a friend, long enough to be looked at " * 40)
    return path


def of_another_program(path: Path) -> Path:
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE customers (id INTEGER)")
    db.close()
    return path


def of_a_newer_version(path: Path) -> Path:
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE ringfence_schema (version INTEGER)")
        db.execute("INSERT INTO ringfence_schema VALUES (99)")
    db.close()
    return path


@pytest.mark.parametrize(
    ("make", "what", "mend"),
    [
        (nothing_there, "does not exist", "make it"),
        (in_a_file, "is not a folder", "a folder that exists"),
        (a_folder, "is a folder", "name a file in it"),
        (no_database, "is not a SQLite database", "name another file"),
        (of_another_program, "another program", "a file of its own"),
        (of_a_newer_version, "schema 99", "upgrade Ringfence"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_a_file_that_cannot_be_a_store_is_left_as_it_is_with_a_word_on_mending(
    path: Path, make: Callable[[Path], Path], what: str, mend: str
) -> None:
    wrong = make(path)
    before = wrong.read_bytes() if wrong.is_file() else None
    with pytest.raises(RuntimeError, match=what) as caught:
        await at(wrong).open()
    assert mend in str(caught.value)
    assert str(wrong.parent if what in {"does not exist", "is not a folder"} else wrong) in str(caught.value)
    assert (wrong.read_bytes() if wrong.is_file() else None) == before


async def test_looking_makes_no_file(path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no store"):
        await at(path, create=False).open()
    assert list(path.parent.iterdir()) == []


@pytest.fixture
def strangers_folder() -> Iterator[Path]:
    """A folder that everyone may enter, while the test acts as a user without special rights."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        path = folder / "ringfence.db"
        path.touch(0o644)
        path.chmod(0o444)
        superuser = os.geteuid() == 0
        if superuser:
            os.seteuid(65534)
        else:
            folder.chmod(0o555)
        try:
            yield folder
        finally:
            if superuser:
                os.seteuid(0)
            folder.chmod(0o755)


async def test_a_file_without_the_right_to_write_is_named_so(strangers_folder: Path) -> None:
    with pytest.raises(RuntimeError, match="is read-only; give this user the right"):
        await at(strangers_folder / "ringfence.db").open()


async def test_a_folder_without_the_right_to_write_is_named_so(strangers_folder: Path) -> None:
    with pytest.raises(RuntimeError, match="may not be written; SQLite keeps"):
        await at(strangers_folder / "other.db").open()


async def test_a_lock_that_stays_is_an_error_at_opening_and_at_use(path: Path, store: SqliteStore) -> None:
    with sqlite3.connect(path, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(EngineError, match="stayed locked") as caught:
            await append(store, "r")
        assert "fuser" in caught.value.diagnostics()
        assert store.events is not None
        assert await store.events.runs() == []  # reading does not wait for the writer
        other.execute("COMMIT")
    other.close()
    await append(store, "r")
    fresh = path.with_name("fresh.db")
    with sqlite3.connect(fresh, isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(RuntimeError, match="stayed locked"):
            await at(fresh, busy_s=0.02).open()
        other.execute("ROLLBACK")
    other.close()


async def test_a_full_disk_is_an_error_that_leaves_nothing_behind(store: SqliteStore) -> None:
    writer = writer_of(store)
    await append(store, "before")
    await writer.call(lambda db: db.execute("PRAGMA max_page_count = 30").close())
    with pytest.raises(EngineError, match="no room left") as caught:
        await append(store, "large", 3000)
    assert "free disk space" in caught.value.diagnostics()
    await writer.call(lambda db: db.execute("PRAGMA max_page_count = 1000000").close())
    assert store.events is not None
    assert await store.events.run("large") is None
    await append(store, "after")
    assert [link.run for link in await store.events.links()] == ["before", "after"]


def damage(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))


async def test_a_damaged_file_is_an_error(path: Path) -> None:
    store = at(path)
    await store.open()
    await append(store, "r", 500)
    await store.close()
    damage(path)
    store = at(path)
    with pytest.raises((EngineError, RuntimeError), match="damaged"):
        try:
            await store.open()
            await append(store, "r2")
        finally:
            await store.close()


def deleted(path: Path) -> None:
    path.unlink()


def replaced(path: Path) -> None:
    path.rename(path.with_name("moved.db"))
    path.touch()


@pytest.mark.parametrize("change", [deleted, replaced])
async def test_a_file_that_was_deleted_or_replaced_under_a_living_process_is_an_error(
    store: SqliteStore, path: Path, change: Callable[[Path], None]
) -> None:
    assert store.events is not None
    assert store.kill_switch is not None
    await append(store, "before")
    change(path)
    for work in (append(store, "after"), store.events.runs(), store.kill_switch.orders()):
        with pytest.raises(EngineError, match="deleted or replaced"):
            await work


@pytest.mark.parametrize(
    "planted",
    [
        "CREATE TRIGGER planted AFTER INSERT ON unit BEGIN DELETE FROM unit; END",
        "DROP TRIGGER unit_taken",
        "CREATE VIEW planted AS SELECT * FROM event",
    ],
)
async def test_a_trigger_or_view_that_was_planted_or_removed_is_refused(path: Path, planted: str) -> None:
    store = at(path)
    await store.open()
    await store.close()
    with sqlite3.connect(path) as db:
        db.execute(planted)
    db.close()
    with pytest.raises(RuntimeError, match="other triggers or views"):
        await at(path).open()


async def test_two_names_of_one_file_are_one_store_with_one_set_of_leases(tmp_path: Path, path: Path) -> None:
    (tmp_path / "linked").symlink_to(tmp_path)
    (tmp_path / "other.db").symlink_to(path)
    stores = [at(path), at(tmp_path / "linked" / "ringfence.db"), at(tmp_path / "other.db")]
    answers = []
    for number, store in enumerate(stores):
        await store.open()
        assert store.leases is not None
        answers.append(await store.leases.lease("s", f"holder-{number}"))
    for store in stores:
        await store.close()
    assert answers == [None, "holder-0", "holder-0"]


async def test_a_copy_made_while_the_log_is_written_opens_and_verifies(path: Path, tmp_path: Path) -> None:
    """By SQLite's own backup; and with the write-ahead log but without its index."""
    store = at(path)
    await store.open()
    await append(store, "r", 300)
    with sqlite3.connect(path) as source, sqlite3.connect(tmp_path / "backup.db") as target:
        source.backup(target)
    source.close()
    target.close()
    shutil.copy(path, tmp_path / "copied.db")
    shutil.copy(f"{path}-wal", tmp_path / "copied.db-wal")
    await store.close()
    for name in ("backup.db", "copied.db"):
        copy = at(tmp_path / name, create=False)
        await copy.open()
        assert copy.events is not None
        prev = ZERO
        found = await copy.events.read("r")
        for number, entry in enumerate(found, 1):
            assert entry_fault(entry, prev=prev, seq=number) is None
            prev = entry.hash
        assert len(found) == 300
        await append(copy, "goes on")
        await copy.close()


@pytest.mark.parametrize(
    "name",
    [
        "ringfence.db?mode=memory",
        "a b%20c.db",
        "file:x.db?mode=rwc&cache=shared",
        "x';DROP TABLE event;--.db",
    ],
)
async def test_a_url_is_a_path_and_nothing_else(tmp_path: Path, name: str) -> None:
    store = at(tmp_path / name)
    await store.open()
    await append(store, "r")
    await store.close()
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("path", ["/dev/null", "/dev/full", "/proc/self/mem", "/etc/passwd/x.db", "a\0b.db"])
async def test_a_path_that_can_hold_no_database_is_an_error(path: str) -> None:
    with pytest.raises((RuntimeError, ValueError)):
        await SqliteStore(f"sqlite:///{path}", busy_s=0.02).open()


# ---- one writer for all -----------------------------------------------------------------------------


async def test_what_is_queued_together_is_committed_together(store: SqliteStore) -> None:
    statements: list[str] = []
    assert store.ledger is not None
    assert store.tickets is not None
    await writer_of(store).call(lambda db: db.set_trace_callback(statements.append))
    await asyncio.gather(
        *(append(store, f"r{number}") for number in range(100)),
        *(store.ledger.reserve(Reservation(f"r/{n}", (CHARGE,)), now_ns=NOW + n) for n in range(100)),
        *(store.tickets.open(ticket(f"T-{number}")) for number in range(50)),
    )
    await writer_of(store).call(lambda db: db.set_trace_callback(None))
    assert statements.count("COMMIT") == 1


async def test_only_what_a_loss_of_power_may_undo_is_committed_without_the_disk(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert store.ledger and store.leases and store.kill_switch and store.tickets
    ledger, leases, switch = store.ledger, store.leases, store.kill_switch
    flushed: list[bool] = []
    write = Door.write

    async def watched(door: Door, work: Callable[[sqlite3.Connection], object], **how: bool) -> object:
        def seen(db: sqlite3.Connection) -> object:
            flushed.append(db.execute("PRAGMA synchronous").fetchone()[0] == 2)
            return work(db)

        return await write(door, seen, **how)

    monkeypatch.setattr(Door, "write", watched)
    held = Reservation("r/1", (CHARGE,), 60_000_000_000)
    for work, lasts in (
        # Whoever holds a session, or attends, is as dead after a loss of power as what it had written.
        (switch.keep_alive("a"), False),
        (leases.lease("s", "a"), False),
        (append(store, "r"), True),
        # Nothing was dispatched on it: the body has not begun.
        (ledger.reserve(held, now_ns=NOW), False),
        (ledger.dispatched(held.id, now_ns=NOW), True),
        # It stays held, or taken: more is refused.
        (ledger.settle("r", now_ns=NOW), False),
        (ledger.refund(held.id), False),
        (store.tickets.open(ticket("T-1")), True),
        (switch.order(run=None, agent=None, by=None, at_ns=NOW), True),
        (switch.obeyed("a", 1, in_flight=0), True),
        (leases.release("s", "a"), False),
        (leases.gone("a"), False),
        (switch.gone("a"), False),
    ):
        await work
        assert flushed.pop() is lasts and not flushed
    await asyncio.gather(leases.lease("s", "a"), append(store, "q"), leases.lease("t", "a"))
    assert flushed == [True] * 3, "what shares a commit with what lasts lasts"


async def test_what_fails_in_a_shared_commit_fails_alone(store: SqliteStore) -> None:
    assert store.events is not None
    assert store.tickets is not None
    await store.tickets.open(ticket("T-1"))
    outcomes = await asyncio.gather(
        append(store, "r1"),
        store.tickets.open(ticket("T-1")),
        append(store, "r2"),
        return_exceptions=True,
    )
    assert [type(outcome) for outcome in outcomes] == [type(None), EngineError, type(None)]
    assert [link.run for link in await store.events.links()] == ["r1", "r2"]


async def test_a_caller_that_gives_up_does_not_disturb_the_others(store: SqliteStore) -> None:
    assert store.events is not None
    given_up = asyncio.create_task(append(store, "r1"))
    other = asyncio.create_task(append(store, "r2"))
    await asyncio.sleep(0)
    given_up.cancel()
    await asyncio.wait([given_up, other])
    assert given_up.cancelled()
    assert await store.events.run("r2") is not None


async def test_closing_finishes_what_is_queued(path: Path) -> None:
    store = at(path)
    await store.open()
    writing = asyncio.create_task(append(store, "r", 5))
    await asyncio.sleep(0)
    await store.close()
    await writing
    store = at(path, create=False)
    await store.open()
    assert store.events is not None
    assert len(await store.events.read("r")) == 5
    await store.close()


async def test_a_closed_store_refuses(store: SqliteStore) -> None:
    log = store.events
    assert log is not None
    await store.close()
    with pytest.raises(EngineError):
        await log.append(entries(1))


def code_of_child(work: Callable[[], None]) -> int:
    """Run `work` in a forked child; return 7 if it raised an EngineError there."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
        except EngineError:
            code = 7
        os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
async def test_a_forked_child_is_refused(store: SqliteStore) -> None:
    assert code_of_child(door_of(store)._same_process) == 7


def test_a_store_that_is_never_closed_keeps_no_process_alive(path: Path) -> None:
    script = (
        "import asyncio, os, sys\n"
        "from ringfence.plugins.sqlite import SqliteStore\n"
        "async def main():\n"
        "    global store\n"
        "    store = SqliteStore('sqlite:///' + sys.argv[1])\n"
        "    await store.open()\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], timeout=60, check=False)
    assert done.returncode == 0


# ---- what a verifier finds --------------------------------------------------------------------------


async def test_an_edit_of_the_file_shows_in_the_chains(path: Path) -> None:
    store = at(path)
    await store.open()
    await append(store, "r", 3)
    await store.close()
    with sqlite3.connect(path) as db:
        db.execute("UPDATE event SET body = ? WHERE seq = 2", (b'{"call":"c9"}',))
        db.execute("DELETE FROM event WHERE seq = 3")
    db.close()
    store = at(path)
    await store.open()
    assert store.events is not None
    first, second = await store.events.read("r")
    assert entry_fault(first, prev=ZERO, seq=1) is None
    assert "body" in (entry_fault(second, prev=first.hash, seq=2) or "")
    links = await store.events.links()
    assert link_fault(links[0], prev=ZERO, position=1, hash=first.hash) is None
    row = await store.events.run("r")
    assert row is not None
    assert (row.events, len(links)) == (3, 2)
    await store.close()


async def test_a_text_that_is_no_utf_8_is_read_as_it_stands(store: SqliteStore) -> None:
    await append(store, "r1", 3)
    await append(store, "r2")
    await door_of(store).write(
        lambda db: db.execute("UPDATE event SET kind = CAST(x'41ff' AS TEXT) WHERE position = 2").close()
    )
    assert store.events is not None
    assert [entry.kind for entry in await store.events.read("r1")][1] == "A\udcff"
    assert [entry.kind for entry in await store.events.read("r2")] == ["CallStarted"]


async def test_what_sqlite_refuses_is_not_read_twice(store: SqliteStore) -> None:
    asked: list[str] = []

    def ask(db: sqlite3.Connection) -> None:
        asked.append("once")
        db.execute("SELECT nothing FROM nowhere")

    with pytest.raises(EngineError):
        await door_of(store).read(ask)
    assert asked == ["once"]
