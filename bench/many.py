"""A log of very many events: one run that a guard recorded, told over and over under other names.

Each copy is a run of its own session, with its own salts, chains and times, written through the store's own
`append` in the order in which runs that go on side by side would write it.
"""

import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path

from ringfence import Guard, Principal
from ringfence.cli.say import Say
from ringfence.dsl.canonical import canonical
from ringfence.dsl.plan import Json
from ringfence.engine.decision.calls import ToolCall
from ringfence.engine.journal.chain import SALT_BYTES, ZERO, chained
from ringfence.engine.seams.ports import Entry
from ringfence.plugins.sqlite import SqliteStore

ALICE = Principal(user="alice", workspace="w1")
POLICY = """language 1
policy bench
capability work is read
agent main { holds work  stop after 10 hours }
tool look_up { needs work  takes table: text  allow when table in ["users", "orders"] }
"""

_SIDE_BY_SIDE = 10
_BATCH = 2_000
_APART_NS = 60_000_000_000


async def recorded(folder: Path, *, calls: int) -> list[Entry]:
    """Return the entries of a run of so many calls, which a guard made and recorded."""
    with tempfile.TemporaryDirectory(dir=folder) as own:
        url = f"sqlite:///{own}/one.db"
        guard = Guard.load(policy_file(folder), store=url)
        async with guard.run(principal=ALICE) as run:
            for number in range(calls):
                asked = ToolCall("look_up", {"table": "users"}, call_id=f"call_{number}")
                await guard.aexecute(run, asked, _body)
        await guard.aclose()
        store = SqliteStore(url)
        await store.open()
        assert store.events is not None
        entries = await store.events.read(run.id)
        await store.close()
    return entries


async def _body(arguments: Mapping[str, Json]) -> Json:
    return "done " * 10


def policy_file(folder: Path, text: str = POLICY) -> Path:
    """Write the policy, and return its file."""
    policy = folder / "bench.fence"
    policy.write_text(text, "utf-8")
    return policy


async def build(file: Path, *, runs: int, calls: int) -> list[str]:
    """Write a log of so many runs of so many calls; return the runs, the one that began first ahead."""
    pattern = await recorded(file.parent, calls=calls)
    names = [f"{number:016x}.1" for number in range(runs)]
    store = SqliteStore(f"sqlite:///{file}")
    await store.open()
    assert store.events is not None
    total = runs * len(pattern)
    with Say(json=False).progress(f"building a log of {total:,} events", total) as advance:
        told = _told(pattern, names)
        while batch := list(islice(told, _BATCH)):
            await store.events.append(batch)
            advance(len(batch))
    await store.close()
    return names


def _told(pattern: Sequence[Entry], names: Sequence[str]) -> Iterator[Entry]:
    """Yield the entries of all runs: a few go on side by side, event by event."""
    for first in range(0, len(names), _SIDE_BY_SIDE):
        some = range(first, min(first + _SIDE_BY_SIDE, len(names)))
        turns = zip(*(_copy(pattern, names[number], number) for number in some), strict=True)
        yield from chain.from_iterable(turns)


def _copy(pattern: Sequence[Entry], run: str, number: int) -> Iterator[Entry]:
    """Yield the run once more, under its own name, in its own session, some time later."""
    prev, later_ns = ZERO, number * _APART_NS
    salts = os.urandom(SALT_BYTES * len(pattern))
    for index, entry in enumerate(pattern):
        assert entry.body is not None
        began = canonical({**json.loads(entry.body), "session": f"s{number}"}) if index == 0 else entry.body
        copy = chained(
            prev,
            run=run,
            seq=entry.seq,
            kind=entry.kind,
            schema=entry.schema,
            at_ns=entry.at_ns + later_ns,
            mono_ns=entry.mono_ns + later_ns,
            salt=salts[index * SALT_BYTES : (index + 1) * SALT_BYTES],
            body=began,
        )
        prev = copy.hash
        yield copy
