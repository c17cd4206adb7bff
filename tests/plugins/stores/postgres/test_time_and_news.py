"""The server's clock, leases that fall, windows swept, and news from other hosts."""

import asyncio
import time

import asyncpg

from ringfence.plugin import Reservation
from ringfence.plugins.postgres.store import PostgresStore
from ringfence.testing.leased import charge, touch
from ringfence.testing.stores import MINUTE_NS, NOW_NS, ticket
from tests.plugins.stores.postgres.opened import WAIT_S, opened, until
from tests.services import Postgres

NEVER_LOOK_S = 3600.0


async def test_budgets_go_by_the_servers_clock_and_not_by_the_callers(url: str) -> None:
    async with opened(PostgresStore(url)) as it:
        assert await it.ledger.reserve(Reservation("r/1", (charge(1),)), now_ns=NOW_NS) == ()
        assert await it.ledger.dispatched("r/1", now_ns=0)
        asked = Reservation("r/2", (charge(1),))
        for wrong in (0, NOW_NS * 2):
            (refusal,) = await it.ledger.reserve(asked, now_ns=wrong)
            assert refusal.free_ns is not None and 0 < refusal.free_ns <= MINUTE_NS
        now_ns = await it.store.now_ns()
        assert now_ns is not None and abs(now_ns - time.time_ns()) < 10 * MINUTE_NS


async def test_what_is_short_leaves_by_the_servers_clock(url: str) -> None:
    async with opened(PostgresStore(url)) as it:
        short = charge(1, period_ns=30_000_000)
        assert await it.ledger.reserve(Reservation("r/1", (short,)), now_ns=0) == ()
        assert await it.ledger.dispatched("r/1", now_ns=0)

        async def free() -> bool:
            return await it.ledger.reserve(Reservation("r/2", (short,)), now_ns=0) == ()

        await until(free)


async def test_time_stands_still_in_a_window_while_the_servers_clock_is_behind(
    url: str, postgres_server: Postgres
) -> None:
    schema = url.partition("schema=")[2]
    async with opened(PostgresStore(url)) as it:
        assert await it.ledger.reserve(Reservation("r/1", (charge(1),)), now_ns=0) == ()
        # As if the clock had stepped back an hour: what the window has seen lies ahead of it.
        admin = await asyncpg.connect(postgres_server.url)
        await admin.execute(f"UPDATE {schema}.budget_window SET latest_ns = latest_ns + 60 * {MINUTE_NS}")
        await admin.close()
        assert await it.ledger.dispatched("r/1", now_ns=0)
        (refusal,) = await it.ledger.reserve(Reservation("r/2", (charge(1),)), now_ns=0)
        assert refusal.free_ns == MINUTE_NS
        await it.ledger.refund("r/1")
        assert await it.ledger.reserve(Reservation("r/2", (charge(1),)), now_ns=0) == ()
        assert await it.ledger.reserve(Reservation("r/3", (charge(1, key="bob"),)), now_ns=0) == ()


async def test_what_left_is_swept_and_windows_with_it(url: str, postgres_server: Postgres) -> None:
    schema = url.partition("schema=")[2]
    async with opened(PostgresStore(url, callers_clock=True)) as it:
        for number in range(60):
            both = (charge(1, key=str(number)), touch(1, "a", key=str(number)))
            await it.ledger.reserve(Reservation(f"r/{number}", both), now_ns=NOW_NS)
            await it.ledger.dispatched(f"r/{number}", now_ns=NOW_NS)
        kept = Reservation("r/kept", (charge(5, 0, key="kept"), charge(9, 3, key="held")))
        assert await it.ledger.reserve(kept, now_ns=NOW_NS) == ()
        for number in range(600):
            asked = Reservation(f"x/{number}", (charge(1, key="later"),))
            await it.ledger.reserve(asked, now_ns=NOW_NS + 2 * MINUTE_NS)
            await it.ledger.refund(asked.id)
        admin = await asyncpg.connect(postgres_server.url)
        found = {
            table: await admin.fetchval(f"SELECT count(*) FROM {schema}.{table}")
            for table in ("unit", "touch", "member", "budget_window")
        }
        held = await admin.fetchval(f"SELECT taken FROM {schema}.budget_window WHERE key = 'held'")
        await admin.close()
        assert (found["unit"], found["touch"], found["member"], held) == (2, 0, 0, 3)
        assert found["budget_window"] <= 3


async def test_a_refusal_leaves_no_window_behind(url: str, postgres_server: Postgres) -> None:
    schema = url.partition("schema=")[2]
    async with opened(PostgresStore(url)) as it:
        for number in range(20):
            asked = Reservation(f"r/{number}", (charge(0, key=str(number)), touch(0, "a", key=str(number))))
            assert len(await it.ledger.reserve(asked, now_ns=0)) == 2
        admin = await asyncpg.connect(postgres_server.url)
        assert await admin.fetchval(f"SELECT count(*) FROM {schema}.budget_window") == 0
        await admin.close()


