"""Pools with real workers: with every wall, or with some left out."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from ringfence.plugins.isolate.executor import IsolatePool
from ringfence.plugins.isolate.settings import IsolateSettings
from ringfence.plugins.isolate.starting import Kind, Program
from tests import walls
from tests.plugins.isolate.accounts import SITE, Account
from tests.plugins.isolate.scripts import body
from tests.plugins.isolate.worker_harness import FOLDER
from tests.plugins.isolate.workers import closing, echoes

SETTINGS = IsolateSettings(workers=2, spare=0)


@asynccontextmanager
async def full_pool() -> AsyncIterator[IsolatePool]:
    """Make a pool whose workers have every wall; skip the test where the machine lacks one."""
    walls.needed()
    async with closing(IsolatePool(SETTINGS)) as made:
        yield made


def leaving_out(*names: str) -> Program:
    """Return the command of a real worker that does not put these walls up, as if the machine had none."""

    def command(kind: Kind, descriptor: int) -> Sequence[str]:
        options = {"memory_bytes": kind.memory_bytes, "leave_out": names}
        entry = [Account().python, "-I", "-S", "-B", str(FOLDER / "entry.py"), str(descriptor)]
        return [*entry, SITE, str(FOLDER), json.dumps(options)]

    return command


async def works(executor: IsolatePool) -> None:
    """Show that the next call works, and that nothing of the one before is there."""
    source = "async a => [a.q, await tools.add({ x: 2 }), {}.polluted ?? null, typeof left]"
    outcome = await executor.run(body(source, {"q": 1}), echoes)
    assert json.loads(outcome.result or "null") == [1, 2, None, "undefined"], outcome
