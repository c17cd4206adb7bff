"""A guard opens what it works with at its first use, or when it is told to."""

import asyncio
import os
from typing import Any

import pytest

from ringfence.engine.seams.errors import EngineError, StoreAwayError
from ringfence.plugin import ApprovalBackend, hookimpl
from ringfence.plugins.memory import MemoryStore
from tests.guards import ALICE, make_guard


class Listening(ApprovalBackend):
    """A backend that listens for answers from its opening to its close."""

    name = "listening"
    did: list[str]

    async def open(self) -> None:
        self.did.append("open")

    async def close(self) -> None:
        self.did.append("close")

    async def ask(self, question: Any, answers: Any) -> None: ...

    async def withdraw(self, ticket: str, because: str) -> None: ...


class Plugin:
    @hookimpl
    def ringfence_approval_backends(self) -> list[type[ApprovalBackend]]:
        Listening.did = []
        return [Listening]


def listening(**more: Any) -> Any:
    return make_guard(plugins=[Plugin()], approvals={"default": "listening"}, **more)


def test_loading_opens_nothing_and_opening_twice_opens_once() -> None:
    guard = listening()
    assert not Listening.did and not guard.opening.is_open
    guard.open()
    assert Listening.did == ["open"]
    guard.open()
    guard.begin_run(principal=ALICE, agent="main")
    assert Listening.did == ["open"]
    guard.close()
    assert Listening.did == ["open", "close"]


def test_a_guard_that_was_opened_and_never_used_closes() -> None:
    guard = listening()
    asyncio.run(opened(guard))
    guard.close()
    assert Listening.did == ["open", "close"]
    with pytest.raises(EngineError, match="closed"):
        guard.open()


async def opened(guard: Any) -> None:
    await guard.aopen()
    await guard.aopen()


def test_opening_ends_the_runs_whose_process_is_gone(tmp_path: Any) -> None:
    store = f"sqlite:///{tmp_path}/ringfence.db"
    pid = os.fork()
    if pid == 0:
        make_guard(store=store).begin_run(principal=ALICE, agent="main")
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    guard = make_guard(store=store)
    guard.open()
    assert [row.status for row in guard.runs.list()] == ["halted"]
    guard.close()


def test_a_store_that_is_away_at_the_opening_is_opened_when_it_is_back() -> None:
    class Away(MemoryStore):
        away = True

        async def open(self) -> None:
            if self.away:
                raise StoreAwayError("the server does not answer", help="start it")

    guard = make_guard(opened=Away)
    with pytest.raises(StoreAwayError, match="does not answer"):
        guard.open()
    Away.away = False
    guard.open()
    guard.close()
