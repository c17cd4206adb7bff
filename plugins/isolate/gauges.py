"""What another process uses of memory and processor, where the system tells it.

None where it does not (macOS, a hidden /proc): the worker's own limits and the deadline then stand alone.
"""

import os
import sys
import time

_LINE = 256
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 0
_PROCESS_CLOCK = 2  # CPUCLOCK_SCHED of the whole process (include/linux/posix-timers.h)


def cpu_ns(pid: int) -> int | None:
    """Return the processor time of a process, all its threads together."""
    if sys.platform != "linux":
        return None
    try:
        return time.clock_gettime_ns((~pid << 3) | _PROCESS_CLOCK)
    except OSError:  # it has ended
        return None


def threads(pid: int) -> int | None:
    """Return how many threads a process has."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            return int(stat.read().rpartition(b")")[2].split()[17])
    except (OSError, IndexError, ValueError):  # it has ended, or there is no such file here
        return None


class Memory:
    """The memory of one process; its file is kept open, so that none which gets its id later is measured."""

    def __init__(self, pid: int) -> None:
        try:
            self._descriptor = os.open(f"/proc/{pid}/statm", os.O_RDONLY)
        except OSError:  # there is no such file here
            self._descriptor = -1

    def resident_bytes(self) -> int | None:
        """Return what is in use."""
        try:
            return int(os.pread(self._descriptor, _LINE, 0).split()[1]) * _PAGE_BYTES
        except (OSError, IndexError, ValueError):  # it has ended, or there is no such file
            return None

    def close(self) -> None:
        """Measure no more; safe to repeat."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
