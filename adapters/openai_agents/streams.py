"""Streams: of a model, read under its run's bounds; of an agent, whose run ends with it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

from agents import ModelProvider, RunResultStreaming

from ringfence.adapter import Guard, Run, inside
from ringfence.adapters.openai_agents.invocations import Invocation


async def bounded(guard: Guard, run: Run, stream: Callable[[], AsyncIterator[Any]]) -> AsyncIterator[Any]:
    """Yield the events of a stream that is read, all of it, in one task under the run's bounds."""
    events: asyncio.Queue[Any] = asyncio.Queue(maxsize=64)
    over = object()

    async def read() -> None:
        async for event in stream():
            await events.put(event)

    async def work() -> None:
        try:
            with inside(run):
                await guard.abound(run, read)
        finally:
            # Whoever reads may have gone, and then takes nothing more.
            with suppress(asyncio.QueueFull):
                events.put_nowait(over)

    task = asyncio.create_task(work())
    try:
        while True:
            getting = asyncio.ensure_future(events.get())
            await asyncio.wait({getting, task}, return_when=asyncio.FIRST_COMPLETED)
            if not getting.done() and events.empty():
                getting.cancel()
                break
            event = await getting
            if event is over:
                break
            yield event
        await task
    finally:
        if not task.done():
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


def end_with(result: RunResultStreaming, invocation: Invocation, own: ModelProvider | None) -> None:
    """End the invocation when its task has ended, and have the events wait for that.

    Args:
        own: The provider that was made for this run alone.
    """
    task = result.run_loop_task
    assert task is not None, "the SDK has begun to run"
    events = result.stream_events
    ended: asyncio.Future[None] = task.get_loop().create_future()

    async def end() -> None:
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        try:
            await invocation.end(invocation.failure or error, waits=bool(result.interruptions))
            if own is not None:
                await own.aclose()
        except BaseException as raised:  # raised again to whoever reads the events
            invocation.failed(raised)
        finally:
            if not ended.done():
                ended.set_result(None)

    ending: list[asyncio.Task[None]] = []
    task.add_done_callback(lambda _: ending.append(task.get_loop().create_task(end())))

    async def stream_events() -> AsyncIterator[Any]:
        try:
            async for event in events():
                yield event
        except Exception as raised:  # raised again, as the guard said it where it did
            await ended
            if invocation.failure is None or invocation.failure is raised:
                raise
            raise invocation.failure from raised
        await ended
        if invocation.failure is not None:
            raise invocation.failure

    result.stream_events = stream_events  # type: ignore[method-assign]
