"""Guards over a policy text, closed at the end of the test."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.seams.ports import Clock
from ringfence.engine.seams.settings import Settings

LoadGuard = Callable[..., Guard]

HEAD = """language 1
policy desk
capability work is read
capability ruin is destructive
approver lead { group "leads"  never the requester  answer within 15 minutes otherwise deny }
agent main { holds work }
"""


@pytest.fixture
def load(tmp_path: Path) -> Iterator[LoadGuard]:
    """Return a function that makes a guard of the clauses of a policy after `HEAD`."""
    made: list[Guard] = []

    def make(body: str, *, head: str = HEAD, store: str = "memory:", clock: Clock | None = None) -> Guard:
        file = tmp_path / f"desk{len(made)}.fence"
        file.write_text(head + body, encoding="utf-8")
        settings = Settings.of({"groups": {"leads": ["dana", "erin"]}}, folder=tmp_path)
        guard = Guard.load(file, settings=settings, store=store, clock=clock)
        made.append(guard)
        return guard

    yield make
    for guard in made:
        guard.close()
