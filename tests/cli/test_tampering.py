"""Somebody has the file open in SQLite: `verify` names what they change, and never raises or says intact."""

import ast
import io
import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringfence.cli.desk import Desk
from ringfence.cli.say import Say
from ringfence.cli.verifying import Checked, head_of_log, head_of_run, verify_one, verify_whole
from ringfence.engine.decision import events as e
from ringfence.engine.journal.purging import purge_after
from ringfence.engine.seams.loop import EngineLoop
from ringfence.engine.seams.ports import Entry, EventLog, Link, RunRow, Store
from ringfence.engine.seams.settings import Settings
from ringfence.plugins.memory import MemoryStore
from ringfence.plugins.memory.log import MemoryLog
from ringfence.plugins.sqlite import SqliteStore
from tests.cli.conftest import START_NS, decided, entries, reason, requested, started
from tests.docs.pages import ROOT

EVENT = (
    *("position", "run_id", "seq", "kind", "schema", "at_ns", "mono_ns"),
    *("salt", "body", "digest", "prev", "hash", "link"),
)
RUN = (
    *("run", "session", "agent", "user", "workspace", "policy", "status"),
    *("started_ns", "last_ns", "events", "head", "parent"),
)
OTHERS = "session, agent, user, workspace, policy, status, started_ns, last_ns"
HASHES = "kind, schema, at_ns, mono_ns, salt, body, digest, prev, hash, link"
SWAPPED = (
    "UPDATE event SET (body, salt) = (SELECT body, salt FROM kept WHERE position = {1}) WHERE position = {0}"
)
TAKEN = "UPDATE event SET body = NULL, salt = x'' WHERE position = {0}"
KINDS: list[e.RunEvent] = [
    started(),
    e.PromptGiven("user", "hello"),
    e.ModelAsked("m", "model", [], [], {}, None),
    e.ModelAnswered("m", [{"content": "x"}], None, 5, None),
    requested("aa.0", "send_email", {"to": "bob@acme.example"}, "m1"),
    decided("aa.0", "allow", reason("send_email.allow", "allow")),
    e.BudgetRefunded("aa.0", "denied"),
    e.ApprovalAsked("aa.0", "T-AAAAAAAA", "lead", None),
    e.ApprovalAnswered("aa.0", "T-AAAAAAAA", "approve", "dana", None, None),
    e.CallStarted("aa.0"),
    e.IsolateStarted("aa.0", "calculator", "body", "quote.js", "0" * 64, 5, None, "0" * 32, {}),
    e.IsolateEnded("aa.0", "14.4", ("process",), None, None, None, None),
    e.CallFinished("aa.0", "sent", None, 5),
    e.CallFailed("aa.0", "raised", "boom", 5),
    e.SubrunStarted("r2", "aa.0"),
    e.SubrunCounted("r2", "bb.0", "send_email", "decided", "deny", (), []),
    e.SubrunJoined("r2", "aa.0", 5),
    e.RunSuspended(("T-AAAAAAAA",)),
    e.RunResumed("p"),
    e.RunHalted("main.stop", None, None),
    e.RunEnded("halted", None),
]
"""One event of every kind but the purge, in an order that nobody decided."""
PURGED = [KINDS[0], *KINDS[4:6], e.RunEnded("done", None)]
"""What the purged run was."""
EVENTS = 34


def _alone() -> Callable[..., tuple[str, str | None]]:
    code = (ROOT / "docs" / "verify_log.py").read_text(encoding="utf-8")
    imported = {
        name.split(".")[0]
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [node.module or "."] if isinstance(node, ast.ImportFrom) else [one.name for one in node.names]
        )
    }
    assert imported <= sys.stdlib_module_names, "it must prove the log without anything of ours"
    names: dict[str, Any] = {"__name__": "verify_log"}
    exec(compile(code, "docs/verify_log.py", "exec"), names)
    return names["verify"]  # type: ignore[no-any-return]


alone = _alone()
"""`docs/verify_log.py`: a file and a head in, the head and what is wrong out."""


def desk_of(store: Store, loop: EngineLoop) -> Desk:
    return Desk(Settings(), store, loop, lambda: store)


