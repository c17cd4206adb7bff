"""The client in front over stdin and stdout: one frame a line, and nothing else on stdout."""

import asyncio
import contextlib
import os
import queue
import signal
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import anyio
import mcp_types as types
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.server.lowlevel import NotificationOptions
from mcp.shared.message import SessionMessage

from ringfence.adapters.mcp.frames import CLIENT_FRAME_BYTES, BadFrameError, client_frame
from ringfence.adapters.mcp.gateway import Gateway

_CHUNK: Final = 65_536
_FRAMES_WAITING: Final = 256

Streams = tuple[MemoryObjectReceiveStream[SessionMessage | Exception], MemoryObjectSendStream[SessionMessage]]


async def serve_stdio(gateway: Gateway, *, stdin: int, stdout: int) -> None:
    """Serve the client at these descriptors until it hangs up, or this process is told to end."""
    server = gateway.server()
    options = server.create_initialization_options(NotificationOptions(tools_changed=True))
    loop = asyncio.get_running_loop()
    serving = asyncio.current_task()
    assert serving is not None
    stopped = False

    def stop() -> None:
        nonlocal stopped
        stopped = True
        serving.cancel()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, stop)
    try:
        async with lines(stdin, stdout) as (heard, told):
            await server.run(heard, told, options)
    except asyncio.CancelledError:
        if not stopped:
            raise
        serving.uncancel()
    finally:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.remove_signal_handler(number)


@contextlib.contextmanager
def own_stdio() -> Any:
    """Yield private copies of stdin and stdout; what this process prints by itself goes to stderr.

    So nothing but the protocol is ever on stdout, whoever prints.
    """
    stdin, stdout = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    try:
        yield stdin, stdout
    finally:
        os.dup2(stdout, 1)
        os.dup2(stdin, 0)


@asynccontextmanager
async def lines(stdin: int, stdout: int) -> AsyncIterator[Streams]:
    """Yield the frames of a client, and where to send it frames.

    Both ends block on threads of their own, which the process leaves behind when it ends: a read cannot be
    taken back, and a client that reads no more must hold up nothing else.
    """
    heard, said = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    told, telling = anyio.create_memory_object_stream[SessionMessage](0)
    loop = asyncio.get_running_loop()
    outbox: queue.Queue[bytes | None] = queue.Queue(_FRAMES_WAITING)

    def answer(error: BadFrameError) -> None:
        with contextlib.suppress(queue.Full):  # a client that does not read is owed nothing
            outbox.put_nowait(_frame(error.answer))

    async def hear(message: SessionMessage | None) -> None:
        if message is None:
            heard.close()
            return
        with contextlib.suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):  # we are ending
            await heard.send(message)

    def read() -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens
            try:
                for frame in _frames(stdin):
                    try:
                        message = client_frame(frame)
                    except BadFrameError as error:
                        answer(error)
                        continue
                    asyncio.run_coroutine_threadsafe(hear(message), loop).result()
            finally:
                asyncio.run_coroutine_threadsafe(hear(None), loop)

    def write() -> None:
        with contextlib.suppress(OSError):  # the client has gone
            while (frame := outbox.get()) is not None:
                left = memoryview(frame)
                while left:
                    left = left[os.write(stdout, left) :]
        written.set()

    written = threading.Event()
    for work in (read, write):
        threading.Thread(target=work, name=f"ringfence-mcp-{work.__name__}", daemon=True).start()

    async def tell() -> None:
        with contextlib.suppress(anyio.EndOfStream, anyio.ClosedResourceError):
            while True:
                frame = _frame((await telling.receive()).message)
                while True:
                    try:
                        outbox.put_nowait(frame)
                        break
                    except queue.Full:
                        await asyncio.sleep(0.01)

    teller = asyncio.create_task(tell())
    try:
        yield said, told
    finally:
        told.close()
        with anyio.CancelScope(shield=True):
            await asyncio.wait({teller}, timeout=1.0)
            teller.cancel()
            with contextlib.suppress(queue.Full):
                outbox.put_nowait(None)
            await asyncio.to_thread(written.wait, 1.0)
        for stream in (heard, said, telling):
            stream.close()


def _frames(descriptor: int) -> Any:
    """Yield lines; one that is too long is skipped up to its end, and yielded as one byte too long."""
    buffer = b""
    too_long = False
    while True:
        try:
            chunk = os.read(descriptor, _CHUNK)
        except OSError:  # it hung up
            chunk = b""
        if not chunk:
            if buffer.strip():
                yield buffer
            return
        *whole, buffer = (buffer + chunk).split(b"\n")
        for line in whole:
            if too_long:
                too_long = False
                yield b" " * (CLIENT_FRAME_BYTES + 1)
            elif line.strip():
                yield line
        if len(buffer) > CLIENT_FRAME_BYTES:
            # SECURITY: a line without end would fill the memory.
            buffer, too_long = b"", True


def _frame(message: types.JSONRPCMessage) -> bytes:
    return message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n"
