"""What came of a run of a suite, and what it says beside the unmodified run."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Outcome = Literal["passed", "failed", "skipped"]


class ResultError(Exception):
    """A run that wrote no results: pytest itself failed."""


@dataclass(frozen=True, slots=True)
class Results:
    """The outcomes of the tests of one run, and the bodies of tools that it ran."""

    outcomes: Mapping[str, Outcome]
    bodies: int
    why: Mapping[str, str] = field(default_factory=dict)
    """Of each failure, where it was."""

    @classmethod
    def read(cls, folder: Path) -> "Results":
        """Read what the plugin wrote, in each of pytest's processes.

        Raises:
            ResultError: It wrote nothing, or no test ran.
        """
        try:
            tests = json.loads((folder / "outcomes.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ResultError("pytest wrote no results") from error
        if not tests:
            raise ResultError("no test ran")
        counts = [json.loads(file.read_text(encoding="utf-8")) for file in folder.glob("bodies-*.json")]
        return cls(
            outcomes={test: about["outcome"] for test, about in tests.items()},
            bodies=sum(sum(count.values()) for count in counts),
            why={test: about["why"] for test, about in tests.items() if about["outcome"] == "failed"},
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


def compared(unmodified: Results, run: Results, listed: Iterable[str]) -> Compared:
    """Compare a run with the unmodified one; what a list names may fail."""
    names = frozenset(listed)
    more = [
        test
        for test, outcome in run.outcomes.items()
        if outcome != unmodified.outcomes.get(test) and outcome in ("failed", "skipped")
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
