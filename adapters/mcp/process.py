"""A server in a process of its own: its environment scrubbed, its whole group killed at the end."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage

from ringfence.adapters.mcp.frames import SERVER_FRAME_BYTES, BadFrameError, server_frame
from ringfence.adapters.mcp.outliving import outliving
from ringfence.adapters.mcp.servers import ServerSpec
from ringfence.adapters.mcp.survivors import MARK, kill_survivors, mark
from ringfence.engine.seams.escape import escaped

QUITS_S: Final = 1.0
"""How long a server may take to end once its input is closed."""
TERMINATES_S: Final = 1.0
"""And then after SIGTERM, before SIGKILL."""
_LOOKS_S: Final = 0.25
_STDERR_LINE: Final = 2_000
_STDERR_LINES: Final = 500
_STDERR_PERIOD_S: Final = 60.0
_STRAY_LINES_SAID: Final = 5

Streams = tuple[MemoryObjectReceiveStream[SessionMessage | Exception], MemoryObjectSendStream[SessionMessage]]
Say = Callable[[str], None]


@asynccontextmanager
async def process(spec: ServerSpec, say: Say, gone: Callable[[], None]) -> AsyncIterator[Streams]:
    """Start a server; yield what it says and what it is told.

    Args:
        say: Tells people; the server's own words reach them escaped, and cut.
        gone: Called as soon as nothing more will come from it.
    """
    value = mark()
    child = await asyncio.create_subprocess_exec(
        *spec.command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**spec.environment(), MARK: value},
        start_new_session=True,  # a group of its own: whatever it starts ends with it
        limit=SERVER_FRAME_BYTES,
    )
    heard, said = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    told, telling = anyio.create_memory_object_stream[SessionMessage](0)
    listening = asyncio.create_task(_listen(child, spec, heard, say, gone))
    tasks = [
        listening,
        asyncio.create_task(_tell(child, telling)),
        asyncio.create_task(_overhear(child, spec, say)),
        asyncio.create_task(_attend(child, listening)),
    ]
    try:
        async with outliving(child.pid):
            yield said, told
    finally:
        gone()
        with anyio.CancelScope(shield=True):
            await _end(child, value)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for stream in (heard, said, told, telling):
                stream.close()
            _forget(child)


async def _listen(
    child: asyncio.subprocess.Process,
    spec: ServerSpec,
    heard: MemoryObjectSendStream[SessionMessage | Exception],
    say: Say,
    gone: Callable[[], None],
) -> None:
    assert child.stdout is not None
    stray = 0
    try:
        while line := await child.stdout.readline():
            if not line.strip():
                continue
            try:
                message = server_frame(line)
            except BadFrameError as error:  # the call it may have answered fails; others go on
                stray += 1
                if stray <= _STRAY_LINES_SAID:
                    say(f"{spec.said} wrote a line that is no message: {error}")
                if error.id is None:
                    continue
                message = SessionMessage(error.answer)
            await heard.send(message)
    except ValueError:  # SECURITY: a line without end would fill the memory; the server is taken for broken
        say(f"{spec.said} sent a message of more than {SERVER_FRAME_BYTES:,} bytes and is stopped")
        _signal(child, signal.SIGKILL)
    except (anyio.BrokenResourceError, anyio.ClosedResourceError):  # we hang up
        pass
    finally:
        gone()
        heard.close()


async def _attend(child: asyncio.subprocess.Process, listening: "asyncio.Task[None]") -> None:
    """Hear of its end even if what it leaves behind holds its output open."""
    await _exited(child, every_s=_LOOKS_S)
    _signal(child, signal.SIGKILL)
    await asyncio.wait({listening}, timeout=QUITS_S)  # its last words
    listening.cancel()


async def _tell(
    child: asyncio.subprocess.Process, telling: MemoryObjectReceiveStream[SessionMessage]
) -> None:
    assert child.stdin is not None
    with contextlib.suppress(anyio.EndOfStream, anyio.ClosedResourceError, ConnectionError):  # it hung up
        while True:
            said = await telling.receive()
            text = said.message.model_dump_json(by_alias=True, exclude_unset=True)
            child.stdin.write(text.encode() + b"\n")
            await child.stdin.drain()
    telling.close()


async def _overhear(child: asyncio.subprocess.Process, spec: ServerSpec, say: Say) -> None:
    """Hand its words for people on; a line that is too long is cut, and of too many some are dropped."""
    assert child.stderr is not None
    loop = asyncio.get_running_loop()
    since_s, said = loop.time(), 0
    while True:
        try:
            line = await child.stderr.readline()
        except ValueError:  # longer than the buffer: what was in it is dropped
            continue
        if not line:
            return
        if loop.time() - since_s > _STDERR_PERIOD_S:
            since_s, said = loop.time(), 0
        said += 1
        if said > _STDERR_LINES:  # SECURITY: it could fill a disk otherwise
            if said == _STDERR_LINES + 1:
                say(f"{spec.said} says too much: the rest of this minute is dropped")
            continue
        text = line.decode(errors="replace").rstrip("\r\n")
        say(f"{spec.name or 'server'}: {escaped(text[:_STDERR_LINE])}")


async def _end(child: asyncio.subprocess.Process, value: str) -> None:
    if child.stdin is not None:
        child.stdin.close()
    if not await _over(child, QUITS_S):
        _signal(child, signal.SIGTERM)
        await _over(child, TERMINATES_S)
    # SECURITY: what it started and left behind dies with it, however politely it went itself.
    _signal(child, signal.SIGKILL)
    kill_survivors(value)
    await _over(child, TERMINATES_S)


async def _over(child: asyncio.subprocess.Process, within_s: float) -> bool:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(_exited(child), within_s)
    return child.returncode is not None


async def _exited(child: asyncio.subprocess.Process, *, every_s: float = 0.01) -> None:
    # Not `wait`: that comes only when its pipes are closed as well, which a grandchild may hold open.
    while child.returncode is None:  # noqa: ASYNC110 - nothing else tells without the pipes
        await asyncio.sleep(every_s)


def _signal(child: asyncio.subprocess.Process, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # all of it is gone
        os.killpg(child.pid, number)


def _forget(child: Any) -> None:
    """Close the pipes that a survivor may hold open at its end."""
    transport = getattr(child, "_transport", None)
    if transport is not None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            transport.close()
