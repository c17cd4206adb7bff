"""Landlock with no rule at all: no file, no TCP port, no abstract socket, no signal to another process.

By raw system calls (kernel documentation, `userspace-api/landlock`).  What a kernel does not know must not be
asked of it, so the masks follow its ABI.
"""

import ctypes
import errno
import os

from ringfence.plugins.isolate.worker.kernel import Kernel
from ringfence.plugins.isolate.worker.layers import Layer, lacking

_NAME = "Landlock"
_VERSION = 1
_FILES_OF_ABI = {1: (1 << 13) - 1, 2: 1 << 13, 3: 1 << 14, 5: 1 << 15}
_BIND_AND_CONNECT_TCP = 0b11
_ABSTRACT_SOCKETS_AND_SIGNALS = 0b11
_AT_FDCWD = -100
_O_DIRECTORY = getattr(os, "O_DIRECTORY", 0)


def ruleset(abi: int) -> tuple[int, ...]:
    """Return the attributes to handle, as 64-bit words: files, TCP (ABI 4), scopes (ABI 6)."""
    words = [sum(mask for since, mask in _FILES_OF_ABI.items() if since <= abi)]
    if abi >= 4:
        words.append(_BIND_AND_CONNECT_TCP)
    if abi >= 6:
        words.append(_ABSTRACT_SOCKETS_AND_SIGNALS)
    return tuple(words)


def shut_files(kernel: Kernel) -> Layer:
    """Refuse every file from here on; needs `no new privileges`."""
    try:
        abi = kernel.call("landlock_create_ruleset", 0, 0, _VERSION)
        words = ruleset(abi)
        attributes = (ctypes.c_uint64 * len(words))(*words)
        rules = kernel.call(
            "landlock_create_ruleset", ctypes.addressof(attributes), ctypes.sizeof(attributes), 0
        )
        try:
            kernel.call("landlock_restrict_self", rules, 0)
        finally:
            os.close(rules)
    except OSError as problem:  # a missing wall is reported, never assumed
        if problem.errno == errno.ENOSYS:
            return Layer(_NAME, False, "this kernel has none (Linux 5.13 has)")
        if problem.errno == errno.EOPNOTSUPP:
            return Layer(_NAME, False, "switched off when the machine was started (`lsm=`)")
        return lacking(_NAME, problem)
    root = ctypes.create_string_buffer(b"/")
    refused = kernel.refusal("openat", _AT_FDCWD, ctypes.addressof(root), os.O_RDONLY | _O_DIRECTORY, 0)
    seen = errno.errorcode.get(refused, str(refused))
    return Layer(_NAME, refused == errno.EACCES, f"ABI {abi}; opening /: {seen}")
