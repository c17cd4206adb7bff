"""What the process gives up for good: privileges, capabilities, outliving its parent, being looked into."""

import ctypes
import errno
import signal

from ringfence.plugins.isolate.worker.kernel import Kernel
from ringfence.plugins.isolate.worker.layers import Layer, lacking

_PR_SET_PDEATHSIG, _PR_GET_PDEATHSIG = 1, 2
_PR_GET_DUMPABLE, _PR_SET_DUMPABLE = 3, 4
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS, _PR_GET_NO_NEW_PRIVS = 38, 39
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
_CAPABILITY_VERSION_3 = 0x20080522


def no_new_privileges(kernel: Kernel) -> Layer:
    """Give up set-user-id programs and file capabilities."""
    try:
        kernel.call("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        holds = kernel.call("prctl", _PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1
    except OSError as problem:  # a missing wall is reported, never assumed
        return lacking("no new privileges", problem)
    return Layer("no new privileges", holds, "the kernel says so when asked")


def dies_with_parent(kernel: Kernel) -> Layer:
    """Have the kernel kill this process when its parent ends."""
    name = "dies with parent"
    read = ctypes.c_int(0)
    try:
        kernel.call("prctl", _PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        kernel.call("prctl", _PR_GET_PDEATHSIG, ctypes.addressof(read), 0, 0, 0)
    except OSError as problem:  # a missing wall is reported, never assumed
        return lacking(name, problem)
    return Layer(name, read.value == signal.SIGKILL, f"signal {read.value} when the parent ends")


def not_dumpable(kernel: Kernel) -> Layer:
    """Refuse core dumps, debuggers and readers of our memory."""
    try:
        kernel.call("prctl", _PR_SET_DUMPABLE, 0, 0, 0, 0)
        holds = kernel.call("prctl", _PR_GET_DUMPABLE, 0, 0, 0, 0) == 0
    except OSError as problem:  # a missing wall is reported, never assumed
        return lacking("not dumpable", problem)
    return Layer("not dumpable", holds, "the kernel says so when asked")


def no_capabilities(kernel: Kernel) -> Layer:
    """Drop every capability, also those that a user namespace gave."""
    name = "no capabilities"
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    nothing = (ctypes.c_uint32 * 6)()
    left = (ctypes.c_uint32 * 6)(*[0xFFFFFFFF] * 6)
    try:
        for capability in range(64):
            refused = kernel.refusal("prctl", _PR_CAPBSET_DROP, capability, 0, 0, 0)
            if refused == errno.EINVAL:  # above the last one that this kernel has
                break
        kernel.refusal("prctl", _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
        kernel.call("capset", ctypes.addressof(header), ctypes.addressof(nothing))
        kernel.call("capget", ctypes.addressof(header), ctypes.addressof(left))
    except OSError as problem:  # a missing wall is reported, never assumed
        return lacking(name, problem)
    held = sum(word.bit_count() for word in left)
    return Layer(name, held == 0, f"{held} effective, permitted or inheritable")
