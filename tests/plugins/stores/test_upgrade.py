"""A file of an older version is led to this one when it is opened; nothing that it holds is lost."""

import asyncio
import sqlite3
from hashlib import sha256
from pathlib import Path

import pytest

from ringfence.engine.decision.calls import Charge
from ringfence.engine.seams.ports import Reservation
from ringfence.plugins.sqlite import SqliteStore
from ringfence.plugins.sqlite.schema import STEPS, VERSION

NOW = 1_795_000_000_000_000_000
MINUTE = 60_000_000_000


def store_at(path: Path) -> SqliteStore:
    return SqliteStore(f"sqlite:///{path}")


@pytest.fixture
def first(tmp_path: Path) -> Path:
    """A file as the first version made it, with one unit that leaves after a minute."""
    path = tmp_path / "ringfence.db"
    with sqlite3.connect(path) as db:
        db.executescript(STEPS[0])
        db.execute("UPDATE clock SET latest_ns = ?", (NOW,))
        db.execute("INSERT INTO budget_window (budget, key, period_ns) VALUES ('mail', '', ?)", (MINUTE,))
        db.execute(
            "INSERT INTO unit (window_id, reservation, amount, leaves_ns) VALUES (1, 'r/1', 1, ?)",
            (NOW + MINUTE,),
        )
    db.close()
    return path


def test_the_first_step_is_the_schema_that_was_released() -> None:
    assert (
        sha256(STEPS[0].encode()).hexdigest()
        == "2bddf58f7136dfef4adacd56d8604015f2b76c32d93d717ead512767b932997f"
    )
    assert len(STEPS) == VERSION


async def test_an_older_file_keeps_what_was_charged_and_counts_members_from_then_on(first: Path) -> None:
    store = store_at(first)
    await store.open()
    ledger = store.ledger
    assert ledger is not None
    mail, touch = Charge("mail", "", 1, 1, MINUTE), Charge("blast", "", 1, 1, MINUTE, ("a",))
    assert await ledger.reserve(Reservation("r/2", (mail,)), now_ns=NOW) != ()
    assert await ledger.reserve(Reservation("r/3", (mail, touch)), now_ns=NOW + MINUTE) == ()
    other = Charge("blast", "", 1, 1, MINUTE, ("b",))
    assert await ledger.reserve(Reservation("r/4", (other,)), now_ns=NOW + MINUTE) != ()
    await store.close()
    with sqlite3.connect(first) as db:
        assert db.execute("SELECT version FROM ringfence_schema").fetchall() == [
            (version,) for version in range(1, VERSION + 1)
        ]
    db.close()


async def test_what_an_older_file_holds_is_held_without_end_and_new_leases_end(first: Path) -> None:
    with sqlite3.connect(first) as db:
        db.execute("INSERT INTO unit (window_id, reservation, amount) VALUES (1, 'r/held', 1)")
    db.close()
    store = store_at(first)
    await store.open()
    ledger = store.ledger
    assert ledger is not None
    mail = Charge("mail", "", 1, 3, MINUTE)
    leased = Reservation("r/leased", (mail,), lease_ns=MINUTE)
    assert await ledger.reserve(leased, now_ns=NOW) == ()
    assert await ledger.dispatched("r/1", now_ns=NOW)
    later = NOW + 2 * MINUTE
    assert await ledger.reserve(Reservation("r/2", (mail,)), now_ns=later) == ()
    assert await ledger.reserve(Reservation("r/3", (mail,)), now_ns=later) == ()
    assert await ledger.reserve(Reservation("r/4", (mail,)), now_ns=later) != ()
    assert await ledger.dispatched("r/held", now_ns=later)
    assert not await ledger.dispatched("r/leased", now_ns=later)
    await store.close()


async def test_a_file_is_led_on_once_however_many_open_it(first: Path) -> None:
    stores = [store_at(first) for _ in range(4)]
    await asyncio.gather(*(store.open() for store in stores))
    for store in stores:
        await store.close()
    with sqlite3.connect(first) as db:
        assert db.execute("SELECT count(*) FROM ringfence_schema").fetchone() == (VERSION,)
    db.close()


async def test_a_step_that_breaks_leaves_the_file_as_it_was(first: Path) -> None:
    with sqlite3.connect(first) as db:
        db.execute("CREATE TABLE member (somebody_elses TEXT)")
    with pytest.raises(RuntimeError):
        await store_at(first).open()
    assert db.execute("SELECT version FROM ringfence_schema").fetchall() == [(1,)]
    assert db.execute("SELECT name FROM sqlite_schema WHERE name = 'touch'").fetchall() == []
    db.execute("DROP TABLE member")
    db.commit()
    db.close()
    store = store_at(first)
    await store.open()
    await store.close()


@pytest.mark.parametrize(
    "planted",
    [
        "CREATE TRIGGER planted AFTER INSERT ON unit BEGIN DELETE FROM unit; END",
        "DROP TRIGGER unit_given_back",
    ],
)
async def test_an_older_file_with_other_triggers_is_refused_before_it_is_changed(
    first: Path, planted: str
) -> None:
    with sqlite3.connect(first) as db:
        db.execute(planted)
    with pytest.raises(RuntimeError, match="other triggers or views"):
        await store_at(first).open()
    assert db.execute("SELECT version FROM ringfence_schema").fetchall() == [(1,)]
    db.close()
