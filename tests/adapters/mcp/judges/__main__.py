"""Run the judges and print the table; the exit code says whether the gateway is worse than no gateway."""

import asyncio
import sys
import tempfile
from pathlib import Path

from tests.adapters.mcp.judges import conformance, reference
from tests.adapters.mcp.judges.places import require_packages


def main() -> int:
    require_packages()
    worse = 0
    with tempfile.TemporaryDirectory() as made:
        for server in ("server-everything", "server-filesystem"):
            found = asyncio.run(reference.differences(server, Path(made)))
            print(*(f"  {line}" for line in found), sep="\n") if found else None
            worse += len(found)
        worse += _conformance(Path(made))
    print("no worse with the gateway than without" if not worse else f"{worse} worse with the gateway")
    return 1 if worse else 0


def _conformance(folder: Path) -> int:
    found = list(conformance.rows(folder))
    for version in conformance.VERSIONS:
        checks, alone, behind = conformance.totals(found, version)
        print(f"conformance {version}: {checks} checks, {alone} well alone, {behind} well behind the gateway")
    for row in found:
        if row.worse:
            place = f"{row.version} {row.scenario} {row.check}"
            print(f"  {place}: {row.alone} -> {row.behind}: {row.message}")
    return sum(row.worse for row in found)


if __name__ == "__main__":
    sys.exit(main())
