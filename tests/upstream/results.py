"""What came of a run of a suite, and what it says beside the unmodified run."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

Outcome = Literal["passed", "failed", "skipped"]

BOUNDS: Final = ("GraphRecursionError", "MemoryError", "Timeout (>", "crashed while running")
"""What a failure says that is a bound's: of steps, of memory, of time, and a process that did not survive."""


class ResultError(Exception):
    """A run that wrote no results: pytest itself failed."""


@dataclass(frozen=True, slots=True)
class Results:
    """The outcomes of the tests of one run, and what was seen while they ran."""

    outcomes: Mapping[str, Outcome]
    bodies: int
    """Executions of tool bodies."""
    why: Mapping[str, str] = field(default_factory=dict)
    """Of each failure, where it was."""
    beside: Counter[str] = field(default_factory=Counter)
    """Of those bodies the ones that ran without a guard's word for this call of the tool, by their test."""
    calls: int = 0
    """Calls that came to a guard."""
    last_steps: frozenset[str] = frozenset()
    """Tests in which an agent came to the last step that it may take: it ends there, without an error."""
    blind: tuple[str, ...] = ()
    """Tests in which bodies might have run unseen."""

    @classmethod
    def read(cls, folder: Path) -> "Results":
        """Read what the plugin wrote, in each of pytest's processes.

        Raises:
            ResultError: It wrote nothing, no test ran, or no process that ran tests looked for bodies.
        """
        try:
            tests = json.loads((folder / "outcomes.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ResultError("pytest wrote no results") from error
        if not tests:
            raise ResultError("no test ran")
        files = sorted(folder.glob("seen-gw*.jsonl"))
        if not files:
            raise ResultError("no process looked for bodies")
        seen = [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]
        bodies = [one for one in seen if one["seen"] == "body"]
        return cls(
            outcomes={test: about["outcome"] for test, about in tests.items()},
            bodies=len(bodies),
            why={test: about["why"] for test, about in tests.items() if about["outcome"] == "failed"},
            beside=Counter(one["test"] for one in bodies if not one["through"]),
            calls=sum(1 for one in seen if one["seen"] == "call"),
            last_steps=frozenset(one["test"] for one in seen if one["seen"] == "last step"),
            blind=tuple(sorted({one["test"] for one in seen if one["seen"] == "blindness"})),
        )

    @property
    def cut(self) -> tuple[str, ...]:
        """The failures that a bound brought about, and no assertion: of steps, memory or time."""
        return tuple(
            sorted(
                test
                for test, why in self.why.items()
                if test in self.last_steps or any(bound in why for bound in BOUNDS)
            )
        )

    def count(self, outcome: Outcome) -> int:
        """Return how many tests came out so."""
        return sum(1 for one in self.outcomes.values() if one == outcome)


@dataclass(frozen=True, slots=True)
class Compared:
    """A run with a policy beside the unmodified one."""

    new: tuple[str, ...]
    """Failures that the unmodified run does not have and no list names."""
    listed: tuple[str, ...]
    """Failures that the unmodified run does not have, and a list names."""
    passing: tuple[str, ...]
    """What a list names, and passes: the list can lose it."""
    missing: tuple[str, ...]
    """Tests that only the unmodified run had."""

    @property
    def holds(self) -> bool:
        """True if nothing came out otherwise than it should."""
        return not self.new and not self.missing


def compared(unmodified: Results, run: Results, listed: Iterable[str], *, cut: bool = False) -> Compared:
    """Compare a run with the unmodified one; what a list names may fail.

    Args:
        cut: Only what a bound ended counts as a failure.
    """
    names = frozenset(listed)
    more = [
        test
        for test in (run.cut if cut else run.outcomes)
        if run.outcomes[test] != unmodified.outcomes.get(test) and run.outcomes[test] != "passed"
    ]
    matched = {test: name for test in more if (name := _named(test, names)) is not None}
    return Compared(
        new=tuple(sorted(test for test in more if test not in matched)),
        listed=tuple(sorted(matched)),
        passing=tuple(sorted(names - set(matched.values()))),
        missing=tuple(sorted(unmodified.outcomes.keys() - run.outcomes.keys())),
    )


def _named(test: str, names: frozenset[str]) -> str | None:
    for name in (test, test.partition("[")[0]):
        if name in names:
            return name
    return None