class Log:
    """A log of four runs, written in turns: one has every kind of event, the fourth one was purged."""

    def __init__(self, folder: Path) -> None:
        self.loop = EngineLoop()
        self.original = folder / "original.db"
        self.path = folder / "ringfence.db"
        assert {type(event) for event in KINDS} == set(e.KINDS.values()) - {e.BodiesPurged}
        runs = [entries("r1", KINDS), entries("r2", KINDS[:5]), entries("r3", KINDS[:3])]
        written: list[Entry] = []
        for turn in range(len(KINDS)):
            written += [run[turn] for run in runs if turn < len(run)]
        self.of_store(self.original, lambda desk: desk.ask(self.write(desk.events, written)), create=True)
        shutil.copy(self.original, self.path)
        self.head = str(self.whole().head)

    async def write(self, log: EventLog, written: list[Entry]) -> None:
        purged = entries("r4", PURGED)
        await log.append([*written[:3], *purged])
        row = await log.run("r4")
        assert row is not None
        purge = purge_after(purged[-1], row, before_ns=START_NS, by="dana", now_ns=START_NS)
        assert await log.purge(purge, upto=4) == 4
        await log.append(written[3:])

    def of_store(self, path: Path, ask: Callable[[Desk], Any], *, create: bool = False) -> Any:
        store = SqliteStore(f"sqlite:///{path}", create=create)
        self.loop.submit(store.open()).result()
        try:
            return ask(desk_of(store, self.loop))
        finally:
            self.loop.submit(store.close()).result()

    def whole(self, head: str | None = None) -> Checked:
        """Verify the log; the verifier that imports nothing of ours must come to the same."""
        found = self.verified(head)
        told, wrong = alone(self.path, head)
        chained = found.fault is None or "list of runs" in found.fault.because
        assert (wrong is None) == chained, f"{wrong} is not {found.fault}"
        if found.fault is None:
            assert told == (found.head or "0:")
        return found

    def verified(self, head: str | None) -> Checked:
        say = Say(json=True, out=io.StringIO(), err=io.StringIO())
        known = head_of_log(head) if head else None
        return self.of_store(self.path, lambda desk: verify_whole(desk, say, head=known))  # type: ignore[no-any-return]

    def one(self, run: str, head: str | None = None) -> Checked:
        known = head_of_run(head) if head else None
        return self.of_store(self.path, lambda desk: verify_one(desk, run, head=known))  # type: ignore[no-any-return]

    def tampered(self, *statements: str | tuple[str, tuple[Any, ...]]) -> "Log":
        """Change a fresh copy of the file behind everybody's back, past its own constraints."""
        shutil.copy(self.original, self.path)
        with closing(sqlite3.connect(self.path, isolation_level=None)) as db:
            for statement in statements:
                db.execute(*(statement if isinstance(statement, tuple) else (statement,)))
        return self

    def unconstrained(self, *statements: str | tuple[str, tuple[Any, ...]]) -> "Log":
        """The same where no column has a type, a constraint or an index."""
        loose = [
            "PRAGMA foreign_keys = OFF",
            f"CREATE TABLE loose ({', '.join(EVENT)})", "INSERT INTO loose SELECT * FROM event",
            "DROP TABLE event", "ALTER TABLE loose RENAME TO event",
            f"CREATE TABLE loose (id INTEGER PRIMARY KEY, {', '.join(RUN)})",
            "INSERT INTO loose SELECT * FROM run", "DROP TABLE run", "ALTER TABLE loose RENAME TO run",
        ]  # fmt: skip
        return self.tampered(*loose, *statements)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Log]:
    made = Log(tmp_path_factory.mktemp("tampering"))
    yield made
    made.loop.close()


def refused(found: Checked) -> str:
    """Return what was said; it must be a fault that can be shown and be said as JSON."""
    assert found.fault is not None, "said to be intact"
    said = str(found.fault)
    json.dumps([found.fault.event, found.fault.because, found.fault.position, said])
    return said


