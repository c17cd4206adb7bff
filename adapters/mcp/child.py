"""A server in a process of its own while its tools are listed: no environment of ours, its group killed."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import anyio
import mcp_types
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage

_INHERITED = ("HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "TZ", "USER")
_QUITS_S = 0.5
_LAST_WORDS = 500

Streams = tuple[MemoryObjectReceiveStream[SessionMessage | Exception], MemoryObjectSendStream[SessionMessage]]


class TooMuchError(Exception):
    """It said more than it may."""


class Heard:
    """How much a server has said, and its last words for people."""

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self.too_much = False
        self._bytes = 0
        self._errors = b""

    def count(self, size: int) -> None:
        """Count so many bytes more; raise TooMuchError beyond the bound."""
        self._bytes += size
        if self._bytes > self.most_bytes:
            self.too_much = True
            raise TooMuchError

    def overhear(self, text: bytes) -> None:
        """Keep the end of what it says to people."""
        self._errors = (self._errors + text)[-_LAST_WORDS:]

    @property
    def last_words(self) -> str:
        """What it last said to people, to stand behind an error; it is a stranger's text."""
        said = " ".join(self._errors.decode(errors="replace").split())
        return f"; it last said: {said}" if said else ""


@asynccontextmanager
async def child(command: Sequence[str], heard: Heard) -> AsyncIterator[Streams]:
    """Start a server; yield what it says and what it is told."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        # SECURITY: our variables hold the keys of models and stores.
        env={name: os.environ[name] for name in _INHERITED if name in os.environ},
        start_new_session=True,  # a group of its own: whatever it starts ends with it
        limit=heard.most_bytes,
    )
    hears, said = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    told, tells = anyio.create_memory_object_stream[SessionMessage](0)
    work = (_listen(process, hears, heard), _tell(process, tells), _overhear(process, heard))
    tasks = [asyncio.create_task(one) for one in work]
    try:
        yield said, told
    finally:
        with anyio.CancelScope(shield=True):
            await _end(process)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for stream in (hears, said, told, tells):
            stream.close()
        if (pipes := getattr(process, "_transport", None)) is not None:
            pipes.close()  # a survivor may hold its end of them open


async def _listen(
    process: asyncio.subprocess.Process,
    hears: MemoryObjectSendStream[SessionMessage | Exception],
    heard: Heard,
) -> None:
    assert process.stdout is not None
    with contextlib.suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):  # we hung up
        try:
            while line := await process.stdout.readline():
                heard.count(len(line))
                with contextlib.suppress(ValueError):  # no message: what it asks or answers goes nowhere
                    message = mcp_types.jsonrpc_message_adapter.validate_json(line, by_name=False)
                    await hears.send(SessionMessage(message))
        except (TooMuchError, ValueError):  # the second: one line is longer than the bound
            heard.too_much = True
        finally:
            hears.close()


async def _tell(
    process: asyncio.subprocess.Process, tells: MemoryObjectReceiveStream[SessionMessage]
) -> None:
    assert process.stdin is not None
    with contextlib.suppress(anyio.EndOfStream, anyio.ClosedResourceError, ConnectionError):  # it hung up
        while True:
            message = (await tells.receive()).message
            process.stdin.write(message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n")
            await process.stdin.drain()


async def _overhear(process: asyncio.subprocess.Process, heard: Heard) -> None:
    assert process.stderr is not None
    while text := await process.stderr.read(4096):
        heard.overhear(text)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.stdin is not None:
        process.stdin.close()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(_exited(process), _QUITS_S)
    # SECURITY: what it started and left behind dies with it, however politely it went itself.
    with contextlib.suppress(ProcessLookupError, PermissionError):  # all of it is gone
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(_exited(process), _QUITS_S)


async def _exited(process: asyncio.subprocess.Process) -> None:
    # Not `wait`: that comes only when its pipes are closed as well, which a grandchild may hold open.
    while process.returncode is None:  # noqa: ASYNC110 - nothing else tells without the pipes
        await asyncio.sleep(0.01)
