"""One worker process: started, heard, measured, killed and reaped.

Whatever happens to the host, the worker ends: it is killed when it is closed, when its object is dropped and
at the host's exit; its socket closes with the host; and it asks the system to die with the thread that
started it, which is why one long-lived thread starts all workers of a pool.
"""

import asyncio
import os
import signal
import socket
import subprocess
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Any

from ringfence.plugins.isolate import frames, gauges

_FIRST = 1 << 13
"""Read at once where a header is expected: most frames are whole then."""
_CHUNK = 1 << 18
_REAPED_WITHIN_S = 5.0
Command = Callable[[int], Sequence[str]]
_CHILDREN: "weakref.WeakSet[Child]" = weakref.WeakSet()


class EndedError(Exception):
    """The worker has closed its end: it is dead, or as good as dead."""


class Child:
    """A worker process and our end of its socket.  Frames go both ways on the engine's loop."""

    def __init__(self, process: subprocess.Popen[bytes], ours: socket.socket) -> None:
        self._process = process
        self._socket = ours
        self._memory = gauges.Memory(process.pid)
        self._unread = bytearray()
        """What came with the frames that were read, and belongs to the next one."""
        self._killed = False
        # INVARIANT: runs when this is dropped and at exit, whichever comes first; once.
        self._end = weakref.finalize(self, _end, process, ours, self._memory, os.getpid())
        _CHILDREN.add(self)

    @property
    def pid(self) -> int:
        """The process's id, as the parent sees it."""
        return self._process.pid

    @property
    def exit_status(self) -> int | None:
        """None while it lives; negative: the signal that ended it."""
        return self._process.poll()

    def cpu_ns(self) -> int | None:
        """Return the processor time used so far; None if the system does not say."""
        return None if self._process.returncode is not None else gauges.cpu_ns(self.pid)

    def resident_bytes(self) -> int | None:
        """Return the memory in use; None if the system does not say."""
        return None if self._process.returncode is not None else self._memory.resident_bytes()

    def silent(self) -> bool:
        """Say whether it lives and has said nothing that was not read."""
        # one that was killed may take a while: its threads end one after another
        if self._killed or self._unread or self._process.poll() is not None:
            return False
        try:
            self._socket.recv(1, socket.MSG_PEEK)  # it never waits
        except BlockingIOError:
            return True
        except OSError:  # gone
            return False
        return False

    async def send(self, frame: bytes) -> None:
        """Send one frame; waits while the worker does not read.

        Raises:
            EndedError: Nobody reads any more.
        """
        try:
            await asyncio.get_running_loop().sock_sendall(self._socket, frame)
        except OSError as error:
            raise EndedError from error

    async def receive(self) -> dict[str, Any]:
        """Return the next frame's object; never trusted.

        Raises:
            EndedError: There is none, or it is cut short.
            FrameError: It is none.
        """
        size = frames.length(await self._exactly(frames.HEADER_BYTES))
        body = await self._exactly(size)
        if size <= _CHUNK:
            return frames.read(body)
        return await asyncio.to_thread(frames.read, body)

    async def _exactly(self, size: int) -> bytes:
        loop = asyncio.get_running_loop()
        unread = self._unread
        while len(unread) < size:
            try:
                part = await loop.sock_recv(self._socket, min(_CHUNK, max(_FIRST, size - len(unread))))
            except OSError as error:
                raise EndedError from error
            if not part:
                raise EndedError
            unread += part
        wanted = bytes(unread[:size])
        del unread[:size]
        return wanted

    def threads(self) -> int | None:
        """Return how many threads it has; None if the system does not say."""
        return None if self._process.returncode is not None else gauges.threads(self.pid)

    def pause(self) -> None:
        """Have it stand still, whatever runs in it, until `resume`."""
        _signal(self._process, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        _signal(self._process, signal.SIGCONT)

    def kill(self) -> None:
        """End the process at once, and whatever it may have started; safe to repeat."""
        self._killed = True
        _signal(self._process, signal.SIGKILL)

    async def ended(self, *, within_s: float) -> int | None:
        """Wait for the exit status; None if it still lives then."""
        loop = asyncio.get_running_loop()
        until = loop.time() + within_s
        pause = 0.0005
        while (status := self._process.poll()) is None and loop.time() < until:
            await asyncio.sleep(pause)
            pause = min(0.05, pause * 2)
        return status

    async def close(self) -> None:
        """Kill it, reap it and close the socket.  Nobody may be receiving or sending."""
        self.kill()
        await self.ended(within_s=_REAPED_WITHIN_S)
        self.close_now()

    def close_now(self) -> None:
        """Do the same at once, for callers without a loop."""
        self._end()

    def disown(self) -> None:
        """Forget it: in a forked child it is the parent's, and only the copy of the socket is ours."""
        self._end.detach()
        self._process.returncode = 0
        self._socket.close()
        self._memory.close()


async def spawn(command: Command, starter: Executor) -> Child:
    """Start a worker.

    Args:
        command: What is run, given the number of the descriptor that the worker talks on.
        starter: Its one thread starts the process, and must live as long as the process may.

    Raises:
        OSError: No process could be started.
    """
    made = asyncio.get_running_loop().run_in_executor(starter, _spawned, command)
    try:
        return await asyncio.shield(made)
    except asyncio.CancelledError:
        # The thread goes on; what it makes is ended before anybody is told that all is over.
        await asyncio.wait({made})
        if not made.cancelled() and made.exception() is None:
            made.result().close_now()
        raise


def _spawned(command: Command) -> Child:
    ours, theirs = socket.socketpair()
    try:
        with theirs:
            ours.setblocking(False)
            # SECURITY: nothing of ours goes in but this descriptor: no environment, folder or terminal.
            process = subprocess.Popen(
                list(command(theirs.fileno())),
                env={},
                cwd="/",
                close_fds=True,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
    except BaseException:
        ours.close()
        raise
    return Child(process, ours)


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    # `poll` first: a process that is reaped has no id any more, and somebody else may have it.
    if process.poll() is None:
        try:
            os.killpg(process.pid, number)
        except OSError:  # it ended just now
            pass


def _end(process: subprocess.Popen[bytes], ours: socket.socket, memory: gauges.Memory, parent: int) -> None:
    if os.getpid() != parent:
        return
    _signal(process, signal.SIGKILL)
    try:
        process.wait(_REAPED_WITHIN_S)
    except subprocess.TimeoutExpired:  # killed, and stuck in the system: nothing more can be done
        pass
    ours.close()
    memory.close()


def _disown_all() -> None:
    for child in list(_CHILDREN):
        child.disown()
    _CHILDREN.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_disown_all)
