"""Leases stand as long as their holder lives, and not a moment longer: the kernel says which."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ringfence.engine.seams.ports import Leases
from ringfence.plugins.sqlite import SqliteStore, holders
from ringfence.plugins.sqlite.holders import Holders

WAIT_S = 60


@asynccontextmanager
async def control_on(path: Path) -> AsyncIterator[Leases]:
    store = SqliteStore(f"sqlite:///{path}")
    await store.open()
    assert store.leases is not None
    try:
        yield store.leases
    finally:
        await store.close()


async def test_two_guards_of_one_process_see_each_others_leases(tmp_path: Path) -> None:
    path = tmp_path / "ringfence.db"
    async with control_on(path) as one:
        async with control_on(path) as two:
            assert await one.lease("s1", "h1") is None
            assert await two.lease("s1", "h2") == "h1"
            assert await two.lease("s2", "h2") is None
            assert await one.lease("s2", "h1") == "h2"
        assert await one.lease("s2", "h1") is None, "closing a store ends its holders"
        assert await one.lease("s1", "h1") is None


def test_a_holder_that_was_never_heard_of_is_dead_and_odd_names_are_only_names(tmp_path: Path) -> None:
    odd = "../../etc/passwd\0\n" * 50
    live = Holders(tmp_path / "ringfence.db")
    live.live(odd)
    assert live.alive(odd)
    assert Holders(tmp_path / "ringfence.db").alive(odd)
    assert not Holders(tmp_path / "ringfence.db").alive("never heard of")
    assert {each.parent.name for each in tmp_path.rglob("*") if each.is_file()} == {"ringfence.db.holders"}
    live.close()
    assert not Holders(tmp_path / "ringfence.db").alive(odd)


def test_only_files_of_the_dead_are_swept(tmp_path: Path) -> None:
    live = Holders(tmp_path / "ringfence.db")
    live.live("h1")
    folder = tmp_path / "ringfence.db.holders"
    (folder / "0123").touch()
    live.sweep()
    Holders(tmp_path / "ringfence.db").sweep()
    assert live.alive("h1")
    assert Holders(tmp_path / "ringfence.db").alive("h1")
    assert len(list(folder.iterdir())) == 1
    live.close()
    assert list(folder.iterdir()) == []


def test_without_locks_nobody_is_called_dead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holders, "LOCKS", False)
    someone = Holders(tmp_path / "ringfence.db")
    someone.live("h1")
    assert someone.alive("h2")
    someone.sweep()
    someone.close()


def test_a_holder_that_cannot_be_asked_counts_as_alive(tmp_path: Path) -> None:
    live = Holders(tmp_path / "ringfence.db")
    live.live("h1")
    (file,) = (tmp_path / "ringfence.db.holders").iterdir()
    live.close()
    file.mkdir()  # cannot be opened as a file, by whomever
    assert Holders(tmp_path / "ringfence.db").alive("h1")


FORKS = """
import os, sys
from pathlib import Path
from ringfence.plugins.sqlite.holders import Holders
live = Holders(Path(sys.argv[1]))
live.live("parent")
child = os.fork()
if child == 0:
    print(os.getpid(), flush=True)
    sys.stdin.readline()
    os._exit(0)
os.waitpid(child, 0)
"""


def test_a_forked_child_does_not_keep_its_dead_parents_lease_alive(tmp_path: Path) -> None:
    path = tmp_path / "ringfence.db"
    parent = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", FORKS, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdin is not None
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert Holders(path).alive("parent")
    parent.kill()
    parent.wait(WAIT_S)
    os.kill(child, 0)  # it still lives
    assert not Holders(path).alive("parent")
    parent.stdin.close()
    parent.stdout.read()
    parent.stdout.close()
