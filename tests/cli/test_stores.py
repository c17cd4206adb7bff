"""Commands over stores that plugins bring: two of them, one away, or one that keeps too little."""

import asyncio
import json
import time
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import ringfence._builtins as own
from ringfence.__main__ import main
from ringfence.engine.seams.errors import StoreAwayError
from ringfence.plugin import Store, StoreNote, hookimpl
from ringfence.plugins.memory import MemoryStore
from tests.guards import ALICE, make_guard

CACHE = "cache://:hunter2@host"


class Cache(MemoryStore):
    """Budgets and orders alone, with something to say of its server."""

    durable = True
    away = False
    ahead_ns = 0

    def __init__(self) -> None:
        super().__init__()
        self.url = CACHE
        self.events = self.tickets = self.leases = None  # type: ignore[assignment]

    async def open(self) -> None:
        if self.away:
            raise StoreAwayError(f"{CACHE} does not answer", help="start it")

    async def now_ns(self) -> int | None:
        return time.time_ns() + self.ahead_ns if self.ahead_ns else None

    async def examined(self) -> Sequence[StoreNote]:
        return [StoreNote("cache 7"), StoreNote("it forgets what it holds", "make it keep it")]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cache:
    """A folder with a log in a file, and a ledger in a cache."""
    made = Cache()

    @hookimpl
    def ringfence_open_store(url: str) -> Store | None:
        return made if url.startswith("cache:") else None

    plugin = types.ModuleType("cache")
    plugin.ringfence_open_store = ringfence_open_store  # type: ignore[attr-defined]
    given = own.builtins()
    monkeypatch.setattr(own, "builtins", lambda: {**given, "cache": plugin})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RINGFENCE_LEDGER", CACHE)
    guard = make_guard(store="sqlite:///ringfence.db")
    with guard.run(principal=ALICE, agent="main"):
        pass
    guard.close()
    return made


def findings(capsys: pytest.CaptureFixture[str], what: str, *, code: int = 0) -> list[dict[str, Any]]:
    capsys.readouterr()
    assert main(["--json", "doctor"]) == code
    out = capsys.readouterr().out
    assert "hunter2" not in out
    return [one for one in json.loads(out)["findings"] if one["what"] == what]


def test_doctor_examines_both_and_says_what_is_risky(
    cache: Cache, capsys: pytest.CaptureFixture[str]
) -> None:
    assert any("2 events" in one["found"] for one in findings(capsys, "store"))
    opens, version, risk = findings(capsys, "ledger")
    assert opens["found"] == "cache://:***@host opens"
    assert (version["state"], version["found"]) == ("ok", "cache 7")
    assert (risk["state"], risk["help"]) == ("note", "make it keep it")


def test_doctor_says_that_the_ledger_is_away(cache: Cache, capsys: pytest.CaptureFixture[str]) -> None:
    cache.away = True
    (away,) = findings(capsys, "ledger", code=1)
    assert away["state"] == "broken" and "does not answer" in away["found"] and away["help"] == "start it"


@pytest.mark.parametrize(("ahead_s", "says"), [(3600, "ahead of"), (-3600, "behind")])
def test_doctor_says_that_a_clock_is_wrong(
    cache: Cache, capsys: pytest.CaptureFixture[str], ahead_s: int, says: str
) -> None:
    cache.ahead_ns = ahead_s * 1_000_000_000
    assert any(f"s {says} this host's" in one["found"] for one in findings(capsys, "ledger"))


def test_doctor_says_where_a_store_of_budgets_belongs(
    cache: Cache, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RINGFENCE_LEDGER")
    monkeypatch.setenv("RINGFENCE_STORE", CACHE)
    (broken,) = findings(capsys, "store", code=1)
    assert broken["state"] == "broken" and "under `ledger`" in broken["help"]


def test_what_only_reads_the_log_works_while_the_ledger_is_away(
    cache: Cache, capsys: pytest.CaptureFixture[str]
) -> None:
    cache.away = True
    for command in ("runs", "approvals", "verify"):
        assert main([command]) == 0
    assert main(["kill", "--all"]) == 1
    said = capsys.readouterr().err
    assert "the store cannot be opened: cache:" in said and "does not answer" in said and "start it" in said


def test_an_order_to_stop_is_given_where_the_guards_look_for_it(
    cache: Cache, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["kill", "--all", "--by", "dana"]) == 0
    assert [(order.id, order.by) for order in asyncio.run(cache.kill_switch.orders())] == [(1, "dana")]


def test_no_order_is_given_to_a_memory_of_ones_own(
    cache: Cache, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RINGFENCE_LEDGER", "memory:")
    assert main(["kill", "--all"]) == 1
    assert "lives inside one process" in capsys.readouterr().err


def test_reading_a_store_of_budgets_says_where_it_belongs(
    cache: Cache, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["runs", "--store", CACHE]) == 1
    said = capsys.readouterr().err
    assert "keeps no audit log" in said and "under `ledger`" in said and "hunter2" not in said
