"""Run the tests of the adapter for LangChain in other versions: `python -m tests.versions [NAME…]`.

Makes the environments in `.venv-versions/`, runs the tests in each, and ends with a table.  What a version
does not have is left out by a check of its version, and counted.
"""

import subprocess
import sys
import xml.etree.ElementTree as xml
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.versions.environments import ENVIRONMENTS, PLACE, ROOT, Environment, NotInstallableError

PACKAGES = ("langchain", "langchain-core", "langgraph", "langgraph-prebuilt", "deepagents", "mcp")


@dataclass(slots=True)
class Ran:
    """What came of one environment."""

    environment: Environment
    versions: dict[str, str] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    """The reasons for which tests were left out."""
    trouble: str | None = None

    @property
    def is_well(self) -> bool:
        """Whether nothing failed that should not have."""
        if self.trouble is not None:
            return self.environment.may_be_missing
        return self.counts["passed"] > 0 and self.counts["failed"] == 0


def main(names: Sequence[str]) -> int:
    """Run them; return the exit code."""
    chosen = [one for one in ENVIRONMENTS if not names or one.name in names]
    if unknown := sorted({*names} - {one.name for one in ENVIRONMENTS}):
        known = ", ".join(one.name for one in ENVIRONMENTS)
        print(f"there is no environment `{unknown[0]}`; there are: {known}", file=sys.stderr)
        return 2
    ran = [_run(one) for one in chosen]
    _tell(ran)
    return 0 if all(one.is_well for one in ran) else 1


def _run(environment: Environment) -> Ran:
    ran = Ran(environment)
    print(f"{environment.name}: installing into {environment.folder.relative_to(ROOT)}", flush=True)
    try:
        environment.make()
    except NotInstallableError as error:
        ran.trouble = str(error)
        return ran
    ran.versions = environment.versions(*PACKAGES)
    print(f"{environment.name}: running {environment.tests}", flush=True)
    report = PLACE / f"{environment.name}.xml"
    report.unlink(missing_ok=True)
    pytest = [str(environment.python), "-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider"]
    subprocess.run([*pytest, environment.tests, f"--junitxml={report}"], cwd=ROOT)
    if report.exists():
        _count(ran, report)
    else:
        ran.trouble = "pytest ended without a report"
    return ran


def _count(ran: Ran, report: Path) -> None:
    for case in xml.parse(report).iter("testcase"):
        kinds = {child.tag for child in case}
        skipped = case.find("skipped")
        if kinds & {"failure", "error"}:
            ran.counts["failed"] += 1
        elif skipped is not None:
            ran.counts["left out"] += 1
            ran.left_out[str(skipped.get("message"))] += 1
        else:
            ran.counts["passed"] += 1


def _tell(ran: Sequence[Ran]) -> None:
    table = Table("environment", *PACKAGES, "passed", "failed", "left out")
    for one in ran:
        counts = [str(one.counts[kind]) for kind in ("passed", "failed", "left out")]
        table.add_row(one.environment.name, *(one.versions.get(name, "") for name in PACKAGES), *counts)
    console = Console(width=140)
    console.print(table)
    for one in ran:
        if one.trouble is not None:
            fails = "" if one.is_well else " (a failure)"
            print(f"{one.environment.name}: cannot be installed here{fails}: {one.trouble}")
        for reason, count in one.left_out.most_common():
            print(f"{one.environment.name}: {count} left out: {reason}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
