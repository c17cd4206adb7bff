"""The protocol's conformance suite on the server with everything: alone, and behind the gateway."""

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.adapters.mcp.everything.tools import TOOLS
from tests.adapters.mcp.judges.places import (
    EVERYTHING,
    SUITE,
    environment,
    free_port,
    gateway,
    node,
    serving,
)
from tests.adapters.mcp.judges.policy import allow_all

VERSIONS = ("2025-11-25", "2026-07-28")
_BAD = ("FAILURE", "WARNING", "NOTHING")
_ORDER = {"SUCCESS": 0, "INFO": 0, "SKIPPED": 1, "WARNING": 2, "FAILURE": 3, "NOTHING": 3}
_RUNS_S = 600


@dataclass(frozen=True, slots=True)
class Row:
    """One check of one scenario, both ways."""

    version: str
    scenario: str
    check: str
    alone: str
    behind: str
    message: str

    @property
    def worse(self) -> bool:
        return _ORDER[self.behind] > _ORDER[self.alone]


def rows(folder: Path) -> Iterator[Row]:
    """Run the suite in each version, alone and behind the gateway."""
    policy = folder / "all.fence"
    policy.write_text(allow_all(tool.name for tool in TOOLS))
    for version in VERSIONS:
        port = free_port()
        with serving([*EVERYTHING, str(port)], port, folder / f"alone-{version}.log") as url:
            alone = _judged(url, version, folder / f"alone-{version}")
        port = free_port()
        listen = ("--listen", f"127.0.0.1:{port}", "--", *EVERYTHING)
        command = gateway(policy, folder / f"{version}.db", *listen)
        with serving(command, port, folder / f"behind-{version}.log") as url:
            behind = _judged(url, version, folder / f"behind-{version}")
        for (scenario, check), (status, _) in alone.items():
            found, message = behind.get((scenario, check), ("NOTHING", "the check was never made"))
            yield Row(version, scenario, check, status, found, message)


def _judged(url: str, version: str, folder: Path) -> dict[tuple[str, str], tuple[str, str]]:
    """Return (scenario, check) -> (status, message); of a check that is made often, the worst."""
    command = [node(), str(SUITE), "server", "--url", url, "--suite", "all", "--spec-version", version]
    done = subprocess.run(
        [*command, "-o", str(folder)], capture_output=True, timeout=_RUNS_S, env=environment(), check=False
    )
    found: dict[tuple[str, str], tuple[str, str]] = {}
    for file in sorted(folder.glob("server-*/checks.json")):
        scenario = re.sub(r"^server-|-\d{4}-\d\d-\d\dT.*$", "", file.parent.name)
        for check in json.loads(file.read_text()):
            key = scenario, str(check["id"])
            status, message = str(check["status"]), str(check.get("errorMessage", ""))[:300]
            if key not in found or _ORDER[status] > _ORDER[found[key][0]]:
                found[key] = status, message
    if not found:
        raise RuntimeError(f"the suite judged nothing: {done.stderr.decode(errors='replace')[-2_000:]}")
    return found


def totals(found: list[Row], version: str) -> tuple[int, int, int]:
    """Return how many checks there are, and how many are well alone and behind the gateway."""
    mine = [row for row in found if row.version == version]
    return len(mine), sum(row.alone not in _BAD for row in mine), sum(row.behind not in _BAD for row in mine)
