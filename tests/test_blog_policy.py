"""The article's policy, `examples/blog.fence`, enforced: every sentence of it, across a restart."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from ringfence.engine.decision.events import CallDecided, CallFinished
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.seams.errors import DeniedError, PendingError, RunHaltedError
from ringfence.testing import FakeClock
from tests.guards import ALICE, BLOG, call, events_of, kinds_of, make_guard

MAIL = {"to": ["ann@acme.example"], "subject": "hi", "body": "x", "workspace": "w1"}
ROOT = Path(__file__).parent.parent


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def guard(clock: FakeClock) -> Iterator[Guard]:
    made = make_guard(BLOG, clock=clock)
    yield made
    made.close()


@pytest.fixture
def run(guard: Guard) -> Run:
    return guard.begin_run(principal=ALICE)


def never(_: Mapping[str, Any]) -> Any:
    raise AssertionError("the body ran")


def rules(guard: Guard, run: Run) -> list[str]:
    """Return the names of the reasons of the last decision."""
    decided = [event for event in events_of(guard, run) if isinstance(event, CallDecided)][-1]
    return [reason["name"] for reason in decided.reasons]


def test_ten_mails_pass_and_the_eleventh_halts_the_run(guard: Guard, run: Run, clock: FakeClock) -> None:
    sent: list[Any] = []
    for number in range(10):
        guard.execute(run, call("send_email", f"c{number}", **MAIL), sent.append)
        clock.advance(1)
    with pytest.raises(RunHaltedError) as caught:
        guard.execute(run, call("send_email", "c10", **MAIL), never)
    assert caught.value.rule == "send_email.rate"
    assert len(sent) == 10 and "send_email.rate" in rules(guard, run)
    assert kinds_of(guard, run)[-1] == "RunHalted"
    with pytest.raises(RunHaltedError):
        guard.execute(run, call("query_database", table="users", limit=1), never)
    assert guard.runs.get(run.id).replay().divergence is None


def test_an_hour_later_there_is_room_again(guard: Guard, run: Run, clock: FakeClock) -> None:
    for number in range(10):
        guard.execute(run, call("send_email", f"c{number}", **MAIL), dict)
    clock.advance(3600)
    later = guard.begin_run(principal=ALICE)
    assert guard.execute(later, call("send_email", **MAIL), lambda _: "sent") == "sent"


def test_a_fourth_table_is_denied(guard: Guard, run: Run) -> None:
    for table in ("users", "orders", "products"):
        assert guard.execute(run, call("query_database", table=table, limit=1), lambda _: [1]) == [1]
    with pytest.raises(DeniedError) as caught:
        guard.execute(run, call("query_database", table="payments", limit=1), never)
    assert caught.value.model_text == "not authorized"
    assert rules(guard, run) == ["query_database.allow"]


def test_a_thousand_and_one_rows_are_neither_asked_for_nor_returned(guard: Guard, run: Run) -> None:
    with pytest.raises(DeniedError):
        guard.execute(run, call("query_database", table="users", limit=1001), never)
    assert "query_database.row_cap" in rules(guard, run)
    rows = guard.execute(run, call("query_database", table="users", limit=1000), lambda _: [0] * 1001)
    assert len(rows) == 1000
    finished = events_of(guard, run)[-1]
    assert isinstance(finished, CallFinished)
    assert finished.truncated == {"rows_before": 1001, "rows": 1000}


def test_another_workspace_is_denied(guard: Guard, run: Run) -> None:
    with pytest.raises(DeniedError):
        guard.execute(run, call("send_email", **{**MAIL, "workspace": "w2"}), never)
    nobody = guard.begin_run()
    with pytest.raises(DeniedError) as caught:
        guard.execute(nobody, call("send_email", **MAIL), never)
    assert caught.value.rule == "send_email.allow!key"


def test_a_write_to_the_crm_waits_for_a_person(guard: Guard, run: Run) -> None:
    write = call("write_to_crm", "c1", account="a1", field="status")
    with pytest.raises(PendingError) as caught:
        guard.execute(run, write, never, wait=False)
    with pytest.raises(DeniedError):
        guard.approve(caught.value.tickets[0], by="alice")
    guard.approve(caught.value.tickets[0], by="dana")
    assert guard.execute(run, write, lambda _: "written", wait=False) == "written"
    assert "write_to_crm.ask" in rules(guard, run)


def test_an_undeclared_tool_is_not_found(guard: Guard, run: Run) -> None:
    with pytest.raises(DeniedError) as caught:
        guard.execute(run, call("delete_everything"), never)
    assert caught.value.model_text == "tool not found"
    assert rules(guard, run) == ["unknown"]


# ---- in processes of their own -------------------------------------------------------------------


@pytest.fixture
def process(tmp_path: Path) -> Callable[..., "subprocess.Popen[str]"]:
    def start(command: str, count: int) -> "subprocess.Popen[str]":
        program = [sys.executable, "-m", "tests.engine.enforcement.blog_process"]
        return subprocess.Popen(
            [*program, f"sqlite:///{tmp_path}/ringfence.db", command, str(count)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


def output(process: "subprocess.Popen[str]", said: str = "") -> list[str]:
    out, err = process.communicate(said, timeout=120)
    assert process.returncode == 0, err
    return out.split("\n")[:-1]


def test_the_eleventh_mail_is_stopped_after_a_restart_too(
    process: Callable[..., "subprocess.Popen[str]"],
) -> None:
    assert output(process("mails", 7)) == ["sent"] * 7
    assert output(process("mails", 5)) == ["sent"] * 3 + ["halted send_email.rate"] * 2


def test_two_processes_on_one_file_run_exactly_ten_of_fifty(
    process: Callable[..., "subprocess.Popen[str]"],
) -> None:
    both = [process("race", 25), process("race", 25)]
    for one in both:
        assert one.stdout is not None
        assert one.stdout.readline() == "ready\n"
    for one in both:
        assert one.stdin is not None
        one.stdin.write("go\n")
        one.stdin.flush()
    assert sum(int(output(one)[-1]) for one in both) == 10
