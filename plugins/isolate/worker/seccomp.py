"""The filter of system calls: tried in children first, then put in place for good."""

import ctypes
import errno
import os
import signal
import sys
from collections.abc import Callable, Sequence

from ringfence.plugins.isolate.worker.bpf import Instruction
from ringfence.plugins.isolate.worker.kernel import Kernel
from ringfence.plugins.isolate.worker.layers import Layer, lacking
from ringfence.plugins.isolate.worker.system_call_filter import ARCHITECTURES, program

_NAME = "seccomp"
_SET_MODE_FILTER, _GET_ACTION_AVAILABLE = 1, 2
_ALL_THREADS = 1
_KILL_PROCESS = 0x80000000
_AT_FDCWD = -100
_EXECUTABLE = 7
_READ_WRITE = 3
_PRIVATE_ANONYMOUS, _SHARED_ANONYMOUS = 0x22, 0x21
_AF_INET, _STREAM = 2, 1


class _Step(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_ushort),
        ("if_true", ctypes.c_ubyte),
        ("if_false", ctypes.c_ubyte),
        ("word", ctypes.c_uint32),
    )


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.c_void_p))


def fatal_attempts(kernel: Kernel) -> Layer:
    """Try what must end a process, each in a child of its own under the same filter; nothing is kept here.

    The layer that is returned says only that the filter kills; whether it stands, `filter_calls` says.
    """
    try:
        steps = _steps(kernel)
        word = ctypes.c_uint32(_KILL_PROCESS)
        kernel.call("seccomp", _GET_ACTION_AVAILABLE, 0, ctypes.addressof(word))
        attempts: dict[str, Callable[[], object]] = {
            "socket": lambda: kernel.call("socket", _AF_INET, _STREAM, 0),
            "execve": lambda: kernel.call("execve", 0, 0, 0),
            "kill": lambda: kernel.call("kill", os.getppid(), 0),
            "clone": lambda: kernel.call("clone", signal.SIGCHLD, 0, 0, 0, 0),
        }
        outlived = [name for name, attempt in attempts.items() if not _dies(kernel, steps, attempt)]
    except OSError as problem:  # a missing wall is reported, never assumed
        return lacking(_NAME, problem)
    if outlived:
        return Layer(_NAME, False, f"a child outlived: {', '.join(outlived)}")
    return Layer(_NAME, True, f"SIGSYS in a child for each of {', '.join(attempts)}")


def filter_calls(kernel: Kernel, tried: Layer) -> Layer:
    """Put the filter on this process and all its threads, and look whether it stands."""
    if not tried.holds:
        return tried
    try:
        steps = _steps(kernel)
        _install(kernel, steps)
    except OSError as problem:  # a missing wall is reported, never assumed
        return lacking(_NAME, problem)
    root = ctypes.create_string_buffer(b"/")
    seen = {
        "openat": kernel.refusal("openat", _AT_FDCWD, ctypes.addressof(root), os.O_RDONLY, 0),
        "mmap for execution": kernel.refusal("mmap", 0, 4096, _EXECUTABLE, _PRIVATE_ANONYMOUS, -1, 0),
        "mmap of shared memory": kernel.refusal("mmap", 0, 4096, _READ_WRITE, _SHARED_ANONYMOUS, -1, 0),
        "getppid": kernel.refusal("getppid"),
    }
    let_through = [name for name, refused in seen.items() if refused != errno.EPERM]
    if let_through:
        return Layer(_NAME, False, f"not refused: {', '.join(let_through)}")
    return Layer(_NAME, True, f"{len(steps)} steps; EPERM for {', '.join(seen)}; {tried.evidence}")


def _steps(kernel: Kernel) -> Sequence[Instruction]:
    if sys.platform != "linux" or kernel.machine not in ARCHITECTURES:
        raise OSError(errno.ENOSYS, f"no filter for {kernel.machine}")
    return program(kernel.machine, os.getpid())


def _install(kernel: Kernel, steps: Sequence[Instruction]) -> None:
    array = (_Step * len(steps))(
        *(_Step(step.code, step.if_true, step.if_false, step.word) for step in steps)
    )
    whole = _Program(len(steps), ctypes.addressof(array))
    refusing = kernel.call("seccomp", _SET_MODE_FILTER, _ALL_THREADS, ctypes.addressof(whole))
    if refusing:
        raise OSError(errno.ESRCH, f"thread {refusing} cannot take the filter")


def _dies(kernel: Kernel, steps: Sequence[Instruction], attempt: Callable[[], object]) -> bool:
    child = os.fork()
    if child == 0:
        try:
            _install(kernel, steps)
            attempt()
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGSYS
