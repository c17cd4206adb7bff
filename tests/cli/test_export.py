"""The log as JSON Lines: every event once, in the log's order, checked by hand without anything of ours."""

import asyncio
import json
import sqlite3
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import rfc8785

from ringfence.__main__ import main
from ringfence.cli import exporting
from ringfence.cli.exits import CommandError
from ringfence.cli.since import since_ns
from ringfence.engine.decision import events as e
from ringfence.engine.journal.schema import schema
from ringfence.engine.seams.hookspecs import Event
from ringfence.engine.seams.ports import Entry
from ringfence.plugins.sqlite import SqliteStore
from ringfence.plugins.sqlite.log import SqliteLog
from tests.cli.conftest import START_NS, entries, requested, started
from tests.schemas import faults


async def write(file: Path, *batches: Sequence[Entry]) -> None:
    store = SqliteStore(f"sqlite:///{file}")
    await store.open()
    assert store.events is not None
    for batch in batches:
        await store.events.append(batch)
    await store.close()


def change(file: Path, statement: str) -> None:
    with sqlite3.connect(file) as db:
        db.execute(statement)
    db.close()


@pytest.fixture
def whole(whole_run: list[e.RunEvent]) -> list[Entry]:
    return entries("R-WHOLE", whole_run)


@pytest.fixture
def going() -> list[Entry]:
    return entries(
        "R-GOING", [started(agent="helper"), *(requested(f"c{n}", "t", {"n": n}) for n in range(9))]
    )


@pytest.fixture
def written(whole: list[Entry], going: list[Entry]) -> list[Entry]:
    """The events of both runs as they were written: in turns."""
    return [*whole[:3], *going[:1], *whole[3:10], *going[1:5], *whole[10:], *going[5:]]


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: list[Entry]) -> Path:
    monkeypatch.chdir(tmp_path)
    asyncio.run(write(tmp_path / "ringfence.db", written[:12], written[12:]))
    return tmp_path / "ringfence.db"


