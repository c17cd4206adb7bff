"""A log of isolates, written by another process."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ringfence.engine.seams.loop import EngineLoop
from tests.engine.retrospect.isolates_log import Log, written
from tests.engine.retrospect.isolates_process import guard_of


@pytest.fixture(scope="session")
def log_file(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, tuple[str, Any]]]:
    file = tmp_path_factory.mktemp("rerun") / "log.db"
    return file, written(file)


@pytest.fixture(scope="module")
def log(log_file: tuple[Path, dict[str, tuple[str, Any]]]) -> Iterator[Log]:
    """The log, under a guard whose workers are gone before another file's tests count theirs."""
    file, told = log_file
    guard = guard_of(f"sqlite:///{file}")
    records = {name: guard.runs.get(run) for name, (run, _) in told.items()}
    yield Log(file, {name: gave for name, (_, gave) in told.items()}, records, guard)
    guard.close()


@pytest.fixture
def loop() -> Iterator[EngineLoop]:
    made = EngineLoop()
    yield made
    made.close()
