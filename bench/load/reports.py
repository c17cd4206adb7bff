"""What came of a load: counted in each process, added up over all of them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

from bench.load.mix import ALLOWED, NAMES, RATIONED, SCARCE, STEPS

SHOWN = 10
"""So many mistakes are told in words; all are counted."""


@dataclass(slots=True)
class Memory:
    """Resident bytes of one process."""

    before: int
    """With an open guard that has had one run."""
    begun: int
    """With all runs begun and no call made."""
    peak: int
    after: int
    """With all runs ended and the guard open."""


@dataclass(slots=True)
class Report:
    """One process, or several added up."""

    processes: int = 1
    at_once: int = 0
    runs: int = 0
    """Those that have ended, the one before the clock included."""
    ran: Counter[str] = field(default_factory=Counter)
    """Calls whose body's result came back, by step."""
    denied: Counter[str] = field(default_factory=Counter)
    bodies: Counter[str] = field(default_factory=Counter)
    """Bodies that were started, by step."""
    mistakes: int = 0
    told: list[str] = field(default_factory=list)
    """The first mistakes."""
    begin_s: float = 0.0
    """How long it took until all runs had begun, by the wall."""
    wall_s: float = 0.0
    """From then until all had ended."""
    cpu_s: float = 0.0
    """Of the processes in that time; what a server takes is not in it."""
    timed_calls: int = 0
    timed_runs: int = 0
    """What ended in that time."""
    slowest_s: float = 0.0
    """The longest that a call which no person is asked about took."""
    memory: list[Memory] = field(default_factory=list)
    """By process; empty where the system does not tell."""

    def wrong(self, what: str) -> None:
        """Count a mistake, and keep the first ones."""
        self.mistakes += 1
        if len(self.told) < SHOWN:
            self.told.append(what[:500])

    @property
    def calls(self) -> int:
        """Every call that came to an end."""
        return self.ran.total() + self.denied.total()

    def faults(self) -> list[str]:
        """Return what is wrong by the counts alone."""
        found = list(self.told)
        if self.mistakes > len(self.told):
            found.append(f"and {self.mistakes - len(self.told):,} mistakes more")
        for name in NAMES:
            if self.bodies[name] != self.ran[name]:
                found.append(f"{name}: {self.bodies[name]:,} bodies for {self.ran[name]:,} calls that ran")
        wanted = self.ran[RATIONED.name] + self.denied[RATIONED.name]
        if self.ran[RATIONED.name] != min(wanted, SCARCE):
            found.append(f"{self.ran[RATIONED.name]:,} rationed calls ran of {wanted:,}; {SCARCE:,} may")
        if self.ran[ALLOWED.name] == 0:
            found.append("no call was allowed: nothing was measured")
        return found

    def ran_of(self, tool: str) -> int:
        """Return how many calls of a tool ran."""
        return sum(self.ran[name] for name in {step.name for step in STEPS if step.tool == tool})

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        counted = {name: dict(getattr(self, name)) for name in _COUNTED}
        return {one.name: getattr(self, one.name) for one in fields(self)} | {
            **counted,
            "memory": [asdict(one) for one in self.memory],
        }

    @classmethod
    def of_json(cls, data: dict[str, Any]) -> Self:
        """Read what `to_json` gave."""
        counted = {name: Counter(data[name]) for name in _COUNTED}
        return cls(**{**data, **counted, "memory": [Memory(**one) for one in data["memory"]]})


_COUNTED = ("ran", "denied", "bodies")
_LONGEST = ("begin_s", "wall_s", "slowest_s")


def together(reports: Sequence[Report]) -> Report:
    """Add up what processes counted that went on side by side."""
    whole = Report(processes=0)
    for report in reports:
        for one in fields(Report):
            mine, theirs = getattr(whole, one.name), getattr(report, one.name)
            setattr(whole, one.name, max(mine, theirs) if one.name in _LONGEST else mine + theirs)
    whole.told = whole.told[:SHOWN]
    return whole
