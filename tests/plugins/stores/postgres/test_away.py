"""A server that is killed, stopped or frozen in the middle: nothing is lost and nothing charged twice."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import asyncpg
import pytest

from ringfence.plugin import EngineError, Reservation, StoreAwayError
from ringfence.plugins.postgres.store import PostgresStore
from ringfence.testing.leased import charge
from ringfence.testing.stores import NOW_NS, entries, ticket
from tests.plugins.stores.postgres.opened import WAIT_S, Open, opened, verified
from tests.services import Postgres

T = TypeVar("T")


async def insist(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask the same again for as long as the store is away."""
    async with asyncio.timeout(WAIT_S):
        while True:
            try:
                return await ask()
            except StoreAwayError:
                await asyncio.sleep(0.02)


async def restarted(server: Postgres) -> None:
    await asyncio.to_thread(server.kill)
    await asyncio.to_thread(server.start)


async def test_a_server_killed_in_the_middle_loses_nothing_and_charges_nothing_twice(
    url: str, postgres_server: Postgres
) -> None:
    async with opened(PostgresStore(url)) as it:
        hour = charge(10, period_ns=3_600_000_000_000)
        begun = asyncio.Event()

        async def call(number: int) -> bool:
            asked = Reservation(f"r/{number}", (hour,))
            refused = await insist(lambda: it.ledger.reserve(asked, now_ns=0))
            begun.set()
            return not refused and await insist(lambda: it.ledger.dispatched(asked.id, now_ns=0))

        async def write(run: str) -> None:
            made = entries(60, run=run)
            for start in range(0, 60, 4):
                batch = made[start : start + 4]
                await insist(lambda batch=batch: it.log.append(batch))  # type: ignore[misc]

        calls = [asyncio.create_task(call(number)) for number in range(40)]
        writers = [asyncio.create_task(write(f"run-{number}")) for number in range(4)]
        await begun.wait()
        await restarted(postgres_server)
        assert (await asyncio.gather(*calls)).count(True) == 10
        await asyncio.gather(*writers)
        assert await verified(it.log) == {f"run-{number}": 60 for number in range(4)}


async def test_idle_connections_that_the_server_dropped_are_replaced(
    url: str, postgres_server: Postgres
) -> None:
    async with opened(PostgresStore(url)) as it:
        await asyncio.gather(*(it.log.head() for _ in range(8)))
        await it.tickets.open(ticket())
        await asyncio.to_thread(postgres_server.stop)
        with pytest.raises(StoreAwayError, match=r"reached|ended|shutting"):
            await it.tickets.get("T-AAAA1111")
        await asyncio.to_thread(postgres_server.start)
        assert await insist(lambda: it.tickets.get("T-AAAA1111")) == ticket()


async def test_a_frozen_server_is_away_in_time_and_the_same_may_be_asked_again(
    url: str, postgres_server: Postgres
) -> None:
    async with opened(PostgresStore(url, within_s=2)) as it:
        batch = entries(3)
        await it.log.append(batch[:1])
        asked = Reservation("r/1", (charge(1),))
        postgres_server.freeze()
        try:
            async with asyncio.timeout(WAIT_S):
                outcomes = await asyncio.gather(
                    it.log.append(batch),
                    it.ledger.reserve(asked, now_ns=0),
                    it.leases.keep_alive("one"),
                    it.orders.order(run=None, agent=None, by=None, at_ns=NOW_NS),
                    it.store.now_ns(),
                    *(it.log.head() for _ in range(20)),
                    return_exceptions=True,
                )
        finally:
            postgres_server.thaw()
        assert {type(outcome) for outcome in outcomes} == {StoreAwayError}
        assert {str(outcome) for outcome in outcomes} == {f"{it.store.url} did not answer within 2 s"}
        await insist(lambda: it.log.append(batch))
        assert await verified(it.log) == {"run-1": 3}
        assert await insist(lambda: it.ledger.reserve(asked, now_ns=0)) == ()
        assert await it.ledger.reserve(Reservation("r/2", (charge(1),)), now_ns=0) != ()


async def test_a_caller_that_gives_up_leaves_the_store_usable(url: str, postgres_server: Postgres) -> None:
    async with opened(PostgresStore(url)) as it:
        postgres_server.freeze()
        try:
            asked = [asyncio.create_task(it.log.append(entries(2))) for _ in range(20)]
            await asyncio.sleep(0)
            for task in asked:
                task.cancel()
            done = await asyncio.gather(*asked, return_exceptions=True)
            assert all(isinstance(each, asyncio.CancelledError) for each in done)
        finally:
            postgres_server.thaw()
        await it.log.append(entries(3))
        assert await verified(it.log) == {"run-1": 3}


