"""The demo's JavaScript: in node it does harm, and in an isolate the wall that is named stops it."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from examples.support_desk import acme_plugins, code_harm, code_held
from examples.support_desk.code_scenes import TOTAL, attempts, escape, total
from examples.support_desk.held import SETTINGS, Play
from examples.support_desk.models import ScriptedModel, model_for
from examples.support_desk.node import node
from examples.support_desk.stage import Stage
from examples.support_desk.tools import tools_of
from examples.support_desk.world import world
from rich.console import Console

from ringfence import Guard
from ringfence.engine.decision.events import IsolateEnded
from ringfence.plugin import IsolateJob, IsolateOutcome
from tests import walls
from tests.isolates import LAYERS, V8, Code, Executors, FakeExecutor, Tools


def quiet() -> Stage:
    return Stage(screen=Console(file=io.StringIO()))


@contextmanager
def playing(folder: Path, *plugins: object) -> Iterator[Play]:
    store = f"sqlite:///{folder / 'ringfence.db'}"  # its people answer from another process
    with world(folder) as there:
        guard = Guard.load(settings=SETTINGS, store=store, plugins=[acme_plugins, *plugins])
        try:
            yield Play(there, tools_of(there), quiet(), guard, store)
        finally:
            guard.close()


# ---- without a guard -----------------------------------------------------------------------------


def test_in_node_the_same_code_does_the_harm_or_the_demo_says_that_there_is_none(tmp_path: Path) -> None:
    stage = quiet()
    with world(tmp_path) as there:
        code_harm.play(there, tools_of(there), stage)
        said = "\n".join(stage.lines)
        if node() is None:
            assert "NOT SHOWN: node is not installed" in said and "✗" not in said
            return
        assert "the total of 100 orders is 5050" in said
        assert there.rows("SELECT count(*) FROM customers") == [(0,)]
        assert len(there.collected) == 1 and "c20@customers.example" in there.collected[0]
        assert (tmp_path / "taken.db").read_bytes().count(b"4000 0000 0000") == 200
        assert "an endless loop: it still runs after 2 s" in said
        assert "a 10 GB array is not tried here" in said


def test_without_node_the_demo_says_so_loudly_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(code_harm, "node", lambda: None)
    stage = quiet()
    with world(tmp_path) as there:
        code_harm.play(there, tools_of(there), stage)
    assert stage.broken == [] and "NOT SHOWN: node is not installed" in stage.lines[-1]


# ---- in isolates ---------------------------------------------------------------------------------


def test_each_wall_stops_what_it_is_said_to_stop(tmp_path: Path) -> None:
    walls.needed()
    with playing(tmp_path) as play:
        run = code_held.play(play)
        assert play.stage.broken == [] and run is not None
        said = "\n".join(play.stage.lines)
        for words in (
            "5 calls inside, each decided and recorded with its parent; 5 were charged",
            "the total is 5050; the database says 5050.0",
            "fetch: stopped by V8",
            "process: stopped by V8",
            "require: stopped by V8",
            "an endless loop: stopped by the deadline",
            "a 10 GB array: stopped by the memory limit",
            "an undeclared tool: stopped by the policy",
            "wipe_customers: unknown by unknown; not run",
            "the model was told, each time: the tool failed",
            "send_email: ask by no_exfiltration; not run",
            "0 mails with the subject 'Gold'",
            "the goods 24700 and the way 700 pence",
        ):
            assert words in said, f"{words!r} is missing in:\n{said}"
        escaping = play.guard.runs.latest(session="escape")
        ends = [one.event for one in escaping.events if isinstance(one.event, IsolateEnded)]
        assert [one.failure for one in ends] == [*["exception"] * 3, "cpu", "memory", "exception"]
        assert all("seccomp" in one.layers for one in ends)
        assert run.replay().identical and escaping.replay().identical


async def _sums(job: IsolateJob, tools: Tools) -> int:
    pages = await tools.all(
        *(
            ("query_database", {"table": "orders", "columns": ["total"], "limit": 20, "offset": offset})
            for offset in range(0, 100, 20)
        )
    )
    return sum(int(order["total"]) for page in pages for order in page)


async def _one(job: IsolateJob, tools: Tools) -> int:
    return 1


async def _got_through(job: IsolateJob, tools: Tools) -> int:
    return 0


async def _killed(job: IsolateJob, tools: Tools) -> IsolateOutcome:
    return IsolateOutcome(None, "killed", "the worker died", v8=V8, layers=LAYERS)


async def _unasked(job: IsolateJob, tools: Tools) -> IsolateOutcome:
    return IsolateOutcome(None, "exception", "Error: tool not found", v8=V8, layers=LAYERS)


@pytest.mark.parametrize("other", [_got_through, _killed, _unasked])
def test_code_that_gets_through_or_meets_another_wall_is_a_broken_promise(
    tmp_path: Path, other: Code
) -> None:
    executor = FakeExecutor({"return 1;": _one, TOTAL: _sums})
    with playing(tmp_path, Executors(executor)) as play:
        tried = attempts(play.world.web)
        executor.code |= {attempt.code: other for attempt in tried}
        code_held.play(play)
        broken = [line.split(":")[0] for line in play.stage.broken]
    assert [attempt.name for attempt in tried] == broken[:6]
    assert ("the model was told, each time" in broken) == (other is _got_through)


def test_a_wrong_total_or_a_missing_call_inside_is_a_broken_promise(tmp_path: Path) -> None:
    async def guesses(job: IsolateJob, tools: Tools) -> float:
        return 5000.0

    with playing(tmp_path, Executors(FakeExecutor({"return 1;": _one, TOTAL: guesses}))) as play:
        code_held.play(play)
    assert [line.split(" ")[0:2] for line in play.stage.broken[:2]] == [["log:", "0"], ["the", "total"]]


@pytest.mark.parametrize(
    ("executor", "why"),
    [
        (FakeExecutor(missing=("seccomp",)), "lacks what `lockdown full` needs: seccomp"),
        (FakeExecutor(problem="no V8 is installed"), "no V8 is installed"),
        (None, "`run_js`"),
    ],
)
def test_where_nothing_runs_isolates_the_demo_says_so_loudly_and_goes_on(
    tmp_path: Path, executor: FakeExecutor | None, why: str
) -> None:
    with playing(tmp_path, Executors(executor)) as play:
        assert code_held.play(play) is None
        loud = [line for line in play.stage.lines if line.startswith("  ! ")]
        assert "NOTHING OF THIS ACT IS SHOWN" in loud[0] and why in loud[1]
        assert play.stage.broken == [] and not any("✓" in line for line in play.stage.lines)
        assert executor is None or executor.jobs == []


def test_a_real_model_never_writes_the_code_that_runs_in_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "a key that nothing is sent with")
    for scene in (total(), escape(attempts("http://127.0.0.1"))):
        assert isinstance(model_for(scene), ScriptedModel)
