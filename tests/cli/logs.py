"""Logs written by hand into an SQLite file."""

from collections.abc import Sequence
from pathlib import Path

from ringfence.engine.decision import events as e
from ringfence.engine.seams.loop import EngineLoop
from ringfence.plugins.sqlite import SqliteStore
from tests.cli.conftest import entries


def stored(file: Path, **runs: Sequence[e.RunEvent]) -> Path:
    """Write runs by hand."""
    loop, store = EngineLoop(), SqliteStore(f"sqlite:///{file}")

    async def write() -> None:
        await store.open()
        assert store.events is not None
        for run, events in runs.items():
            await store.events.append(entries(run, events))
        await store.close()

    try:
        loop.submit(write()).result()
    finally:
        loop.close()
    return file
