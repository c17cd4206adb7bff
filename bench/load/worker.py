"""One process of a load.  It is told what to do on stdin, says `ready`, waits for a line, works, and reports.

Stdout has two lines: `ready`, and the report as JSON.  It ends at once if nobody tells it to begin.
"""

import asyncio
import json
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from bench.load.driving import Load, drive
from bench.load.mix import GROUPS, POLICY
from bench.load.reports import Report
from ringfence import Guard
from ringfence.engine.seams.settings import Settings

READY = "ready"


@dataclass(frozen=True, slots=True)
class Order:
    """What one process is to do."""

    load: Load
    store: str
    ledger: str | None
    """Where budgets are kept instead; None: in the store."""
    first: int
    """The number of its first place."""

    def line(self) -> str:
        """Return it as it is told to the process."""
        return json.dumps(asdict(self)) + "\n"

    @classmethod
    def of(cls, line: str) -> Self:
        """Read what `line` gave."""
        data = json.loads(line)
        return cls(**{**data, "load": Load(**data["load"])})


def guard_of(folder: Path, *, store: str, ledger: str | None = None) -> Guard:
    """Make a guard as a deployment of these stores would have it; the folder gets its policy."""
    policy = folder / "load.fence"
    policy.write_text(POLICY, "utf-8")
    # Nobody is told of a question but who has asked it: the load itself has it answered.
    said = {"store": store, "groups": GROUPS, "approvals": {"default": []}} | (
        {} if ledger is None else {"ledger": ledger}
    )
    return Guard.load(policy, settings=Settings.of(said))


async def carried_out(order: Order, guard: Guard) -> Report:
    """Open the guard, say so, and do what was ordered once told to begin."""
    try:
        await guard.aopen()
        print(READY, flush=True)
        if not await asyncio.to_thread(sys.stdin.readline):
            raise SystemExit("nobody said that it may begin")
        return await drive(guard, order.load, first=order.first)
    finally:
        await guard.aclose()


def main() -> int:
    """Do what the first line of stdin says."""
    order = Order.of(sys.stdin.readline())
    with tempfile.TemporaryDirectory() as folder:
        guard = guard_of(Path(folder), store=order.store, ledger=order.ledger)
        report = asyncio.run(carried_out(order, guard))
    print(json.dumps(report.to_json()), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