def lines(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> list[dict[str, Any]]:
    assert main(["export", *words]) == code, capsys.readouterr().err
    out = capsys.readouterr().out
    assert out.isascii() and all(line.isprintable() for line in out.splitlines())
    return [json.loads(line) for line in out.splitlines()]


def ids(found: Sequence[dict[str, Any]]) -> list[str]:
    return [line["id"] for line in found]


@pytest.mark.parametrize("page", [1, 2, 7, 250])
def test_every_event_is_written_once_in_the_order_of_the_log(
    log: Path,
    written: list[Entry],
    page: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(exporting, "PAGE", page)
    assert ids(lines(capsys)) == [entry.id for entry in written]


def test_every_line_fits_the_schema(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found, wanted = lines(capsys), schema()
    assert [faults(line, wanted) for line in found] == [[]] * len(found)


def test_the_lines_can_be_verified_without_the_log(
    log: Path, written: list[Entry], capsys: pytest.CaptureFixture[str]
) -> None:
    """As decisions/0004 says it, with nothing but SHA-256 and RFC 8785; the last link is the log's head."""
    heads: dict[str, str] = {}
    link = bytes(32)
    for line in lines(capsys):
        digest = sha256(bytes.fromhex(line["salt"]) + rfc8785.dumps(line["body"])).digest()
        assert digest.hex() == line["digest"]
        assert line["prev"] == heads.get(line["run"], "0" * 64)
        header: dict[str, Any] = {name: line[name] for name in ("id", "run", "seq", "kind", "schema")}
        header |= {name: str(line[name]) for name in ("at_ns", "mono_ns")}
        hash = sha256(bytes.fromhex(line["prev"]) + rfc8785.dumps(header) + digest)
        assert hash.hexdigest() == line["hash"]
        heads[line["run"]] = line["hash"]
        link = sha256(link + hash.digest()).digest()
    assert main(["verify"]) == 0
    assert f"head {len(written)}:{link.hex()}" in capsys.readouterr().out


def test_a_log_that_has_grown_begins_with_the_same_lines(
    log: Path, going: list[Entry], capsys: pytest.CaptureFixture[str]
) -> None:
    before = lines(capsys)
    more = entries(
        "R-GOING", [started(agent="helper"), *(requested(f"c{n}", "t", {"n": n}) for n in range(12))]
    )
    assert more[: len(going)] == going
    asyncio.run(write(log, more[len(going) :]))
    after = lines(capsys)
    assert after[: len(before)] == before and len(after) == len(before) + 3


def test_an_agent_that_writes_meanwhile_does_not_keep_it_from_ending(
    log: Path, written: list[Entry], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    coming = [entries(f"R-NEW-{n}", [started()]) for n in range(50)]
    links = SqliteLog.links

    async def growing(self: SqliteLog, *, after: int = 0, limit: int = 10_000) -> Any:
        await self.append(coming.pop())
        return await links(self, after=after, limit=limit)

    monkeypatch.setattr(exporting, "PAGE", 4)
    monkeypatch.setattr(SqliteLog, "links", growing)
    assert ids(lines(capsys)) == [entry.id for entry in written]


def test_no_more_than_a_page_is_ever_read(
    log: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    read, sizes = SqliteLog.read, []

    async def watched(
        self: SqliteLog, run: str, *, after_seq: int = 0, limit: int | None = None
    ) -> list[Entry]:
        found = await read(self, run, after_seq=after_seq, limit=limit)
        sizes.append(len(found))
        return found

    monkeypatch.setattr(exporting, "PAGE", 5)
    monkeypatch.setattr(SqliteLog, "read", watched)
    assert len(lines(capsys)) == 28
    assert len(lines(capsys, "--run", "R-WHOLE")) == 18
    assert sizes and max(sizes) <= 5 and sum(sizes) == 28 + 18


@pytest.mark.parametrize("page", [1, 3, 250])
def test_one_run_is_written_in_its_order(
    log: Path,
    whole: list[Entry],
    going: list[Entry],
    page: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(exporting, "PAGE", page)
    assert ids(lines(capsys, "--run", "R-WH")) == [entry.id for entry in whole]
    assert ids(lines(capsys, "--run", "last")) == [entry.id for entry in going]


def test_filters_leave_out_and_change_nothing_else(
    log: Path, written: list[Entry], capsys: pytest.CaptureFixture[str]
) -> None:
    everything = lines(capsys)
    helper = [line for line in everything if line["run"] == "R-GOING"]
    assert lines(capsys, "--agent", "helper") == helper
    assert lines(capsys, "--agent", "helper", "--run", "R-GOING") == helper
    assert lines(capsys, "--agent", "nobody") == [] == lines(capsys, "--agent", "nobody", "--run", "R-GOING")
    moment = START_NS + 4_000_000
    said = f"2026-11-18T11:06:40.{(moment % 10**9) // 1000:06d}Z"
    assert since_ns(said, now_ns=0) == moment
    late = [line for line in everything if line["at_ns"] >= moment]
    assert 0 < len(late) < len(everything)
    assert lines(capsys, "--since", said) == late
    assert lines(capsys, "--since", said, "--run", "R-GOING") == [line for line in late if line in helper]
    assert lines(capsys, "--since", "2100-01-01") == []


def test_how_many_lines_there_are_is_said_to_people(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(log, "UPDATE event SET body = NULL, salt = x'' WHERE position IN (2, 4)")
    assert main(["export", "--json"]) == 0
    shown = capsys.readouterr()
    assert shown.err == "28 events\nof 2 of them the body was purged\n"
    found = [json.loads(line) for line in shown.out.splitlines()]
    assert [line["body"] is None for line in found] == [number in (1, 3) for number in range(28)]
    wanted = schema()
    assert all(faults(line, wanted) == [] for line in found)


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("DELETE FROM event WHERE position = 5", "link 5 of the log is missing or cannot be read"),
        ("DELETE FROM event WHERE position = 28", None),
        ("UPDATE event SET seq = 99 WHERE position = 5", None),
        ("UPDATE event SET body = 'no JSON' WHERE position = 5", "event R-WHOLE:4 cannot be read"),
        ("UPDATE event SET body = x'5b5d' WHERE position = 5", "event R-WHOLE:4 cannot be read"),
        ("UPDATE event SET body = '{\"call\":NaN}' WHERE position = 5", "event R-WHOLE:4 cannot be read"),
        ("UPDATE event SET hash = 'text' WHERE position = 5", "event R-WHOLE:4 cannot be read"),
        ("UPDATE event SET at_ns = 'noon' WHERE position = 5", "event R-WHOLE:4 cannot be read"),
        ("DELETE FROM run WHERE run = 'R-WHOLE'", "event (run 1):1 is missing"),
    ],
)
def test_a_log_that_was_changed_so_that_it_cannot_be_read_is_not_passed_over(
    log: Path, written: list[Entry], statement: str, why: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", "--json"]) == 0
    head = json.loads(capsys.readouterr().out)["head"]
    change(log, statement)
    code = main(["export"])
    shown = capsys.readouterr()
    found = ids([json.loads(line) for line in shown.out.splitlines()])
    if why is None:  # what only the chain can tell is told by `ringfence verify`
        assert main(["verify", "--head", head]) == 2
        return
    assert code == 1 and f"ringfence: {why}" in shown.err and "see `ringfence verify`" in shown.err
    assert found == [entry.id for entry in written[: len(found)]] and len(found) <= 4


def test_an_event_that_is_missing_from_one_run_ends_it(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(log, "DELETE FROM event WHERE position = 5")
    assert len(lines(capsys, "--run", "R-WHOLE", code=1)) == 3
    change(log, "DELETE FROM event WHERE position = 28")
    assert len(lines(capsys, "--run", "R-GOING", code=1)) == 9


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--run", "R-NONE"], "there is no run `R-NONE`"),
        (["--since", "yesterday"], "`yesterday` is no time"),
        (["--since", "7"], "`7` is no time"),
        (["--since", "-7d"], "expected one argument"),
        (["--store", "gone.db"], "there is no log at"),
        (["R-WHOLE"], "unrecognized arguments: R-WHOLE"),
    ],
)
def test_what_cannot_be_exported_is_refused_in_a_sentence(
    log: Path, words: list[str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", *words]) == 1
    shown = capsys.readouterr()
    assert why in shown.err and "help: " in shown.err and shown.out == ""


def test_an_empty_log_has_no_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    asyncio.run(write(tmp_path / "ringfence.db"))
    assert lines(capsys) == []


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("90s", START_NS - 90 * 10**9), ("15m", START_NS - 900 * 10**9), ("12h", START_NS - 43_200 * 10**9),
        ("7d", START_NS - 604_800 * 10**9), ("2w", START_NS - 1_209_600 * 10**9),
        ("1970-01-02", 864 * 10**11), ("1970-01-01T01:00+01:00", 0),
        ("1970-01-01T00:00:00.000001", 1_000), ("0s", START_NS),
    ],
)  # fmt: skip
def test_moments_are_read_as_people_say_them(text: str, moment: int) -> None:
    assert since_ns(text, now_ns=START_NS) == moment


@pytest.mark.parametrize(
    "text", ["", "d", "7 d", "7D", "1.5h", "٧d", "9999999999d", "2026-13-01", "noon", "1y"]
)
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(CommandError, match="is no time"):
        since_ns(text, now_ns=START_NS)


def test_the_schema_is_printed_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    printed = capsys.readouterr().out
    assert json.loads(printed) == schema()
    assert json.loads(printed)["$id"] == f"urn:ringfence:event:{e.SCHEMA}"


def test_a_line_never_holds_a_character_that_steers_a_terminal(whole: list[Entry]) -> None:
    evil = e.PromptGiven("user", "\x7f \x1b[2J \u202e \u2028")
    (entry,) = entries("R-\x7f", [evil])
    line = Event.of(entry._replace(run="R-\x7f")).line()
    assert line.isascii() and line.isprintable() and json.loads(line)["body"]["text"] == evil.text
