"""A small process that outlives the gateway if that is killed outright, and then kills a server's group.

SIGKILL leaves the gateway no time to clean up.  So a shell waits at a pipe that only the gateway holds open:
the kernel closes it whenever the gateway ends, however that happens.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

_WAITS: Final = "read -r _; kill -s KILL -- -$1"


@asynccontextmanager
async def outliving(group: int) -> AsyncIterator[None]:
    """Have the process group killed if we are killed in the block."""
    try:
        waiting = await asyncio.create_subprocess_exec(
            *("/bin/sh", "-c", _WAITS, "ringfence-mcp", str(group)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            env={},
            start_new_session=True,  # signals to our group, a Ctrl-C say, are not for it
        )
    except OSError:  # no shell: a server may outlive a gateway that is killed outright, as without this
        yield
        return
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            waiting.kill()  # before its pipe is closed: the group may be another one's by now
        await waiting.wait()
