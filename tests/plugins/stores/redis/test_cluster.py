"""A node of a cluster keeps a whole store: all its keys are in one slot."""

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ringfence.plugin import Reservation, StoreAwayError
from ringfence.plugins.redis.store import RedisStore
from ringfence.testing.leased import charge, touch
from tests.plugins.stores.redis.places import (
    keys,
    ledger_of,
    opened,
    prefix_of,
    said,
    switch_of,
    until,
    url_of,
)
from tests.services import Redis, _free_port, needed


class Node(Redis):
    def _command(self) -> list[str]:
        bus = ["--cluster-port", str(_free_port())]  # else 10,000 above the port, which may be no port
        return [*super()._command(), "--cluster-enabled", "yes", *bus]


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    """A cluster of one node that has no slots yet."""
    needed("redis")
    with tempfile.TemporaryDirectory(prefix="ringfence-cluster-") as folder:
        made = Node(Path(folder))
        try:
            made.start()
            yield made
        finally:
            made.kill()


async def test_a_node_that_keeps_the_slot_keeps_the_store(node: Node, tmp_path: Path) -> None:
    async def up() -> bool:
        return b"cluster_state:ok" in await said(node, "CLUSTER", "INFO")

    with pytest.raises(StoreAwayError, match="cluster that is down"):
        await RedisStore(url_of(node, tmp_path)).open()
    await said(node, "CLUSTER", "ADDSLOTSRANGE", 0, 16383)
    await until(up)
    async with opened(RedisStore(url_of(node, tmp_path))) as store:
        ledger, switch = ledger_of(store), switch_of(store)
        both = (charge(1), touch(1, "a"))
        for name in ("r/1", "r/2"):
            refused = await ledger.reserve(Reservation(name, both, lease_ns=10**9), now_ns=0)
            assert [one.budget for one in refused] == ([] if name == "r/1" else ["mail"])
        await switch.keep_alive("one")
        await switch.order(run=None, agent=None, by=None, at_ns=0)
        await switch.news(seconds=0)
        root = "{" + prefix_of(tmp_path) + "}"
        found = await keys(node, tmp_path)
        assert len(found) > 6
        assert len({await said(node, "CLUSTER", "KEYSLOT", root + name) for name in found}) == 1
