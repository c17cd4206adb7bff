"""What a run of a suite says of the adapter: one row of the table, and whether it holds."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.upstream.results import Compared, Results, compared
from tests.upstream.suites import Part


@dataclass(frozen=True, slots=True)
class Row:
    """One run of one suite, judged."""

    part: Part
    version: str
    results: Results
    compared: Compared

    @property
    def holds(self) -> bool:
        """True if the run shows what it must."""
        return not list(self.faults())

    def faults(self) -> Iterator[str]:
        """Yield what is wrong, a sentence each."""
        match self.part.inserted:
            case "nothing":
                if self.results.bodies == 0:
                    yield "no tool body was seen to run in the unmodified suite: the counter is blind"
            case "allow":
                yield from (
                    f"fails with everything allowed: {test}  ({self.results.why.get(test, 'skipped')})"
                    for test in self.compared.new
                )
                yield from (f"did not run: {test}" for test in self.compared.missing)
                if self.results.bodies == 0:
                    yield "no tool body ran with everything allowed"
            case "deny":
                if self.results.bodies:
                    yield f"{self.results.bodies} tool bodies ran with everything denied"
                if self.compared.missing:
                    yield f"{len(self.compared.missing)} tests did not run"

    def lines(self) -> list[str]:
        """Return what there is to say of the run below its title."""
        said = [f"FAULT {fault}" for fault in self.faults()]
        if self.part.inserted == "allow":
            said += [f"listed, but passes: {test}" for test in self.compared.passing]
        return said

    def cells(self) -> tuple[str, ...]:
        """Return the row as it stands in the table."""
        judged = self.part.inserted == "allow"
        return (
            self.part.suite.name,
            self.part.way or "-",
            {"nothing": "unmodified", "allow": "allow all", "deny": "deny all"}[self.part.inserted],
            str(self.results.count("passed")),
            str(self.results.count("failed")),
            str(len(self.compared.new)) if judged else "-",
            str(len(self.compared.listed)) if judged else "-",
            str(self.results.bodies),
            "yes" if self.holds else "NO",
        )

    def plain(self) -> dict[str, Any]:
        """Return the row for machines."""
        return {
            "suite": self.part.suite.name,
            "package": self.part.suite.package,
            "version": self.version,
            "way": self.part.way,
            "policy": self.part.inserted,
            "passed": self.results.count("passed"),
            "failed": self.results.count("failed"),
            "skipped": self.results.count("skipped"),
            "new": list(self.compared.new),
            "listed": list(self.compared.listed),
            "passing": list(self.compared.passing),
            "bodies": self.results.bodies,
            "holds": self.holds,
        }


def judged(part: Part, version: str, results: Results, unmodified: Results, listed: Iterable[str]) -> Row:
    """Judge a run beside the unmodified one."""
    return Row(part, version, results, compared(unmodified, results, listed))