def test_what_nobody_changed_is_intact(log: Log) -> None:
    for found in (log.tampered().whole(), log.whole(log.head), log.unconstrained().whole(log.head)):
        assert found.fault is None
        assert (found.events, found.runs, found.head, found.purged) == (EVENTS, 4, log.head, 4)
    for run in ("r1", "r2", "r3", "r4"):
        head = log.one(run).head
        assert head is not None and log.one(run, head).fault is None


values = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.sampled_from([0, 1, -1, 2, 2**62, 0.0, 1.0, 1.5, float("inf")]),
    st.sampled_from(["", b"", "x", "1", b"1", bytes(32), "r2", "RunEnded"]),
    st.floats(allow_nan=False),
    st.text(max_size=40).filter(lambda text: text.isprintable()),
    st.binary(max_size=40),
)  # fmt: skip


@settings(max_examples=80)
@given(position=st.integers(1, EVENTS), column=st.sampled_from(EVENT), value=values, cast=st.booleans())
def test_no_field_of_any_event_changes_unseen(
    log: Log, position: int, column: str, value: Any, cast: bool
) -> None:
    new = "CAST(? AS TEXT)" if cast else "?"
    log.unconstrained((f"UPDATE event SET {column} = {new} WHERE position = ?", (value, position)))
    same = contents(log.path, column) == contents(log.original, column)
    for found in (log.whole(), log.whole(log.head)):
        assert (found.fault is None) == same
        if found.fault is not None:
            refused(found)
    for run in ("r1", "r2", "r3", "r4"):
        log.one(run)


def contents(path: Path, column: str) -> list[str]:
    with closing(sqlite3.connect(path)) as db:
        db.text_factory = bytes
        run = "(SELECT run FROM run WHERE id = run_id)"  # `1` and `1.0` name one run
        kind = run if column == "run_id" else f"{run}, typeof({column})"
        told = ", ".join(name for name in EVENT if name != "run_id")
        return sorted(map(repr, db.execute(f"SELECT {told}, {kind} FROM event")))


@settings(max_examples=40)
@given(run=st.integers(1, 4), column=st.sampled_from(RUN), value=values, cast=st.booleans())
def test_no_field_of_the_list_of_runs_changes_unseen(
    log: Log, run: int, column: str, value: Any, cast: bool
) -> None:
    new = "CAST(? AS TEXT)" if cast else "?"
    log.unconstrained((f"UPDATE run SET {column} = {new} WHERE id = ?", (value, run)))
    with closing(sqlite3.connect(log.path)) as db:
        db.text_factory = bytes
        db.execute("ATTACH ? AS original", (str(log.original),))
        same = db.execute(
            f"SELECT count(*) FROM run a JOIN original.run b USING (id) "
            f"WHERE a.{column} IS b.{column} AND typeof(a.{column}) = typeof(b.{column})"
        ).fetchone() == (4,)
    found = log.whole()
    assert (found.fault is None) == same
    if found.fault is not None:
        refused(found)


