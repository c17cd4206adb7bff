"""A run counts as gone if its process died before it recorded the end, and never once that stands there."""

import pytest

from ringfence.engine.journal.purging import purge_after
from ringfence.engine.retrospect.living import read_living
from ringfence.plugins.memory import MemoryStore
from ringfence.testing.stores import NOW_NS, entry_after, started


async def opened(*kinds: str) -> MemoryStore:
    """A log with one run: it began, was halted, and what is named."""
    store = MemoryStore()
    batch = [
        started(),
    ]
    batch.append(entry_after(batch[-1], "RunHalted", reason="killed", by=None, detail=None))
    for kind in kinds:
        batch.append(entry_after(batch[-1], kind, status="halted", error=None))
    await store.events.append(batch)
    return store


async def test_a_halted_run_without_an_end_is_gone_when_nobody_holds_its_session() -> None:
    store = await opened()
    assert (await read_living(store.events, store.leases, "run-1"))[1]
    await store.leases.keep_alive("one")
    assert await store.leases.lease("s1", "one") is None
    assert not (await read_living(store.events, store.leases, "run-1"))[1]
    assert not (await read_living(store.events, None, "run-1"))[1]


@pytest.mark.parametrize("purged", [False, True])
async def test_a_halted_run_that_ended_is_not_gone_though_it_was_purged_since(purged: bool) -> None:
    store = await opened("RunEnded")
    if purged:
        row = await store.events.run("run-1")
        assert row is not None
        last = (await store.events.read("run-1"))[-1]
        purge = purge_after(last, row, before_ns=NOW_NS, by=None, now_ns=NOW_NS)
        assert await store.events.purge(purge, upto=last.seq) == 3
    entries, gone = await read_living(store.events, store.leases, "run-1")
    assert len(entries) == 3 + purged and not gone