async def test_reservations_that_cross_each_other_never_hang_and_sums_stay_right(
    url: str, postgres_server: Postgres
) -> None:
    async with opened(PostgresStore(url)) as one, opened(PostgresStore(url)) as two:

        async def call(it: object, name: str, keys: list[str]) -> bool:
            assert it in (one, two)
            ledger = one.ledger if it is one else two.ledger
            charges = tuple(charge(30, key=key) for key in keys) + tuple(touch(90, name, key=k) for k in keys)
            refused = await ledger.reserve(Reservation(name, charges), now_ns=0)
            if not refused and name.endswith("0"):
                await ledger.refund(name)
                return False
            return not refused and await ledger.dispatched(name, now_ns=0)

        keys = list("abcdef")
        asked = [
            call(it, f"{side}/{number}", keys[number % 5 :][:: 1 if side == "one" else -1])
            for number in range(100)
            for side, it in (("one", one), ("two", two))
        ]
        async with asyncio.timeout(WAIT_S):
            passed = await asyncio.gather(*asked)
        assert 0 < passed.count(True) <= 30
        schema = url.partition("schema=")[2]
        admin = await asyncpg.connect(postgres_server.url)
        sums = await admin.fetch(
            f"SELECT taken, (SELECT sum(amount) FROM {schema}.unit WHERE window_id = w.id) AS amounts,"
            f" (SELECT count(*) FROM {schema}.member WHERE window_id = w.id) AS members,"
            f" (SELECT count(DISTINCT member) FROM {schema}.touch JOIN {schema}.unit ON unit.id = unit_id"
            " WHERE window_id = w.id) AS touched"
            f" FROM {schema}.budget_window AS w"
        )
        await admin.close()
        assert len(sums) == 12
        assert all(row["taken"] == (row["amounts"] or 0) + row["members"] for row in sums)
        assert all(row["members"] == row["touched"] for row in sums)
        assert max(row["taken"] for row in sums) == passed.count(True)


async def test_a_lease_falls_when_its_holder_is_silent_and_not_before(url: str) -> None:
    async with opened(PostgresStore(url, presence_s=0.3)) as short, opened(PostgresStore(url)) as it:
        assert await short.leases.lease("s1", "one") is None
        assert await short.leases.lease("s2", "one") is None

        async def fallen() -> bool:
            return await it.leases.lease("s1", "two") is None

        await until(fallen)
        assert await short.leases.keep_alive("one") == 0.3
        assert not await it.leases.holds("s1", "one"), "it was taken over"
        assert await it.leases.holds("s2", "one"), "nobody had it meanwhile"
        assert await short.leases.lease("s1", "one") == "two"
        await it.leases.gone("two")
        assert not await it.leases.holds("s1", "one"), "somebody has had it"


async def test_who_falls_out_and_comes_back_has_obeyed_nothing_new(url: str) -> None:
    async with opened(PostgresStore(url, presence_s=0.2)) as it:
        await it.orders.keep_alive("one")
        order = await it.orders.order(run=None, agent=None, by=None, at_ns=NOW_NS)

        async def out() -> bool:
            return await it.orders.attendants() == []

        await until(out)
        await it.orders.keep_alive("one")
        (found,) = await it.orders.attendants()
        assert found.obeyed < order.id
        assert 0 <= found.silent_s < 0.2


async def test_orders_given_at_once_are_seen_in_the_order_of_their_numbers(url: str) -> None:
    async with opened(PostgresStore(url)) as one, opened(PostgresStore(url)) as two:
        seen: list[int] = []

        async def give(number: int) -> None:
            it = (one, two)[number % 2]
            made = await it.orders.order(run=str(number), agent=None, by=None, at_ns=NOW_NS)
            found = [order.id for order in await it.orders.orders()]
            assert found == list(range(1, len(found) + 1)) and made.id in found
            seen.append(made.id)

        await asyncio.gather(*(give(number) for number in range(40)))
        assert sorted(seen) == list(range(1, 41))
        assert await one.orders.latest() == 40


async def test_what_another_host_does_is_news_at_once(url: str) -> None:
    async with (
        opened(PostgresStore(url, look_every_s=NEVER_LOOK_S)) as here,
        opened(PostgresStore(url)) as there,
    ):
        await asyncio.gather(here.tickets.news(seconds=WAIT_S), here.orders.news(seconds=WAIT_S))

        async def told(tickets: bool, change: object) -> None:
            waiting = [
                asyncio.create_task((here.tickets if tickets else here.orders).news(seconds=NEVER_LOOK_S))
                for _ in range(3)
            ]
            quiet = asyncio.create_task((here.orders if tickets else here.tickets).news(seconds=NEVER_LOOK_S))
            await asyncio.sleep(0)
            await change  # type: ignore[misc]
            async with asyncio.timeout(WAIT_S):
                await asyncio.gather(*waiting)
            assert not quiet.done()
            quiet.cancel()

        await told(True, there.tickets.open(ticket()))
        await told(True, there.tickets.swap(ticket(), ticket(status="approved")))
        await told(False, there.orders.order(run=None, agent=None, by=None, at_ns=NOW_NS))
        await told(False, there.orders.obeyed("one", 1, in_flight=0))


async def test_news_come_again_after_the_server_was_away(url: str, postgres_server: Postgres) -> None:
    async with (
        opened(PostgresStore(url, look_every_s=NEVER_LOOK_S)) as here,
        opened(PostgresStore(url)) as there,
    ):
        await here.orders.news(seconds=WAIT_S)
        waiting = asyncio.create_task(here.orders.news(seconds=NEVER_LOOK_S))
        await asyncio.to_thread(postgres_server.kill)
        await asyncio.to_thread(postgres_server.start)
        async with asyncio.timeout(WAIT_S):
            await waiting  # nobody knows what was missed
        waiting = asyncio.create_task(here.orders.news(seconds=NEVER_LOOK_S))
        await asyncio.sleep(0)
        await there.orders.order(run=None, agent=None, by=None, at_ns=NOW_NS)
        async with asyncio.timeout(WAIT_S):
            await waiting


async def test_who_waits_for_news_looks_for_itself_after_a_while(url: str) -> None:
    async with opened(PostgresStore(url, look_every_s=0.05)) as it:
        async with asyncio.timeout(WAIT_S):
            for _ in range(4):
                await it.tickets.news(seconds=NEVER_LOOK_S)
