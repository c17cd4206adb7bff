"""Guards over a policy text, closed at the end of the test; and no traces, which the SDK would send away."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from agents import set_tracing_disabled

from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.seams.settings import Settings

LoadGuard = Callable[..., Guard]

HEAD = """language 1
policy desk
capability work is read
approver lead { group "leads"  never the requester  answer within 15 minutes otherwise deny }
"""


@pytest.fixture(autouse=True)
def _no_traces() -> Iterator[None]:
    set_tracing_disabled(True)
    yield


@pytest.fixture
def load(tmp_path: Path) -> Iterator[LoadGuard]:
    """Return a function that makes a guard of the clauses of a policy after `HEAD`."""
    made: list[Guard] = []

    def make(body: str, *, store: str = "memory:", head: str = HEAD) -> Guard:
        file = tmp_path / f"desk{len(made)}.fence"
        file.write_text(head + body, encoding="utf-8")
        settings = Settings.of({"groups": {"leads": ["dana", "erin"]}}, folder=tmp_path)
        guard = Guard.load(file, settings=settings, store=store)
        made.append(guard)
        return guard

    yield make
    for guard in made:
        guard.close()
