"""What all tests share: one server of each kind for every process that runs tests, and which skips fail."""

import os
from collections.abc import Generator, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import settings
from pluggy import Result

from ringfence.engine.enforcement import catalogue
from tests import replays
from tests.services import Postgres, Redis, needed, server

_SERVERS = {"redis_server", "postgres_server"}
settings.register_profile("untimed", deadline=None)  # a slow machine is no fault
settings.load_profile("untimed")

_NONE_SKIPPED = os.environ.get("TEST_ISOLATES") == "required"


_TALLY = replays.Tally()


def pytest_configure(config: pytest.Config) -> None:
    """Keep what every guard records, and replay it when the test is over."""
    config.addinivalue_line("markers", replays.MARKER)
    replays.keep()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    """Replay once the fixtures have closed their guards."""
    yield
    replays.after(item, _TALLY)


@pytest.fixture(autouse=True)
def _nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every test be the first of the process to bind its tools."""
    monkeypatch.setattr(catalogue, "_said", set())


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand on what was counted here, in a worker of pytest-xdist."""
    output: dict[str, object] | None = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["replayed"] = _TALLY.told()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take what a worker has counted; one that crashed has said nothing."""
    told = getattr(node, "workeroutput", {}).get("replayed")
    if told is not None:
        _TALLY.add(told)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many runs were replayed, and how many were not."""
    terminalreporter.section("replayed")
    for line in _TALLY.lines():
        terminalreporter.line(line)


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Mark what needs a server: tests with one of the fixtures, and those of files that start their own."""
    for item in items:
        has = vars(item.module) if isinstance(item, pytest.Function) else {}
        starts_its_own = has.get("server") is server or has.get("needed") is needed
        if starts_its_own or not _SERVERS.isdisjoint(getattr(item, "fixturenames", ())):
            item.add_marker("services")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Fail what is skipped for want of V8, of a wall or of an account, wherever the test stands."""
    made: Result[pytest.TestReport] = yield  # type: ignore[assignment]  # pluggy sends it in
    if item.get_closest_marker("services") is None:  # `TEST_SERVICES=required` is for those
        _fail_if_skipped(made.get_result())


@pytest.hookimpl(hookwrapper=True)
def pytest_make_collect_report() -> Iterator[None]:
    """The same for a whole file."""
    made: Result[pytest.CollectReport] = yield  # type: ignore[assignment]
    _fail_if_skipped(made.get_result())


def _fail_if_skipped(report: pytest.TestReport | pytest.CollectReport) -> None:
    if _NONE_SKIPPED and report.outcome == "skipped":
        why = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"TEST_ISOLATES=required, and this machine cannot show it: {why}"


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Redis]:
    """A Redis that runs; a test that stops it starts it again."""
    with server("redis") as made:
        assert isinstance(made, Redis)
        yield made


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """A PostgreSQL that runs; a test that stops it starts it again."""
    with server("postgres") as made:
        assert isinstance(made, Postgres)
        yield made
