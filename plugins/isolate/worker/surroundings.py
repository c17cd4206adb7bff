"""What the worker was born with: an empty environment, no descriptor but its own, no working folder."""

import os
import stat
import sys

from ringfence.plugins.isolate.worker.layers import Layer

_NAME = "process"
_HARMLESS = {"LC_CTYPE", "TZ"}
"""Python sets the first when it starts without a locale; we the second, so that `Date` knows no place."""

_STANDARD = (0, 1, 2)
_MOST = 4096


def own_process(kept: set[int]) -> Layer:
    """Close every descriptor but the standard ones and those kept, and look at what else was inherited."""
    strangers = set(os.environ) - _HARMLESS
    if strangers:
        return Layer(_NAME, False, f"{len(strangers)} variables in the environment")
    if sys.platform == "win32":
        return Layer(_NAME, True, "own process; empty environment")
    _close_all_but(kept | set(_STANDARD))
    speaking = [number for number in _STANDARD if not _is_null(number)]
    if speaking:
        return Layer(_NAME, False, f"standard streams that lead somewhere: {speaking}")
    if os.getsid(0) != os.getpid():
        return Layer(_NAME, False, "not in a session of its own")
    os.chdir("/")
    return Layer(
        _NAME, True, f"own session; empty environment; descriptors 0, 1, 2 (null) and {sorted(kept)}"
    )


def _close_all_but(kept: set[int]) -> None:
    following = 0
    for number in [*sorted(kept), max(_MOST, os.sysconf("SC_OPEN_MAX"))]:
        if following < number:  # an empty range is taken for all of them
            os.closerange(following, number)
        following = number + 1


def _is_null(number: int) -> bool:
    try:
        found, null = os.fstat(number), os.stat(os.devnull)
    except OSError:  # closed: leads nowhere
        return True
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == null.st_rdev