async def test_a_lock_that_somebody_holds_is_not_waited_for_without_end(
    url: str, postgres_server: Postgres
) -> None:
    schema = url.partition("schema=")[2]
    async with opened(PostgresStore(url, within_s=2)) as it:
        other = await asyncpg.connect(postgres_server.url)
        held = other.transaction()
        await held.start()
        await other.execute(f"SELECT FROM {schema}.log_head FOR UPDATE")
        with pytest.raises(StoreAwayError, match="did not finish within"):
            await it.log.append(entries(1))
        await held.rollback()
        await other.close()
        await it.log.append(entries(1))
        assert await verified(it.log) == {"run-1": 1}


async def test_a_standby_is_away_and_says_which_server_to_name(url: str, postgres_server: Postgres) -> None:
    async with opened(PostgresStore(url)):
        pass
    async with opened(PostgresStore(f"{url}&default_transaction_read_only=on")) as it:
        assert await it.log.head() is None
        with pytest.raises(StoreAwayError, match="read-only") as caught:
            await it.log.append(entries(1))
        assert "primary" in str(caught.value.help)


async def test_a_server_without_a_connection_left_is_away(url: str, postgres_server: Postgres) -> None:
    schema = url.partition("schema=")[2]
    admin = await asyncpg.connect(postgres_server.url)
    await admin.execute(f"CREATE ROLE {schema} LOGIN CONNECTION LIMIT 1")
    await admin.execute(f"CREATE SCHEMA {schema} AUTHORIZATION {schema}")
    try:
        async with opened(PostgresStore(url.replace("//ringfence@", f"//{schema}@"))) as it:
            await it.log.head()
            outcomes = await asyncio.gather(*(it.log.head() for _ in range(8)), return_exceptions=True)
            away = [each for each in outcomes if each is not None]
            assert away and all(isinstance(each, StoreAwayError) for each in away)
            assert "no more connections" in str(away[0])
            assert await insist(it.log.head) is None
    finally:
        await admin.execute("SET client_min_messages = warning")
        await admin.execute(f"DROP OWNED BY {schema} CASCADE")
        await admin.execute(f"DROP ROLE {schema}")
        await admin.close()


async def test_a_schema_that_was_dropped_is_an_error_for_good(url: str, postgres_server: Postgres) -> None:
    async with opened(PostgresStore(url)) as it:
        admin = await asyncpg.connect(postgres_server.url)
        await admin.execute("SET client_min_messages = warning")
        await admin.execute(f"DROP SCHEMA {url.partition('schema=')[2]} CASCADE")
        await admin.close()
        with pytest.raises(EngineError, match="was dropped or changed") as caught:
            await it.log.append(entries(1))
        assert not isinstance(caught.value, StoreAwayError)


async def test_a_log_that_was_taken_back_takes_no_more_events_of_the_runs_that_it_lost(
    url: str, postgres_server: Postgres
) -> None:
    schema = url.partition("schema=")[2]
    async with opened(PostgresStore(url)) as it:
        made = entries(6)
        await it.log.append(made[:3])
        admin = await asyncpg.connect(postgres_server.url)
        await admin.execute(f"CREATE TEMP TABLE backup AS SELECT * FROM {schema}.run")
        await it.log.append(made[3:5])
        # As if an older backup had been brought back.
        await admin.execute(f"DELETE FROM {schema}.event WHERE position > 3")
        await admin.execute(
            f"UPDATE {schema}.run SET head = backup.head, events = backup.events, last_ns = backup.last_ns"
            " FROM backup WHERE backup.id = run.id"
        )
        link = f"(SELECT link FROM {schema}.event WHERE position = 3)"
        await admin.execute(f"UPDATE {schema}.log_head SET position = 3, link = {link}")
        await admin.close()
        with pytest.raises(EngineError, match="lacks the event before `run-1:6`") as caught:
            await it.log.append(made[5:])
        assert not isinstance(caught.value, StoreAwayError)
        assert await verified(it.log) == {"run-1": 3}
        await it.log.append(made)
        assert await verified(it.log) == {"run-1": 6}


async def test_two_that_write_one_run_at_once_store_it_once(url: str) -> None:
    async with opened(PostgresStore(url)) as one, opened(PostgresStore(url)) as two:
        made = entries(60)

        async def write(it: Open, step: int) -> None:
            for start in range(0, 60, step):
                await it.log.append(made[max(start - 5, 0) : start + step])

        await asyncio.gather(write(one, 3), write(two, 4), write(one, 7))
        assert await verified(one.log) == {"run-1": 60}