@pytest.mark.parametrize(
    ("statements", "named"),
    [
        (["DELETE FROM event WHERE position = 14"], "link 15"),
        (["DELETE FROM event WHERE position = 34"], "list of runs"),
        (["DELETE FROM event WHERE run_id = 2"], "found link 3"),
        (["DELETE FROM event WHERE run_id = 2", "DELETE FROM run WHERE id = 2"], "found link 3"),
        (["DELETE FROM event WHERE position = 8"], "link 4 of the log): its body was removed"),
        (["DELETE FROM event WHERE run_id = 4 AND seq = 5"], "r4:1"),
        ([TAKEN.format(1)], "link 1 of the log): its body was removed, and no purge says so"),
        ([TAKEN.format(8)], "r4:1"),
        ([TAKEN.format(34), "UPDATE event SET kind = 'BodiesPurged' WHERE position = 34"], "r1:21"),
        (["UPDATE event SET salt = zeroblob(16) WHERE position = 5"], "r4:2"),
        (["UPDATE event SET body = x'7b7d', salt = zeroblob(16) WHERE position = 5"], "r4:2"),
        (["UPDATE event SET body = replace(body, '4', '9') WHERE position = 8"], "r4:5"),
        (["DELETE FROM run WHERE id = 2"], "(run 2):1"),
        (["DELETE FROM run"], "(run 1):1"),
        (["DELETE FROM event"], ":1: is missing"),
        (["UPDATE event SET position = position + 1000 WHERE position > 14"], "found link 1015"),
        (["UPDATE event SET position = -position WHERE run_id = 3"], "found link -"),
        (["UPDATE event SET position = -7, seq = -7 WHERE position = 34"], "r1:-7"),
        (["UPDATE event SET run_id = 99 WHERE position = 34"], "(run 99):21"),
        (["UPDATE event SET run_id = 2, seq = 6 WHERE position = 34"], "r2:6"),
        (
            [
                "CREATE TABLE kept AS SELECT * FROM event WHERE position IN (33, 34)",
                SWAPPED.format(33, 34),
                SWAPPED.format(34, 33),
            ],
            "r1:20",
        ),
        (
            [
                "UPDATE event SET position = 100 WHERE position = 4",
                "UPDATE event SET position = 4 WHERE position = 5",
                "UPDATE event SET position = 5 WHERE position = 100",
            ],
            "link 4",
        ),
        (["UPDATE run SET run = 'r9' WHERE id = 1"], "r9:1"),
        (["UPDATE run SET run = 'x' || (5 - id)"], "event x4:1"),
        ([f"INSERT INTO run SELECT 9, 'ghost', {OTHERS}, 1, head, parent FROM run WHERE id = 1"], "ghost:1"),
        ([f"INSERT INTO event SELECT 35, run_id, 22, {HASHES} FROM event WHERE position = 34"], "r1:22"),
        ([f"INSERT INTO event SELECT 0, run_id, 0, {HASHES} FROM event WHERE position = 1"], "r1:0"),
    ],
)  # fmt: skip
def test_what_is_removed_added_or_moved_is_named(log: Log, statements: list[str], named: str) -> None:
    assert named in refused(log.tampered(*statements).whole())
    refused(log.whole(log.head))


def test_a_second_chain_that_was_grafted_on_is_named(log: Log) -> None:
    """Somebody who knows how hashes are made: a run that no link names, or one under a known name."""
    forged = entries("forged", KINDS[:2])
    insert = [
        (
            f"INSERT INTO event VALUES ({','.join('?' * 13)})",
            (
                *(1000 + each.seq, 9, each.seq, each.kind, each.schema, each.at_ns, each.mono_ns),
                *(each.salt, each.body, each.digest, each.prev, each.hash, each.hash),
            ),
        )
        for each in forged
    ]
    for name in ("forged", "r1"):
        row = f"INSERT INTO run SELECT 9, '{name}', {OTHERS}, 2, head, parent FROM run WHERE id = 1"
        log.unconstrained(row, *insert)
        assert name in refused(log.whole())
    log.tampered("DELETE FROM event", "DELETE FROM run")
    assert "cut off" in refused(log.whole(log.head)), "an empty log is intact only to who knows no head"


def test_bodies_that_were_purged_are_counted_and_said(log: Log) -> None:
    assert log.tampered().whole().purged == log.one("r4").purged == 4
    assert log.one("r3").purged == 0


@settings(max_examples=60)
@given(positions=st.sets(st.integers(1, EVENTS), min_size=1), salts=st.booleans())
def test_no_body_is_taken_out_unseen(log: Log, positions: set[int], salts: bool) -> None:
    """Somebody with the file does to it what a purge would, but for saying so."""
    salt = ", salt = x''" if salts else ""
    log.tampered(*(f"UPDATE event SET body = NULL{salt} WHERE position = {place}" for place in positions))
    taken = sorted(positions - set(range(4, 8)))
    found = log.whole()
    assert (found.fault is None) == (not taken)
    if found.fault is not None:
        assert "removed" in found.fault.because
        assert found.fault.position == (4 if 8 in taken and taken[0] > 4 else taken[0])


