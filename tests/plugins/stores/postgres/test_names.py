"""Any name survives: NUL, lone surrogates, quotes, our own escapes, and what is too long for an index."""

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringfence.plugin import Reservation
from ringfence.plugins.postgres.names import kept, key, read
from ringfence.plugins.postgres.store import PostgresStore
from ringfence.testing.leased import charge, touch
from ringfence.testing.stores import NOW_NS, entry_after, started, ticket
from tests.plugins.stores.postgres.opened import opened, verified

HOSTILE = [
    "nul \x00",
    "\ud800 alone",
    "pair \ud83d\ude00 written as two",
    "pair \U0001f600 written as one",
    "back\\slash \\u0000 \\\\",
    "'; DROP SCHEMA ringfence CASCADE; --",
    '"quoted" {s} $1 %s',
    "\u202e\u2028é",
    "",
    "long " * 20_000,
]


@given(st.text(st.characters(exclude_categories=()), max_size=30))
def test_what_is_kept_is_read_as_it_was(text: str) -> None:
    stored = kept(text)
    assert read(stored) == text
    assert "\x00" not in stored
    stored.encode()


def test_names_in_a_list_are_kept_apart() -> None:
    lists = [("a", "b"), ("ab",), ("ab", ""), ("", "ab"), ("a", None), ("a", "-"), ("1:a",), ("a",)]
    assert len({key(*each) for each in lists}) == len(lists)


async def test_hostile_names_of_runs_sessions_and_people(url: str) -> None:
    async with opened(PostgresStore(url)) as it:
        for number, name in enumerate(HOSTILE):
            if not name or "\ud800" in name or "\ud83d" in name:
                continue
            first = started(f"{name}{number}", name, agent=name, principal={"user": name})
            second = entry_after(first, f"Kind {name}"[:50], said=name)
            await it.log.append([first, second])
            row = await it.log.run(first.run)
            assert row is not None
            assert (row.run, row.session, row.agent, row.user) == (first.run, name, name, name)
            assert await it.log.read(first.run) == [first, second]
            assert await it.log.runs(session=name) == [row]
        assert len(await it.log.runs()) == len(await verified(it.log)) == 7
        for name in HOSTILE:
            assert await it.log.read(name) == []
            assert await it.log.run(name) is None
            assert await it.log.runs(status=name) == []


async def test_hostile_names_of_budgets_keys_members_and_reservations(url: str) -> None:
    async with opened(PostgresStore(url, callers_clock=True)) as it:
        for name in HOSTILE:
            both = (charge(1, budget=name, key=name), touch(1, name, budget=f"b{name}", key=name))
            one = Reservation(f"{name}/1", both)
            other = one._replace(id=f"{name}/2")
            assert await it.ledger.reserve(one, now_ns=NOW_NS) == ()
            assert await it.ledger.reserve(one, now_ns=NOW_NS) == ()
            assert [r.budget for r in await it.ledger.reserve(other, now_ns=NOW_NS)] == [name]
            await it.ledger.settle(name, now_ns=NOW_NS)
            (refusal,) = await it.ledger.reserve(other, now_ns=NOW_NS)
            assert refusal.free_ns == 60_000_000_000
            assert await it.ledger.dispatched(one.id, now_ns=NOW_NS)
            await it.ledger.refund(one.id)
            assert await it.ledger.reserve(other, now_ns=NOW_NS) == ()


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
async def test_hostile_names_of_tickets_holders_and_orders(url: str, name: str) -> None:
    async with opened(PostgresStore(url)) as it:
        asked = ticket(f"T-{name}", run=name, call=name, tool=name, because=name)
        await it.tickets.open(asked)
        lossy = "\ud83d\ude00" in name  # JSON reads two halves as one character
        assert lossy or await it.tickets.get(asked.id) == asked
        assert len(await it.tickets.of_call(name, name)) == 1
        assert await it.tickets.swap(asked, replace(asked, status="approved"))

        holder = f"h{name}"
        assert await it.leases.lease(name, holder) is None
        assert await it.leases.lease(name, "other") == holder
        assert await it.leases.holds(name, holder)
        order = await it.orders.order(run=name, agent=name, by=name, at_ns=NOW_NS)
        assert await it.orders.orders() == [order]
        await it.orders.obeyed(holder, order.id, in_flight=3)
        (found,) = await it.orders.attendants()
        assert (found.holder, found.obeyed, found.in_flight) == (holder, order.id, 3)
        await asyncio.gather(it.leases.release(name, holder), it.orders.gone(holder))
        assert not await it.leases.holds(name, holder)
        assert await it.orders.attendants() == []
