"""`*_test.fence` files as pytest meets them: each test block is an item, its failure drawn."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ringfence.dsl.diagnostic import draw
from ringfence.dsl.load import Loaded, load
from ringfence.dsl.plan import Plan
from ringfence.dsl.syntax import PolicyTest
from ringfence.engine.retrospect.failures import drawn
from ringfence.engine.retrospect.rehearsal import rehearse

CEILINGS = "ringfence_ceilings"
"""The name of the setting in pytest's own configuration: ceilings that are pinned over every policy."""


class FenceFile(pytest.File):
    """One file with test blocks."""

    def collect(self) -> Iterator["FenceTest"]:
        """Yield an item for each test block; a policy that does not load is a collection error."""
        try:
            loaded = load(self.path, ceilings=_ceilings(self.config))
        except OSError as error:  # fails closed: tests that cannot be read have not passed
            raise self.CollectError(f"{error.filename} cannot be read: {error.strerror}") from error
        if loaded.plan is None:
            raise self.CollectError(draw(loaded.diagnostics))
        for test in loaded.tests:
            yield FenceTest.from_parent(
                self, name=test.name.value, loaded=loaded, plan=loaded.plan, test=test
            )


class FenceTest(pytest.Item):
    """One test block."""

    def __init__(self, *, loaded: Loaded, plan: Plan, test: PolicyTest, **known: Any) -> None:
        super().__init__(**known)
        self._loaded = loaded
        self._plan = plan
        self._test = test

    def runtest(self) -> None:
        """Rehearse the block; fail with the step drawn."""
        rehearsed = rehearse(self._plan, self._test)
        if not rehearsed.passed:
            raise StepFailedError(drawn(rehearsed, self._loaded.source))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> "str | Any":
        """Return the drawing alone: where in Ringfence the test was run helps nobody."""
        if isinstance(excinfo.value, StepFailedError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Return where the block stands; pytest counts lines from 0."""
        place = self._loaded.source.place(self._test.span)
        return self.path, place.line - 1, f"test {self.name!r}"


class StepFailedError(Exception):
    """A step of a policy test did not come out as the test says; the message is the drawing."""


def _ceilings(config: pytest.Config) -> list[Path]:
    return [config.rootpath / name for name in config.getini(CEILINGS)]
