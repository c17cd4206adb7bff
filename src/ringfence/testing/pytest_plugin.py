"""Policy tests (`*_test.fence`) as items, and the fixtures `ringfence_clock` and `ringfence_guard`.

pytest loads this in every run of everyone who has Ringfence installed, so it imports nothing but
pytest until such a file is met or a fixture is asked for.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ringfence import Guard
    from ringfence.testing.clock import FakeClock
    from ringfence.testing.fence_files import FenceFile

pytest.register_assert_rewrite(
    "ringfence.testing.approvals",
    "ringfence.testing.functions",
    "ringfence.testing.sinks",
    "ringfence.testing.stores",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the one setting, for `pyproject.toml` and its like."""
    parser.addini(
        "ringfence_ceilings", "ceilings that are pinned over the policies under test", type="linelist"
    )


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> "FenceFile | None":
    """Collect `*_test.fence`: each test block is an item."""
    if not file_path.name.endswith("_test.fence"):
        return None
    from ringfence.testing.fence_files import FenceFile

    return FenceFile.from_parent(parent, path=file_path)


@pytest.fixture
def ringfence_clock() -> "FakeClock":
    """A clock that stands still until `advance(seconds)`."""
    from ringfence.testing.clock import FakeClock

    return FakeClock()


@pytest.fixture
def ringfence_guard(tmp_path: Path, ringfence_clock: "FakeClock") -> "Iterator[Callable[..., Guard]]":
    """Make guards: `ringfence_guard("support.fence")`, or with the policy's text.

    Each has the test's clock and a store in memory, and reads neither `ringfence.toml` nor the
    environment.  `settings` is what a settings file would say; `plugins` are plugin objects.  All are
    closed at the end of the test.
    """
    from ringfence import Guard
    from ringfence.engine.seams.settings import Settings

    made: list[Guard] = []

    def make(
        policy: str | Path, *, settings: Mapping[str, Any] | None = None, plugins: Sequence[object] = ()
    ) -> Guard:
        if isinstance(policy, str) and "\n" in policy:
            text, policy = policy, tmp_path / f"policy_{len(made)}.fence"
            policy.write_text(text, encoding="utf-8")
        told = Settings.of({"store": "memory:", **(settings or {})}, folder=tmp_path)
        guard = Guard.load(policy, settings=told, plugins=plugins, clock=ringfence_clock)
        made.append(guard)
        return guard

    yield make
    for guard in made:
        guard.close()