@settings(max_examples=60)
@given(order=st.permutations(range(1, EVENTS + 1)), kept=st.integers(0, EVENTS), twice=st.booleans())
def test_no_order_no_gap_and_no_copy_passes(log: Log, order: list[int], kept: int, twice: bool) -> None:
    """Events are written anew, in another order, some left out, some there twice under another place."""
    places = [*order[:kept], *(order[:1] if twice else ())]
    log.unconstrained(
        "CREATE TABLE kept AS SELECT * FROM event",
        "DELETE FROM event",
        *(
            f"INSERT INTO event SELECT {place}, {', '.join(EVENT[1:])} FROM kept WHERE position = {was}"
            for place, was in enumerate(places, 1)
        ),
    )
    same = places == list(range(1, EVENTS + 1))
    assert (log.whole().fault is None) == (log.whole(log.head).fault is None) == same


def test_one_run_is_compared_with_the_list_of_runs_as_well(log: Log) -> None:
    assert "list of runs" in refused(log.tampered("UPDATE run SET status = 'done' WHERE id = 1").one("r1"))
    log.tampered("DELETE FROM event WHERE run_id = 3 AND seq = 3")
    assert "r3:2" in refused(log.one("r3"))
    log.tampered("DELETE FROM event WHERE run_id = 3")
    assert "r3:1" in refused(log.one("r3"))


