"""What another process uses of memory and processor, where the system tells it.

None where it does not (macOS, a hidden /proc): the worker's own limits and the deadline then stand alone.
"""

import os
import sys
import time

_PROCESS_CLOCK = 2  # CPUCLOCK_SCHED of the whole process (include/linux/posix-timers.h)


def cpu_ns(pid: int) -> int | None:
    """Return the processor time of a process, all its threads together."""
    if sys.platform != "linux":
        return None
    try:
        return time.clock_gettime_ns((~pid << 3) | _PROCESS_CLOCK)
    except OSError:  # it has ended
        return None


def resident_bytes(pid: int) -> int | None:
    """Return the memory of a process that is in use."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):  # it has ended, or there is no such file here
        return None
