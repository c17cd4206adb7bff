"""What a warm call costs beside the isolate's own work, counted: no clock is asked.

The ceilings stand about a tenth above what is counted today.
"""

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from ringfence.plugins.isolate import frames
from ringfence.plugins.isolate.pool import Pool
from ringfence.plugins.isolate.starting import Kind
from ringfence.plugins.isolate.worker.channel import Channel
from tests.plugins.isolate.workers import closing, job, none, pool
from tests.test_work import counted

pytestmark = pytest.mark.skipif(os.name != "posix", reason="workers are processes of POSIX systems")

OWNER = "a session"
TIMES = 5
MOST_OF_TAKING = 21
MOST_OF_GIVING_BACK = 18


async def test_a_worker_at_rest_is_taken_and_given_back_with_little_work() -> None:
    async with closing(pool()) as made:
        assert (await made.run(job("echo", 1), none)).result == "1"
        workers = made._pool
        assert isinstance(workers, Pool)
        kind = Kind.of("process", job("echo").limits.memory_bytes)
        taken, given = [], []
        for _ in range(TIMES):
            with counted() as count:
                worker = await workers.take(kind, OWNER)
            taken.append(count.calls)
            with counted() as count:
                workers.give_back(worker, clean=True)
            given.append(count.calls)
    assert min(taken) <= MOST_OF_TAKING, taken
    assert min(given) <= MOST_OF_GIVING_BACK, given


async def test_a_call_arms_no_timer_for_a_worker_that_is_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that it arms looks whether it keeps its limits."""
    loop, armed = asyncio.get_running_loop(), 0
    call_at = loop.call_at

    def counting(*arguments: Any, **named: Any) -> asyncio.TimerHandle:
        nonlocal armed
        armed += 1
        return call_at(*arguments, **named)

    async with closing(pool()) as made:
        await made.run(job("echo", 1), none)
        monkeypatch.setattr(loop, "call_at", counting)
        found = []
        for _ in range(TIMES):
            before = armed
            assert (await made.run(job("echo", 2), none)).result == "2"
            found.append(armed - before)
        monkeypatch.undo()
    assert min(found) == 1, found


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, Channel]]:
    with ExitStack() as opened:
        ours, theirs = map(opened.enter_context, socket.socketpair())
        yield ours, Channel(theirs.fileno())


def test_a_worker_reads_a_frame_at_once(
    ends: tuple[socket.socket, Channel], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, channel = ends
    ours.sendall(frames.written({"job": "x" * 2000}))
    reads, read = 0, os.read

    def counting(descriptor: int, size: int) -> bytes:
        nonlocal reads
        reads += 1
        return read(descriptor, size)

    monkeypatch.setattr(os, "read", counting)
    assert channel.receive() == {"job": "x" * 2000}
    assert reads == 1


def test_frames_that_arrive_together_are_read_one_by_one(ends: tuple[socket.socket, Channel]) -> None:
    ours, channel = ends
    values = [{"first": 1}, {"second": "y" * 20_000}, {"third": [3]}]
    ours.sendall(b"".join(map(frames.written, values)))
    assert [channel.receive() for _ in values] == values


def test_frames_that_arrive_in_pieces_are_put_together(ends: tuple[socket.socket, Channel]) -> None:
    ours, channel = ends
    for byte in frames.written({"a": "é"}):
        ours.send(bytes([byte]))
    assert channel.receive() == {"a": "é"}
    ours.close()
    with pytest.raises(SystemExit):
        channel.receive()
