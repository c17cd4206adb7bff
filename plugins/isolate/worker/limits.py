"""Resource limits: data, processor time as a backstop, no core, no file growth, no more descriptors.

`RLIMIT_AS` is of no use (V8 reserves more than a tebibyte); `RLIMIT_DATA` bounds heap, array buffers and
stacks together, if it is set after V8 began.
"""

import errno
import sys

from ringfence.plugins.isolate.worker.kernel import Kernel
from ringfence.plugins.isolate.worker.layers import Layer, lacking

BASE_BYTES = 64 << 20
"""What an isolate needs beside the memory of its code: thread stacks, the heap's own bookkeeping, frames."""

_NAME = "limits"
_READ_WRITE, _PRIVATE_ANONYMOUS = 3, 0x22


def bound(kernel: Kernel, memory_bytes: int, cpu_seconds: int) -> Layer:
    """Set the limits, hard and soft; V8 must have begun."""
    if sys.platform == "win32":
        return Layer(_NAME, False, "this system has no resource limits")
    import resource

    budget = memory_bytes + BASE_BYTES
    wanted = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_CPU: cpu_seconds,
    }
    try:
        for limit, value in wanted.items():
            resource.setrlimit(limit, (value, value))
        wanted[resource.RLIMIT_DATA] = data = _data_bytes() + budget
        resource.setrlimit(resource.RLIMIT_DATA, (data, data))
        kept = all(resource.getrlimit(limit) == (value, value) for limit, value in wanted.items())
    except OSError as problem:  # a missing wall is reported, never assumed
        return lacking(_NAME, problem)
    except ValueError:  # a hard limit below ours that cannot be raised
        return Layer(_NAME, False, "a lower hard limit stands already")
    refused = kernel.refusal("mmap", 0, budget + (1 << 20), _READ_WRITE, _PRIVATE_ANONYMOUS, -1, 0)
    seen = errno.errorcode.get(refused, str(refused))
    return Layer(
        _NAME,
        kept and refused == errno.ENOMEM,
        f"{budget >> 20} MB of data above what V8 began with; one more: {seen}",
    )


def no_more_descriptors() -> None:
    """Let no descriptor be made any more, by whatever call; raise `OSError` if that cannot be."""
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))


def _data_bytes() -> int:
    with open("/proc/self/status", encoding="ascii") as status:
        for line in status:
            if line.startswith("VmData:"):
                return int(line.split()[1]) << 10
    raise OSError(errno.ENODATA, "no VmData")
