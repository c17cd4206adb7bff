"""The hooks: insert what the environment asks for, and write down what is seen and what came of each test."""

import json
import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from inserted.bodies import Bodies
from inserted.calls import at_the_guard
from inserted.doors import at_birth, into_agents, into_bare_calls, into_nodes
from inserted.policies import Guards
from inserted.steps import at_the_last_step
from inserted.tally import Tally

VERDICT: Final = os.environ["RINGFENCE_INSERTED"]
"""`nothing`, `allow` or `deny`."""
WHERE: Final = os.environ["RINGFENCE_INSERTED_INTO"].split(",")
"""Of `agents`, `nodes`, `tool_node`, `calls`, `births`."""
RESULTS: Final = Path(os.environ["RINGFENCE_RESULTS"])
"""The folder that results are written to."""

MEMORY_BYTES: Final = 4 * 1024**3
"""What each of pytest's processes may address."""
MAY_BLOCK: Final = (
    ("engine/seams/loop.py", "run"),  # the engine's own event loop, on a thread of its own
    ("inserted/policies.py", "over"),  # made by this plugin, not by a user's agent
    ("inserted/doors.py", ("invoke", "run", "invoke_in_run")),  # synchronous calls wait, in a loop as well
    ("langgraph/pregel/main.py", ("invoke", "stream")),  # the same
    # Known, and told in docs/langchain.md: a graph that fails in a loop ends its run there.
    ("adapters/langchain/runs.py", "_invocation_ended"),
)
"""What blockbuster, with which the suites look for calls that hold up an event loop, need not see."""

_guards = Guards("deny" if VERDICT == "deny" else "allow") if VERDICT != "nothing" else None
_outcomes: dict[str, dict[str, str]] = {}
_is_main = True
"""False in the worker processes of pytest-xdist."""
_tally: Tally
_bodies: Bodies


def pytest_configure(config: pytest.Config) -> None:
    """Insert, before any of the suite's modules is imported."""
    global _is_main, _tally, _bodies
    # A test that a refusal sends round in circles must not take the machine's memory.
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    bound = MEMORY_BYTES if most == resource.RLIM_INFINITY else min(MEMORY_BYTES, most)
    resource.setrlimit(resource.RLIMIT_AS, (bound, most))
    _is_main = not hasattr(config, "workerinput")
    worker = "main" if _is_main else config.workerinput["workerid"]  # type: ignore[attr-defined]
    # One that takes the place of a worker that died has a name of its own.
    _tally = Tally(RESULTS / f"seen-{worker}.jsonl")
    _bodies = Bodies(_tally)
    at_the_last_step(_tally)
    at_birth(_bodies.learn, _guards, everywhere="births" in WHERE)
    if _guards is not None:
        at_the_guard(_tally)
        if "agents" in WHERE:
            into_agents(_guards)
        if "nodes" in WHERE or "tool_node" in WHERE:
            into_nodes(_guards, as_node="tool_node" in WHERE)
        if "calls" in WHERE:
            into_bare_calls(_guards)
    _bodies.watch()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[Any]:
    """See the bodies of each test for itself; close its guards."""
    _tally.test = item.nodeid
    if _guards is not None:
        _guards.module = item.module.__name__ if isinstance(item, pytest.Function) else None
    try:
        return (yield)
    finally:
        _bodies.check()
        if _guards is not None:
            _guards.module = None
            _guards.close()


@pytest.fixture(autouse=True)
def engine_may_block(request: pytest.FixtureRequest) -> None:
    """Have blocking calls be seen in asynchronous paths alone, as in the product's own claims."""
    if _guards is not None and "blockbuster" in request.fixturenames:
        for watched in request.getfixturevalue("blockbuster").functions.values():
            for file, functions in MAY_BLOCK:
                watched.can_block_in(file, functions)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Take in what came of a test; of its phases a failure counts most."""
    if _is_main and report.when == "teardown":
        with (RESULTS / "progress").open("ab") as progress:
            progress.write(b".")
    known = _outcomes.get(report.nodeid)
    if known is None or report.failed or (report.skipped and known["outcome"] == "passed"):
        _outcomes[report.nodeid] = {"outcome": report.outcome, "why": _why(report) if report.failed else ""}


def _why(report: pytest.TestReport) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    said = report.longreprtext if crash is None else crash.message
    return next(iter(said.strip().splitlines()), "")[:200]


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """A module that cannot be collected is a failure."""
    if report.failed:
        _outcomes[report.nodeid] = {"outcome": "failed", "why": str(report.longrepr)[-300:]}


def pytest_sessionfinish() -> None:
    """Write down all outcomes."""
    if _is_main:
        (RESULTS / "outcomes.json").write_text(json.dumps(_outcomes), encoding="utf-8")
