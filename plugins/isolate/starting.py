"""From a lock-down that is wanted to a worker that has proved it."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

from ringfence.plugin import IsolateFailure, Layer, Lockdown
from ringfence.plugins.isolate.frames import FrameError
from ringfence.plugins.isolate.process import Child, EndedError, spawn

_MB = 1 << 20
_SMALLEST_BYTES = 16 * _MB
_MAX_LAYERS = 64
_MORTAL = "dies with parent"
_QUIET_WITHIN_S = 0.25
"""What a worker has to make its next isolate in, once it has done a job."""
_LOOK_S = 0.02
_MOST_THREADS = 16
"""Of a worker: its own, one of its isolate, and some that are about to end.  No limit of the system holds
for root."""
_MAX_TEXT = 2000


_OWN = Layer("process", True, "a process of its own, with an empty environment and a deadline")
"""What the parent knows of every worker, where a program of its own need not say it."""


class UnavailableError(Exception):
    """There is no worker for this run."""

    def __init__(self, failure: IsolateFailure, message: str, ready: "Ready | None" = None) -> None:
        super().__init__(message)
        self.failure = failure
        self.message = message
        self.ready = ready
        """What the worker said of itself that is not used for want of a wall."""


class Kind(NamedTuple):
    """Which workers can do the same jobs."""

    lockdown: Lockdown
    memory_bytes: int
    """The largest job's; a power of two."""

    @classmethod
    def of(cls, lockdown: Lockdown, memory_bytes: int) -> "Kind":
        """Return the kind for a job of this memory."""
        memory = _SMALLEST_BYTES
        while memory < memory_bytes:
            memory *= 2
        return cls(lockdown, memory)


@dataclass(frozen=True)
class Ready:
    """What a worker has said of itself before it was given any job."""

    v8: str
    layers: tuple[Layer, ...]

    @cached_property
    def standing(self) -> tuple[str, ...]:
        """The names of the walls that stand."""
        return tuple(layer.name for layer in self.layers if layer.holds)


class Worker:
    """A worker that is ready, with what it has done so far."""

    def __init__(self, child: Child, kind: Kind, ready: Ready) -> None:
        self.child = child
        self.kind = kind
        self.ready = ready
        self.jobs = 0
        self.owner: str | None = None
        """Whose jobs it has run; None: nobody's yet."""
        self.idle_since_s = 0.0
        """The loop's time from which on it has had nothing to do."""
        self._rests: asyncio.TimerHandle | None = None
        self._stands_still = False
        self.idle_bytes = child.resident_bytes() or 0
        """Memory in use when it was ready."""

    def bind(self, owner: str) -> None:
        """Say whose it is from now on; raise RuntimeError if it is another's.

        SECURITY: the walls of an isolate are V8's, and V8 can be escaped.  Whoever has done that sees all
        that this worker is given later, so that is never another owner's.
        """
        if self.owner is not None and self.owner != owner:
            raise RuntimeError("a worker belongs to another owner")
        self.owner = owner

    def rest(self, loop: asyncio.AbstractEventLoop) -> None:
        """Have it stand still, a moment from now, if it has done a job: nobody watches what it does.

        SECURITY: whoever has taken it over could go on in it with no deadline and no limit but the system's.
        """
        # One that the system would not end with us must be able to see that we are gone.
        if self.owner is not None and _MORTAL in self.ready.standing:
            self._rests = loop.call_later(_LOOK_S, self._quieten, loop, loop.time() + _QUIET_WITHIN_S)

    def crowded(self) -> bool:
        """Say whether it has more threads than an isolate makes: they are the machine's, limits or not."""
        return (self.child.threads() or 0) > _MOST_THREADS

    def rouse(self) -> None:
        """Have it go on."""
        if self._rests is not None:
            self._rests.cancel()
        if self._stands_still:
            self._stands_still = False
            self.child.resume()

    def _quieten(self, loop: asyncio.AbstractEventLoop, until_s: float) -> None:
        if self.crowded():
            self.child.kill()
        elif loop.time() < until_s:
            self._rests = loop.call_later(_LOOK_S, self._quieten, loop, until_s)
        else:
            self._stands_still = True
            self.child.pause()


Program = Callable[[Kind, int], Sequence[str]]
"""The command that runs a worker of a kind, which talks on this descriptor."""


async def started(
    kind: Kind, program: Program, starter: Executor, *, wanted: frozenset[str], within_s: float
) -> Worker:
    """Start a worker and hear its proof.

    Args:
        wanted: The walls that `lockdown full` must have.

    Raises:
        UnavailableError: It does not start, or lacks a wall of its lock-down.
    """
    try:
        child = await spawn(lambda descriptor: program(kind, descriptor), starter)
    except (OSError, ValueError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or "the system refused"
        raise UnavailableError("executor", f"no worker process could be started: {why}") from error
    except RuntimeError as error:  # the starter was shut down
        raise UnavailableError("executor", "the isolates are closed") from error
    try:
        ready = await _proof(child, within_s)
        if "process" not in wanted and not any(layer.name == "process" for layer in ready.layers):
            ready = replace(ready, layers=(_OWN, *ready.layers))
        _hold(kind.lockdown, ready, wanted)
        return Worker(child, kind, ready)
    except BaseException:
        child.close_now()
        raise


async def _proof(child: Child, within_s: float) -> Ready:
    try:
        async with asyncio.timeout(within_s):
            return _ready(await child.receive(), child.pid)
    except TimeoutError:
        message = f"a new worker was not ready within {within_s:g} s"
        raise UnavailableError("executor", message) from None
    except FrameError as error:
        raise UnavailableError("executor", f"a new worker's first words are no report: {error}") from error
    except EndedError as error:
        status = await child.ended(within_s=1)
        how = "closed its socket" if status is None else _ended_by(status)
        raise UnavailableError("executor", f"a new worker {how} before it was ready") from error


def _ended_by(status: int) -> str:
    return f"was ended by signal {-status}" if status < 0 else f"ended (exit status {status})"


def _ready(frame: dict[str, Any], pid: int) -> Ready:
    match frame:
        case {"ready": {"v8": str(v8), "layers": list(layers), "pid": said, **rest}, **others} if (
            not rest and not others and said == pid and len(layers) <= _MAX_LAYERS
        ):
            return Ready(_text(v8), tuple(map(_layer, layers)))
    raise FrameError("not what a report holds")


def _layer(value: object) -> Layer:
    match value:
        case [str(name), bool(holds), str(evidence)]:
            return Layer(_text(name), holds, _text(evidence))
    raise FrameError("not what a report says of a layer")


def _text(value: str) -> str:
    return value.encode("utf-8", "replace").decode()[:_MAX_TEXT]


def _hold(lockdown: Lockdown, ready: Ready, wanted: frozenset[str]) -> None:
    full = lockdown == "full"
    lacking = [
        f"{layer.name} ({layer.evidence})"
        for layer in ready.layers
        if not layer.holds and (full or layer.name == "process")
    ]
    if full:  # SECURITY: a wall that the report does not name is a wall that is missing.
        lacking += sorted(wanted - {layer.name for layer in ready.layers})
    if lacking:
        needs = f"this machine lacks what `lockdown {lockdown}` needs: {', '.join(lacking)}"
        raise UnavailableError("lockdown", needs, ready)
