"""A guard whose budgets are in Redis: what it does while the server is away, and when it is back."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from ringfence.engine.decision.calls import ToolCall
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.seams.errors import DeniedError, EngineError
from tests.guards import ALICE, call, make_guard
from tests.plugins.stores.redis.places import said, url_of
from tests.services import Redis, server


@pytest.fixture
def mine() -> Iterator[Redis]:
    """A server of this test alone."""
    with server("redis") as made:
        assert isinstance(made, Redis)
        yield made


def guard_at(server: Redis, folder: Path) -> Guard:
    return make_guard(store=f"sqlite:///{folder}/ringfence.db", ledger=url_of(server, folder))


def mail(number: int) -> ToolCall:
    return call("mail", f"m{number}", to=f"p{number}@customer.example")


def test_calls_are_denied_while_the_server_is_away_and_go_on_when_it_is_back(
    mine: Redis, tmp_path: Path
) -> None:
    guard = guard_at(mine, tmp_path)
    sent: list[str] = []

    def body(arguments: Mapping[str, Any]) -> str:
        sent.append(arguments["to"])
        return "sent"

    run = guard.begin_run(principal=ALICE, agent="main", session="s")
    for number in range(4):
        guard.execute(run, mail(number), body)
    mine.kill()
    for number in range(4, 7):
        with pytest.raises(EngineError, match="Redis at"):
            guard.execute(run, mail(number), body)
    assert len(sent) == 4
    mine.start()
    ran = 0
    for number in range(10, 20):
        try:
            guard.execute(run, mail(number), body)
            ran += 1
        except DeniedError as error:  # the tenth was the last
            assert ran == 6 and "mail.rate" in str(error)
    assert ran == 6 and len(sent) == 10
    guard.close()


async def test_calls_are_denied_for_good_once_the_budgets_are_lost(mine: Redis, tmp_path: Path) -> None:
    guard = guard_at(mine, tmp_path)
    run = guard.begin_run(principal=ALICE, agent="main", session="s")
    guard.execute(run, mail(1), lambda _: "sent")
    await said(mine, "FLUSHALL")
    for number in range(2, 5):
        with pytest.raises(EngineError, match="has lost its data"):
            guard.execute(run, mail(number), lambda _: "sent")
    guard.close()
    other = guard_at(mine, tmp_path)
    run = other.begin_run(principal=ALICE, agent="main", session="s2")
    assert other.execute(run, mail(1), lambda _: "sent") == "sent"
    other.close()
