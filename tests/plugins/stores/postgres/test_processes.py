"""Several hosts, stood for by processes that share the URL alone: exact limits and one gapless chain."""

import asyncio
import json
import subprocess
import sys
from typing import IO

from ringfence.plugins.postgres.store import PostgresStore
from ringfence.testing.stores import entries
from tests.plugins.stores.postgres.opened import WAIT_S, opened, until, verified

CHILD = '''
import asyncio, json, sys
from ringfence.engine.decision.calls import Charge
from ringfence.engine.seams.ports import Reservation
from ringfence.plugins.postgres.store import PostgresStore
from ringfence.testing.stores import entries, ticket

HOUR = 3_600_000_000_000

async def race(store, name):
    """Ask 25 times at once for one of ten, and for one of ten accounts; say which were granted."""
    async def ask(number):
        members = (f"account {number}",)
        asked = Reservation(f"{name}/{number}", (
            Charge("blast", "", 1, 10, HOUR, members), Charge("mail", "alice", 1, 12, HOUR)))
        refused = await store.ledger.reserve(asked, now_ns=0)
        return not refused and await store.ledger.dispatched(asked.id, now_ns=0)
    print(json.dumps(await asyncio.gather(*(ask(number) for number in range(25)))), flush=True)

async def append(store, name):
    """Append 100 events in small batches, several runs at once."""
    async def write(run):
        made = entries(50, run=run)
        for start in range(0, 50, 3):
            await store.events.append(made[start : start + 3])
    await asyncio.gather(write(f"{name}-1"), write(f"{name}-2"))

async def forever(store, name):
    """Lease a session, then append without end, saying what is durable."""
    print(await store.leases.lease("s1", name), flush=True)
    made = entries(20_000, run=name)
    for start in range(0, len(made), 7):
        await store.events.append(made[start : start + 7])
        print(start + 7, flush=True)

async def main():
    store = PostgresStore(sys.argv[1], presence_s=float(sys.argv[4]), within_s=30)
    print("ready", flush=True)
    sys.stdin.readline()
    await store.open()
    await globals()[sys.argv[2]](store, sys.argv[3])
    await store.close()

asyncio.run(main())
'''


def child(url: str, work: str, name: str, *, presence_s: float = 15) -> "subprocess.Popen[str]":
    """Start a process that waits for a line before it opens the store and works."""
    made = subprocess.Popen(
        [sys.executable, "-c", CHILD, url, work, name, str(presence_s)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert line(made.stdout) == "ready"
    return made


def line(stream: IO[str] | None) -> str:
    assert stream is not None
    return stream.readline().strip()


def begin(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def outputs(processes: "list[subprocess.Popen[str]]") -> list[str]:
    """Let all begin at once; return what they said until they ended."""
    for process in processes:
        begin(process)
    answers = []
    for process in processes:
        answers.append(process.communicate(timeout=WAIT_S)[0].strip())
        assert process.returncode == 0
    return answers


def test_processes_that_race_for_ten_get_ten(url: str) -> None:
    granted = [json.loads(said) for said in outputs([child(url, "race", name) for name in ("a", "b", "c")])]
    accounts = {number for answers in granted for number, passed in enumerate(answers) if passed}
    assert sum(answers.count(True) for answers in granted) == 12
    assert len(accounts) <= 10


def test_processes_that_make_the_schema_at_once_write_one_gapless_chain(url: str) -> None:
    outputs([child(url, "append", name) for name in ("a", "b", "c")])

    async def look() -> dict[str, int]:
        async with opened(PostgresStore(url)) as it:
            return await verified(it.log)

    assert asyncio.run(look()) == {f"{name}-{number}": 50 for name in "abc" for number in (1, 2)}


def test_a_process_killed_while_it_writes_leaves_a_log_that_verifies_and_a_lease_that_falls(url: str) -> None:
    writer = child(url, "forever", "one", presence_s=3600)
    begin(writer)
    assert line(writer.stdout) == "None"
    durable = [int(line(writer.stdout)) for _ in range(15)]
    writer.kill()
    assert writer.stdout is not None and writer.stdin is not None
    durable += map(int, writer.stdout.read().split("\n")[:-1])
    writer.wait(WAIT_S)
    writer.stdin.close()
    writer.stdout.close()

    async def look() -> None:
        async with opened(PostgresStore(url, presence_s=0.05)) as it:
            assert await it.leases.lease("s1", "two") == "one", "it said that it would live for an hour"
            await it.leases.gone("one")
            assert await it.leases.lease("s1", "two") is None

            async def fallen() -> bool:
                return await it.leases.lease("s1", "three") is None

            await until(fallen)
            assert not await it.leases.holds("s1", "two")
            counts = await verified(it.log)
            assert counts["one"] >= durable[-1]
            assert counts["one"] % 7 == 0, "an append is whole or absent"
            await it.log.append(entries(counts["one"] + 1, run="one"))
            assert await verified(it.log) == {"one": counts["one"] + 1}

    asyncio.run(look())
