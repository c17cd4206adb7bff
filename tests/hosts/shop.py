"""The policy that the hosts share, the calls that they make, and what stays of them on the disk."""

import asyncio
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ringfence.dsl.plan import Json
from ringfence.engine.decision.calls import ToolCall
from ringfence.engine.enforcement.current import current_call
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.seams.errors import DeniedError
from tests.guards import call

HOSTS = 4
LIMIT = 10
CALLS = 50
PERIOD_NS = 3600 * 10**9

POLICY = """
language 1
policy shop
capability send is external
agent main { holds send }
tool mail {
  needs send
  takes to: email
  allow when to ends with ".example"
  rate 10 per hour for each workspace
}
"""


class Effects:
    """A tool whose effect is on the disk when it returns: one line in a file of the host's own folder."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "effects"

    def __call__(self, arguments: Mapping[str, Json]) -> str:
        inside = current_call()
        assert inside is not None
        run, key = inside
        with open(self.path, "a") as effects:
            effects.write(json.dumps([run.id, key]) + "\n")
            effects.flush()
            os.fsync(effects.fileno())
        return "sent"

    def read(self) -> list[tuple[str, str]]:
        """Return run and call key of every effect."""
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        return [(run, key) for run, key in map(json.loads, lines)]


def mails() -> list[ToolCall]:
    """Return the calls that each host makes, all at once."""
    return [call("mail", f"c{number}", to=f"someone.{number}@shop.example") for number in range(CALLS)]


async def send_all(guard: Guard, run: Run, effects: Effects) -> dict[str, Any]:
    """Make all calls in parallel; say how many ran, which rules refused the others, and what broke."""
    made = (guard.aexecute(run, one, effects) for one in mails())
    results = await asyncio.gather(*made, return_exceptions=True)
    denied = [result for result in results if isinstance(result, DeniedError)]
    broken = [one for one in results if isinstance(one, BaseException) and not isinstance(one, DeniedError)]
    return {
        "ran": results.count("sent"),
        "refused": sorted({one.reason.name if one.reason else str(one) for one in denied}),
        "denied": len(denied),
        "broken": [repr(one) for one in broken],
    }
