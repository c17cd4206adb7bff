"""System calls by their number: what Python's library does not offer, without a library of ours."""

import ctypes
import errno
import os
import sys

from ringfence.plugins.isolate.worker.system_calls import TABLES


class Kernel:
    """The kernel under this process; refuses with an `OSError`, also where there is no Linux."""

    def __init__(self) -> None:
        self.machine = os.uname().machine if sys.platform == "linux" else sys.platform
        self.numbers = TABLES.get(self.machine, {}) if sys.platform == "linux" else {}
        self._libc = ctypes.CDLL(None, use_errno=True) if self.numbers else None
        if self._libc is not None:
            self._libc.syscall.restype = ctypes.c_long

    def call(self, name: str, *arguments: int) -> int:
        """Make one system call; raise `OSError` if it fails or is not known here."""
        if self._libc is None or name not in self.numbers:
            raise OSError(errno.ENOSYS, f"no system call `{name}` on {self.machine}")
        words = [ctypes.c_long(self.numbers[name]), *(ctypes.c_long(argument) for argument in arguments)]
        ctypes.set_errno(0)
        answer: int = self._libc.syscall(*words)
        if answer == -1:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        return answer

    def refusal(self, name: str, *arguments: int) -> int:
        """Return the error number that a call is refused with; 0 if it is not refused."""
        try:
            self.call(name, *arguments)
        except OSError as problem:  # the answer that was asked for
            return problem.errno or -1
        return 0
