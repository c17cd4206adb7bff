"""The bench measures what it says; how fast that is, no test asks."""

import sys
from pathlib import Path

import pytest
from bench import isolated, large, reserved
from bench.__main__ import main as bench
from bench.commanded import Taken, taken
from bench.decisions import decider
from bench.harness import Row
from bench.isolated import Way, turns
from bench.policies import calls_for, plan_of, policy_text, text_of_lines
from bench.reserved import at_many_keys, spender
from bench.whole import whole_text

from ringfence.__main__ import main as ringfence
from ringfence.dsl.load import load_text
from ringfence.engine.decision.calls import Charge
from ringfence.engine.seams.ports import Reservation
from ringfence.plugins.isolate.executor import IsolatePool
from ringfence.plugins.isolate.settings import IsolateSettings
from ringfence.plugins.memory import MemoryStore


def test_most_calls_of_the_workload_are_allowed_and_the_rest_is_refused_in_every_way() -> None:
    decide = decider(plan_of(8))
    verdicts = [str(decide(call).verdict) for call in calls_for(8, count=400).all]
    assert 300 < verdicts.count("allow") < 340
    assert set(verdicts) == {"allow", "deny", "unknown"}


def test_the_calls_that_are_said_to_be_allowed_all_are() -> None:
    decide = decider(plan_of(8))
    assert all(decide(call).allowed for call in calls_for(8, count=100).allowed)


@pytest.mark.parametrize("lines", [100, 500])
def test_a_policy_of_the_whole_language_of_so_many_lines_loads(lines: int) -> None:
    text = whole_text(lines)
    assert lines * 0.8 < text.count("\n") < lines * 1.2
    assert load_text(text).plan is not None


@pytest.mark.parametrize("lines", [100, 500])
def test_a_policy_of_so_many_lines_has_about_so_many(lines: int) -> None:
    assert lines <= text_of_lines(lines).count("\n") < lines * 1.2


def test_a_policy_without_rates_charges_nothing() -> None:
    assert "rate" not in policy_text(3, rate=False)


async def test_a_reservation_of_the_workload_is_made_and_dispatched_in_the_next_users_window() -> None:
    ledger = MemoryStore().ledger
    assert ledger is not None
    spend = spender(ledger)
    for _ in range(250):
        await spend()
    full = Reservation("x/1", (Charge("mail", "user7", 2**40 - 2, 2**40, 3_600_000_000_000),))
    (refused,) = await ledger.reserve(full, now_ns=0)
    assert refused.free_ns is not None, "three calls of this user were dispatched, and will leave"


def test_a_store_that_is_not_installed_is_left_out_and_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(reserved, "missing", lambda name: f"{name}-server")
    found = dict(reserved._stores(tmp_path))
    assert found["redis"] == "redis-server is not installed"
    assert found["postgres"] == "postgres-server is not installed"
    assert [name for name, make in found.items() if not isinstance(make, str)] == ["memory", "sqlite"]


@pytest.mark.skipif(sys.platform != "linux", reason="whether a worker is at rest is seen on Linux alone")
async def test_every_way_of_running_javascript_gives_the_same() -> None:
    pytest.importorskip("py_mini_racer")
    pool = IsolatePool(IsolateSettings(workers=1, spare=0))

    async def pooled() -> object:
        return (await pool.run(isolated.job(), isolated.answered)).result

    async def asking() -> object:
        source = 'return (await tools.query({ table: "orders" })).length'
        return (await pool.run(isolated.job(source, None), isolated.answered)).result

    ways = [Way("warm", pooled, isolated.RESULT), Way("inner", asking, "2"), *isolated.others()]
    taken = await turns(ways, rounds=1)
    await pool.close()
    assert list(taken)[:2] == ["warm", "inner"]
    assert all(took > 0 for took in taken.values())


async def test_a_way_that_gives_something_else_is_no_figure() -> None:
    async def wrong() -> object:
        return "2"

    with pytest.raises(RuntimeError, match="fast gave '2'"):
        await turns([Way("fast", wrong, "1", warm=False)], rounds=1)


def test_what_is_not_installed_is_left_out_and_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setattr(isolated, "find_spec", lambda name: None)
    assert list(isolated.others()) == []
    assert list(isolated.rows()) == []
    said = capsys.readouterr().err.splitlines()
    assert said[:2] == [
        "node: left out: it is not installed",
        "QuickJS: left out: the package quickjs is not installed",
    ]
    assert said[2].startswith("isolates: left out: ")


def test_the_bytes_of_a_key_do_not_hang_on_how_many_there_are() -> None:
    (few,), (many,) = (list(at_many_keys(keys)) for keys in (2_000, 4_000))
    assert 100 < few.value < 2_000
    assert many.value < few.value * 1.5


@pytest.mark.parametrize(
    ("row", "met"),
    [
        (Row("a", 2.0, "us", 3.0), True),
        (Row("a", 4.0, "us", 3.0), False),
        (Row("a", 4.0, "1/s", 3.0, at_least=True), True),
        (Row("a", 4.0, "us"), None),
    ],
)
def test_a_row_says_whether_its_goal_is_met(row: Row, met: bool | None) -> None:
    assert row.met is met


def test_a_log_that_is_told_over_and_over_is_a_log() -> None:
    commands: list[tuple[str, ...]] = []

    def command(*words: str) -> Taken:
        commands.append(words)
        assert ringfence(words) == 0
        return Taken(0, 1.0, 2.0, 2**20)

    found = {row.name: row for row in large.rows(events=500, many_runs=3, replays=2, command=command)}
    assert [words[0] for words in commands] == [
        *("verify", "export", "stats", "backtest", "backtest"),
        *("replay", "verify"),
    ]
    assert found["both: read and replayed, p50"].goal == 2.0
    assert found["backtest of 3 runs, one process: runs per CPU-second"].value == 1.5
    assert found["verify's memory at its peak, 54 events"].value == 1.0


def test_what_a_command_takes_is_told_by_the_command_itself(tmp_path: Path) -> None:
    assert taken("schema").code == 0
    took = taken("verify", "--store", str(tmp_path / "none.db"))
    assert took.code != 0 and took.cpu_s > 0 and took.wall_s > 0
    assert took.peak_bytes is None or took.peak_bytes > 2**20


def test_a_part_that_there_is_not_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench(["lodged"]) == 2
    assert "`lodged`; there are decisions, " in capsys.readouterr().err
