"""One host: `python -m tests.hosts.host SETTINGS` opens its guard, waits for a line, and makes its calls.

It works in the folder it is started in and shares nothing with other hosts but what SETTINGS, a JSON object,
names.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from tests.guards import ALICE, make_guard
from tests.hosts.shop import POLICY, Effects, send_all


async def main(settings: dict[str, Any]) -> None:
    """Say `ready`, then what became of the calls."""
    guard = make_guard(POLICY, **settings)
    run = await guard.abegin_run(principal=ALICE, agent="main")
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    print(json.dumps(await send_all(guard, run, Effects(Path.cwd()))), flush=True)
    await guard.aend_run(run)
    await guard.aclose()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
