"""Several processes on one file: exact limits, one gapless chain, leases that fall when a holder dies."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from ringfence.engine.journal.chain import ZERO, entry_fault, link_fault
from ringfence.plugins.sqlite import SqliteStore

WAIT_S = 60

CHILD = '''
import asyncio, sys
from ringfence.engine.decision.calls import Charge
from ringfence.engine.seams.ports import Reservation
from ringfence.plugins.sqlite import SqliteStore
from ringfence.testing.stores import entries, ticket

async def race(store, name):
    """Say how many of 25 reservations against a limit of 10 were granted."""
    granted = 0
    for number in range(25):
        asked = Reservation(f"{name}/{number}", (Charge("mail", "alice", 1, 10, 60_000_000_000),))
        if not await store.ledger.reserve(asked, now_ns=10**18 + number):
            await store.ledger.dispatched(asked.id, now_ns=10**18 + number)
            granted += 1
    print(granted, flush=True)

async def touch(store, name):
    """Touch 25 accounts, of which ten may differ; say which were granted."""
    granted = []
    for number in range(25):
        charge = Charge("blast", "", 1, 10, 60_000_000_000, (f"account {number}",))
        if not await store.ledger.reserve(Reservation(f"{name}/{number}", (charge,)), now_ns=10**18 + number):
            granted.append(number)
    print(granted, flush=True)

async def append(store, name):
    """Append 100 events one by one."""
    for entry in entries(100, run=name):
        await store.events.append([entry])

async def forever(store, name):
    """Lease a session, then append without end, several at a time, saying what is durable."""
    print(await store.leases.lease("s1", name), flush=True)
    made = entries(20_000, run=name)
    for start in range(0, len(made), 7):
        await store.events.append(made[start : start + 7])
        print(start + 7, flush=True)

async def main():
    store = SqliteStore("sqlite:///" + sys.argv[1], busy_s=50)
    print("ready", flush=True)
    sys.stdin.readline()
    await store.open()
    await globals()[sys.argv[2]](store, sys.argv[3])
    await store.close()

asyncio.run(main())
'''


def child(path: Path, work: str, name: str) -> "subprocess.Popen[str]":
    """Start a process that waits for a line before it opens the store and works."""
    made = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(path), work, name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert said(made) == "ready"
    return made


def said(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def outputs(processes: "list[subprocess.Popen[str]]") -> list[str]:
    """Let all begin at once; return what they said until they ended."""
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = []
    for process in processes:
        answers.append(process.communicate(timeout=WAIT_S)[0].strip())
        assert process.returncode == 0
    return answers


def look(path: Path, ask: Any) -> Any:
    """Open the store, ask it, and close it."""

    async def run() -> Any:
        store = SqliteStore(f"sqlite:///{path}", create=False)
        await store.open()
        try:
            return await ask(store)
        finally:
            await store.close()

    return asyncio.run(run())


def verified(path: Path) -> dict[str, int]:
    """Check both chains of the whole log; return how many events each run has."""

    async def verify(store: SqliteStore) -> dict[str, int]:
        assert store.events is not None
        hashes, counts = {}, {}
        for row in await store.events.runs():
            prev = ZERO
            entries = await store.events.read(row.run)
            for number, entry in enumerate(entries, 1):
                assert entry_fault(entry, prev=prev, seq=number) is None
                prev = hashes[entry.id] = entry.hash
            assert (row.events, row.head) == (len(entries), prev)
            counts[row.run] = len(entries)
        prev = ZERO
        links = await store.events.links(limit=10**9)
        for position, link in enumerate(links, 1):
            found = hashes.get(f"{link.run}:{link.seq}")
            assert link_fault(link, prev=prev, position=position, hash=found) is None
            prev = link.hash
        assert len(links) == len(hashes)
        return counts

    return dict(look(path, verify))


def test_two_processes_touch_the_same_ten_accounts(tmp_path: Path) -> None:
    path = tmp_path / "ringfence.db"
    answers = outputs([child(path, "touch", name) for name in ("one", "two")])
    first, second = (set(json.loads(answer)) for answer in answers)
    assert len(first | second) == 10


def test_two_processes_race_for_a_limit_of_ten_and_get_ten(tmp_path: Path) -> None:
    path = tmp_path / "ringfence.db"
    granted = outputs([child(path, "race", name) for name in ("a", "b")])
    assert sum(map(int, granted)) == 10


def test_processes_that_make_the_file_at_once_write_one_gapless_chain(tmp_path: Path) -> None:
    path = tmp_path / "ringfence.db"
    outputs([child(path, "append", name) for name in ("a", "b", "c")])
    assert verified(path) == {"a": 100, "b": 100, "c": 100}


def test_a_process_killed_while_it_writes_leaves_a_log_that_verifies_and_a_lease_that_falls(
    tmp_path: Path,
) -> None:
    path = tmp_path / "ringfence.db"
    durable = 0
    for round_number in range(3):
        name = f"holder-{round_number}"
        writer = child(path, "forever", name)
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
        assert said(writer) == "None", "the lease of the process that was killed before stands no longer"

        async def lease(store: SqliteStore) -> str | None:
            assert store.leases is not None
            return await store.leases.lease("s1", "me")

        assert look(path, lease) == name, "a living holder keeps its lease"
        for _ in range(15):
            durable = int(said(writer))
        writer.kill()
        assert writer.stdout is not None
        durable = max([durable, *map(int, writer.stdout.read().split("\n")[:-1])])
        writer.wait(WAIT_S)
        writer.stdin.close()
        writer.stdout.close()
        counts = verified(path)
        assert counts[name] >= durable
        assert counts[name] % 7 == 0, "an append is whole or absent"
    assert len(list((tmp_path / "ringfence.db.holders").iterdir())) == 0, "files of the dead are removed"
