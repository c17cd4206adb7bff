"""A log of isolates, written by another process."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ringfence.engine.seams.loop import EngineLoop
from tests.engine.retrospect.isolates_log import Log
from tests.engine.retrospect.isolates_process import guard_of

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="package")
def log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Log]:
    file = tmp_path_factory.mktemp("rerun") / "log.db"
    done = subprocess.run(
        [sys.executable, "-m", "tests.engine.retrospect.isolates_process", f"sqlite:///{file}"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    guard = guard_of(f"sqlite:///{file}")
    records = {name: guard.runs.get(run) for name, (run, _) in told.items()}
    yield Log(file, {name: gave for name, (_, gave) in told.items()}, records, guard)
    guard.close()


@pytest.fixture
def loop() -> Iterator[EngineLoop]:
    made = EngineLoop()
    yield made
    made.close()
