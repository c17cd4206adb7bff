"""A store made for an older Ringfence is refused when it is opened, by the names of what it lacks."""

from collections.abc import Sequence
from typing import Any

import pytest

from ringfence.engine.seams.errors import EngineError
from ringfence.engine.seams.parts import PARTS, lacking
from ringfence.plugin import Entry
from ringfence.plugins.memory import MemoryStore
from ringfence.plugins.sqlite import SqliteStore
from tests.guards import ALICE, make_guard


class OldLog:
    """A log as ports had it before runs could be purged, or read a page at a time."""

    def __init__(self, log: Any) -> None:
        self._log = log
        self.append, self.run, self.links, self.head = log.append, log.run, log.links, log.head

    async def read(self, run: str, *, after_seq: int = 0) -> Sequence[Entry]:
        found: Sequence[Entry] = await self._log.read(run, after_seq=after_seq)
        return found

    async def runs(self, **asked: Any) -> Any:
        return await self._log.runs(**asked)


class OldLeases:
    """Leases that do not say who holds one."""

    def __init__(self, leases: Any) -> None:
        self.keep_alive, self.gone, self.lease = leases.keep_alive, leases.gone, leases.lease
        self.holds, self.release = leases.holds, leases.release


class OldStore(MemoryStore):
    def __init__(self) -> None:
        super().__init__()
        self.events: Any = OldLog(self.events)
        self.leases: Any = OldLeases(self.leases)


def test_what_is_lacking_is_said_by_name_with_how_to_mend_it() -> None:
    error = lacking(OldStore())
    assert str(error) == (
        "the store memory: was made for another version of Ringfence: it lacks `events.purge`, "
        "`events.scrub`, `events.read(limit=)` and `leases.holder`"
    )
    assert error is not None and error.help is not None and "plugin" in error.help


def test_only_the_parts_that_are_wanted_are_looked_at() -> None:
    assert lacking(OldStore(), ("tickets", "ledger")) is None
    assert "holder" in str(lacking(OldStore(), ("leases",)))


def test_a_guard_opens_no_such_store() -> None:
    guard = make_guard(opened=OldStore)
    with pytest.raises(EngineError, match=r"it lacks `events\.purge`"):
        guard.begin_run(principal=ALICE, agent="main")
    guard.close()


@pytest.mark.parametrize("part", PARTS)
async def test_stores_of_our_own_lack_nothing(part: str, tmp_path: Any) -> None:
    sqlite = SqliteStore(f"sqlite:///{tmp_path}/log.db")
    await sqlite.open()
    try:
        for store in (MemoryStore(), sqlite):
            assert lacking(store, (part,)) is None
    finally:
        await sqlite.close()
