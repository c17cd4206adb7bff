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
        yield from (f"bodies may have run unseen: {test}" for test in self.results.blind)
        match self.part.inserted:
            case "nothing":
                if self.results.bodies == 0:
                    yield "no tool body was seen to run in the unmodified suite: the counter is blind"
                yield from (f"was cut: {test}  ({self.results.why[test]})" for test in self.results.cut)
            case "allow":
                yield from (
                    f"fails with everything allowed: {test}  ({self.results.why.get(test, 'skipped')})"
                    for test in self.compared.new
                )
                if self.through == 0:
                    yield "no tool body ran through the guard with everything allowed"
            case "deny":
                if self.results.bodies:
                    yield f"{self.results.bodies} tool bodies ran with everything denied"
                if self.results.calls == 0:
                    yield "no call came to the guard"
                yield from (f"was cut: {test}  ({self.results.why[test]})" for test in self.compared.new)
        yield from (f"did not run: {test}" for test in self.compared.missing)

    @property
    def through(self) -> int:
        """Bodies that ran by a guard's word."""
        return self.results.bodies - self.results.beside.total()

    def lines(self) -> list[str]:
        """Return what there is to say of the run below its title."""
        said = [f"FAULT {fault}" for fault in self.faults()]
        if self.part.inserted == "allow":
            said += [f"listed, but passes: {test}" for test in self.compared.passing]
            said += [f"{count} beside the guard: {test}" for test, count in self.results.beside.items()]
        if self.part.inserted == "deny":
            said += [f"listed, but comes to its end: {test}" for test in self.compared.passing]
        return said

    def cells(self) -> tuple[str, ...]:
        """Return the row as it stands in the table."""
        results, alone = self.results, self.part.inserted == "nothing"
        return (
            self.part.suite.name,
            self.part.way or "-",
            {"nothing": "unmodified", "allow": "allow all", "deny": "deny all"}[self.part.inserted],
            str(len(results.outcomes)),
            str(results.count("passed")),
            str(results.count("failed")),
            str(len(self.compared.new)) if self.part.inserted == "allow" else "-",
            str(len(self.compared.listed)) if self.part.inserted == "allow" else "-",
            str(len(self.compared.new + self.compared.listed)) if self.part.inserted == "deny" else "-",
            "-" if alone else str(results.calls),
            str(results.bodies),
            "-" if alone else str(results.beside.total()),
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
            "cut": list(self.results.cut),
            "calls": self.results.calls,
            "bodies": self.results.bodies,
            "beside": dict(self.results.beside),
            "holds": self.holds,
        }


def judged(part: Part, version: str, results: Results, unmodified: Results, listed: Iterable[str]) -> Row:
    """Judge a run beside the unmodified one."""
    found = compared(unmodified, results, listed, cut=part.inserted == "deny")
    return Row(part, version, results, found)
