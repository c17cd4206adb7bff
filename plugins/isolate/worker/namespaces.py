"""Namespaces of the worker's own: users, network, System V and POSIX IPC, host names.

In the new network there is no interface that is up, so nothing can be reached, not even this machine.
"""

import contextlib
import errno
import os
import socket

from ringfence.plugins.isolate.worker.kernel import Kernel
from ringfence.plugins.isolate.worker.layers import Layer, lacking

_NAME = "namespaces"
_WANTED = {"user": 0x10000000, "net": 0x40000000, "ipc": 0x08000000, "uts": 0x04000000}


def own_namespaces(kernel: Kernel) -> Layer:
    """Leave the host's namespaces; the process must still have one thread."""
    before = _places()
    try:
        kernel.call("unshare", sum(_WANTED.values()))
    except OSError as problem:  # a missing wall is reported, never assumed
        # SECURITY: an administrator may leave the network without a user namespace; it is still reported as
        # missing.
        with contextlib.suppress(OSError):
            kernel.call("unshare", sum(_WANTED.values()) - _WANTED["user"])
        return lacking(_NAME, problem)
    shared = [place for place, (old, new) in _pairs(before, _places()).items() if old == new]
    if shared:
        return Layer(_NAME, False, f"still shared with the host: {', '.join(shared)}")
    refused = _connects()
    seen = errno.errorcode.get(refused, str(refused))
    return Layer(
        _NAME, refused == errno.ENETUNREACH, f"own {', '.join(_WANTED)}; connecting to 127.0.0.1: {seen}"
    )


def _places() -> dict[str, str]:
    try:
        return {place: os.readlink(f"/proc/self/ns/{place}") for place in _WANTED}
    except OSError:  # no /proc: then nothing is proved, and both readings are the same
        return dict.fromkeys(_WANTED, "")


def _pairs(before: dict[str, str], after: dict[str, str]) -> dict[str, tuple[str, str]]:
    return {place: (before[place], after[place]) for place in _WANTED}


def _connects() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as canary:
        canary.settimeout(1)
        return canary.connect_ex(("127.0.0.1", 9))