def test_the_verifier_of_the_documentation_runs_by_itself(log: Log) -> None:
    def ran(*words: str) -> tuple[int, str]:
        script = [sys.executable, "-I", str(ROOT / "docs" / "verify_log.py"), str(log.path), *words]
        done = subprocess.run(script, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout + done.stderr

    log.tampered()
    assert ran() == ran(log.head) == (0, f"intact, head {log.head}\n")
    log.tampered("UPDATE event SET kind = 'CallStarted' WHERE position = 14")
    assert ran() == (2, "changed: link 14 of the log, event r3:3\n")
    log.tampered("UPDATE event SET at_ns = 'soon' WHERE position = 14")
    code, told = ran()
    assert code == 2 and told.startswith("changed: link 14 of the log, event r3:3 (")


@pytest.mark.parametrize("what", ["missing", "empty", "text", "folder", "a database", "with a table `event`"])
def test_the_verifier_of_the_documentation_says_of_a_foreign_file_that_it_is_no_log(
    tmp_path: Path, what: str
) -> None:
    path = tmp_path / "foreign.db"
    if what == "folder":
        path.mkdir()
    elif what.endswith("`"):
        columns = "run_id, seq, kind, position, body"
        with closing(sqlite3.connect(path)) as db, db:
            db.execute(f"CREATE TABLE event ({columns})")
            db.execute("CREATE TABLE run (id, run)")
            db.execute(f"INSERT INTO event ({columns}) VALUES (1, 1, 'RunStarted', 1, '{{}}')")
    elif what == "a database":
        with closing(sqlite3.connect(path)) as db, db:
            db.execute("CREATE TABLE other (id)")
    elif what != "missing":
        path.write_bytes(b"" if what == "empty" else b"Dear diary, " * 500)
    script = [sys.executable, "-I", str(ROOT / "docs" / "verify_log.py"), str(path)]
    done = subprocess.run(script, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (2, "")
    assert "changed: link 1 of the log" in done.stdout or "not a Ringfence log" in done.stdout
    assert path.exists() is (what != "missing")


def test_the_verifier_of_the_documentation_finds_every_log_that_was_cut_off(log: Log) -> None:
    log.tampered()
    whole = log.path.read_bytes()
    for size in {*range(0, len(whole), 4_096), *range(1, len(whole), 9_973)}:
        log.path.write_bytes(whole[:size])
        told, wrong = alone(log.path)
        assert wrong is not None and ("changed: " in wrong or "not a Ringfence log" in wrong), (size, told)


def test_the_verifier_of_the_documentation_is_a_page() -> None:
    code = (ROOT / "docs" / "verify_log.py").read_text(encoding="utf-8")
    end = ast.parse(code).body[0].end_lineno
    assert end is not None
    assert len([line for line in code.splitlines()[end:] if line.strip()]) <= 40
    assert max(map(len, code.splitlines())) <= 110


class Growing(MemoryLog):
    """A log to which an agent appends one more event each time somebody looks."""

    def __init__(self, coming: list[Entry]) -> None:
        super().__init__()
        self.coming = coming

    async def grow(self) -> None:
        if self.coming:
            await super().append([self.coming.pop(0)])

    async def read(self, run: str, *, after_seq: int = 0, limit: int | None = None) -> list[Entry]:
        await self.grow()
        return await super().read(run, after_seq=after_seq, limit=limit)

    async def runs(self, **asked: Any) -> list[RunRow]:
        await self.grow()
        return await super().runs(**asked)

    async def run(self, run: str) -> RunRow | None:
        await self.grow()
        return await super().run(run)

    async def links(self, *, after: int = 0, limit: int = 10_000) -> list[Link]:
        await self.grow()
        return await super().links(after=after, limit=limit)


def test_an_agent_that_writes_meanwhile_is_no_fault(log: Log) -> None:
    for begun in range(1, 30):
        runs = [entries(f"r{number}", KINDS) for number in range(3)]
        coming = [run[turn] for turn in range(len(KINDS)) for run in runs]
        growing = Growing(coming[begun:])
        log.loop.submit(growing.append(coming[:begun])).result()
        store = MemoryStore()
        store.events = growing
        desk = desk_of(store, log.loop)
        say = Say(json=True, out=io.StringIO(), err=io.StringIO())
        assert verify_whole(desk, say, head=None).fault is None
        assert verify_one(desk, "r0", head=None).fault is None
        assert verify_whole(desk, say, head=None).fault is None


class Shrinking(Growing):
    """A log of which one more run is purged each time somebody looks, after the first few looks."""

    def __init__(self, looks: int) -> None:
        super().__init__([])
        self.looks = looks
        self.whole: list[list[Entry]] = []

    async def grow(self) -> None:
        self.looks -= 1
        if self.looks < 0 and self.whole:
            run = self.whole.pop(0)
            row = await MemoryLog.run(self, run[0].run)
            assert row is not None
            purge = purge_after(run[-1], row, before_ns=START_NS, by=None, now_ns=START_NS)
            assert await self.purge(purge, upto=len(run)) == len(run)


def test_a_purge_that_goes_on_meanwhile_is_no_fault(log: Log) -> None:
    for looks in range(12):
        shrinking = Shrinking(looks)
        whole = [entries(f"r{number}", PURGED) for number in range(5)]
        log.loop.submit(shrinking.append([entry for run in whole for entry in run])).result()
        shrinking.whole = whole
        store = MemoryStore()
        store.events = shrinking
        desk = desk_of(store, log.loop)
        say = Say(json=True, out=io.StringIO(), err=io.StringIO())
        assert verify_whole(desk, say, head=None).fault is None
        for run in ("r0", "r4"):
            assert verify_one(desk, run, head=None).fault is None


@pytest.mark.parametrize(
    ("index", "columns"),
    [
        ("run_by_start", "(started_ns)"),
        ("run_by_session", "(session, started_ns)"),
        ("run_by_status", "(status, started_ns)"),
    ],
)
def test_an_index_that_hides_a_run_from_lists_is_named(log: Log, index: str, columns: str) -> None:
    """Made over some of the runs, and then described as one over all: the tables and all chains hold."""
    log.tampered(
        f"DROP INDEX {index}",
        f"CREATE INDEX {index} ON run {columns} WHERE run <> 'r2'",
        "PRAGMA writable_schema = ON",
        f"UPDATE sqlite_schema SET sql = 'CREATE INDEX {index} ON run {columns}' WHERE name = '{index}'",
    )
    asked: dict[str, dict[str, Any]] = {
        "run_by_start": {},
        "run_by_session": {"session": "s1"},
        "run_by_status": {"status": "running"},
    }
    found = log.of_store(log.path, lambda desk: desk.ask(desk.events.runs(**asked[index])))
    assert "r2" not in {row.run for row in found}, "the attack works"
    said = refused(log.verified(log.head))
    assert "leaves out" in said if index == "run_by_start" else "contradicts itself" in said
