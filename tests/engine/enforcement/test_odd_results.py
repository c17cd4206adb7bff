"""Results that are not JSON, binary or huge: the model gets its own, the log a bounded account."""

import asyncio
import json
import tracemalloc
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from ringfence.__main__ import main
from ringfence.dsl.canonical import canonical
from ringfence.engine.decision.events import CallFinished
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.enforcement.runs import Run
from tests.guards import ALICE, call, make_guard

MB = 1024 * 1024
FIFTY_MB = 50 * MB
LARGEST_GROWTH = 256 * 1024
"""Of the log, for one call whatever its result."""


class Account:
    """Not JSON, and with a repr of its own."""

    def __repr__(self) -> str:
        return "Account(" + "9" * 100_000 + ")"


class Silent:
    """Without a repr."""


RESULTS: dict[str, tuple[Callable[[], Any], dict[str, Any]]] = {
    "bytes": (
        lambda: b"\x89PNG\r\n\x1a\n" + bytes(1000),
        {"$type": "bytes", "$size": 1008, "$digest": b"\x89PNG\r\n\x1a\n" + bytes(1000)},
    ),
    "a bytearray": (
        lambda: bytearray(b"\xff" * 9),
        {"$type": "bytearray", "$size": 9, "$digest": b"\xff" * 9},
    ),
    "a memoryview": (lambda: memoryview(b"ab"), {"$type": "memoryview", "$size": 2, "$digest": b"ab"}),
    "an object": (
        Account,
        {"$type": f"{__name__}.Account", "$size": 100_009, "$digest": repr(Account()).encode()},
    ),
    "an object without a repr": (Silent, {"$type": f"{__name__}.Silent"}),
    "a number that JSON has not": (lambda: float("nan"), {"$type": "float", "$repr": "nan"}),
    "a text that is no UTF-8": (lambda: "\ud800", {"$type": "str"}),
    "50 MB of text": (
        lambda: "x" * FIFTY_MB,
        {"$type": "str", "$size": FIFTY_MB, "$digest": b"x" * FIFTY_MB},
    ),
    "50 MB of bytes": (
        lambda: bytes(FIFTY_MB),
        {"$type": "bytes", "$size": FIFTY_MB, "$digest": bytes(FIFTY_MB)},
    ),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ringfence.db"


@pytest.fixture
def guard(path: Path) -> Iterator[Guard]:
    made = make_guard(store=f"sqlite:///{path}")
    yield made
    made.close()


def size_of_log(guard: Guard, path: Path) -> int:
    guard.opening.ready.journal.flush().result(60)
    return sum(part.stat().st_size for part in path.parent.glob("ringfence.db*") if part.is_file())


def finished(guard: Guard, run: Run) -> Any:
    (event,) = [one.event for one in guard.runs.get(run.id).events if isinstance(one.event, CallFinished)]
    return event.result


def is_described(said: Any, expected: dict[str, Any]) -> None:
    """Refuse a description of another type, size or digest, or one that is not bounded."""
    assert set(said) >= set(expected)
    for name, value in expected.items():
        wanted = "sha256:" + sha256(value).hexdigest() if name == "$digest" else value
        assert said[name] == wanted, name
    assert len(canonical(said)) < 8_000
    assert len(said.get("$repr", "")) <= 2_000


@pytest.mark.parametrize("awaited", [False, True], ids=["plainly", "awaited"])
@pytest.mark.parametrize("name", RESULTS)
def test_the_model_gets_its_own_result_and_the_log_what_it_was(
    guard: Guard, path: Path, name: str, awaited: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    make, expected = RESULTS[name]
    result = make()
    run = guard.begin_run(principal=ALICE, agent="main")
    before = size_of_log(guard, path)
    if awaited:

        async def body(_: Any) -> Any:
            return result

        given = asyncio.run(guard.aexecute(run, call("free"), body))
    else:
        given = guard.execute(run, call("free"), lambda _: result)
    assert given is result, "what the model gets is untouched"
    is_described(finished(guard, run), expected)
    assert size_of_log(guard, path) - before < LARGEST_GROWTH
    guard.end_run(run)
    for words in (["show", run.id], ["why", run.id, "1"]):
        assert main([*words, "--store", str(path)]) == 0
        text = capsys.readouterr().out
        assert len(text) < 20_000 and text.isprintable() is False  # lines, and nothing else
        assert all(line.isprintable() for line in text.splitlines())
    assert main(["show", run.id, "--json", "--store", str(path)]) == 0
    (step,) = [one for one in json.loads(capsys.readouterr().out)["steps"] if one["step"] == "call"]
    is_described(step["result"], expected)
    assert main(["verify", "--store", str(path)]) == 0
    assert "intact" in capsys.readouterr().out


def mixed() -> Any:
    return {"rows": [{"id": 1, "photo": b"\xff\xd8" * 10}, {"id": 2, "photo": None}], "whose": Silent()}


def test_what_is_json_in_a_result_that_is_not_stays_as_it_is(guard: Guard) -> None:
    run = guard.begin_run(principal=ALICE, agent="main")
    guard.execute(run, call("free"), lambda _: mixed())
    said = finished(guard, run)
    assert said["rows"][1] == {"id": 2, "photo": None} and said["rows"][0]["id"] == 1
    assert said["rows"][0]["photo"]["$size"] == 20
    assert said["whose"]["$type"].endswith("Silent")


def test_a_huge_structure_is_kept_by_size_and_digest_of_its_canonical_form(guard: Guard, path: Path) -> None:
    rows = [{"id": number, "text": "y" * 1000} for number in range(50_000)]
    run = guard.begin_run(principal=ALICE, agent="main")
    before = size_of_log(guard, path)
    assert guard.execute(run, call("free"), lambda _: rows) is rows
    said = finished(guard, run)
    assert said["$type"] == "list" and said["$size"] > 48 * MB
    assert said["$digest"] == "sha256:" + sha256(canonical(rows)).hexdigest()
    assert size_of_log(guard, path) - before < LARGEST_GROWTH


@pytest.mark.parametrize("make", [lambda: "x" * FIFTY_MB, lambda: bytes(FIFTY_MB)], ids=["text", "bytes"])
def test_ten_huge_results_hold_no_more_memory_than_one(guard: Guard, make: Callable[[], Any]) -> None:
    result = make()
    run = guard.begin_run(principal=ALICE, agent="main")
    tracemalloc.start()
    try:
        for number in range(10):
            assert guard.execute(run, call("free", f"c{number}"), lambda _: result) is result
        guard.opening.ready.journal.flush().result(60)
        left, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert left < 4 * MB, "nothing of them is kept"
    assert peak < 3 * FIFTY_MB, "a copy or two at a time, not ten"


def test_a_run_with_results_that_the_log_does_not_hold_replays_its_decisions(guard: Guard) -> None:
    run = guard.begin_run(principal=ALICE, agent="main")
    for number, (make, _) in enumerate(RESULTS.values()):
        guard.execute(run, call("free", f"c{number}"), lambda _, make=make: make())  # type: ignore[misc]
    guard.end_run(run)
    assert guard.runs.get(run.id).replay().divergence is None
