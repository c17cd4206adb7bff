"""What is skipped here for want of a wall, of V8 or of an account fails where `TEST_ISOLATES=required`."""

import os
from collections.abc import Iterator

import pytest
from pluggy import Result

REQUIRED = os.environ.get("TEST_ISOLATES") == "required"


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport() -> Iterator[None]:
    made: Result[pytest.TestReport] = yield  # type: ignore[assignment]  # pluggy sends it in
    _fail_if_skipped(made.get_result())


@pytest.hookimpl(hookwrapper=True)
def pytest_make_collect_report() -> Iterator[None]:
    made: Result[pytest.CollectReport] = yield  # type: ignore[assignment]
    _fail_if_skipped(made.get_result())


def _fail_if_skipped(report: pytest.TestReport | pytest.CollectReport) -> None:
    if REQUIRED and report.outcome == "skipped":
        why = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"TEST_ISOLATES=required, and this machine cannot show it: {why}"
