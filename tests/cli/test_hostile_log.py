"""A log in which every text was written by an attacker: nothing that is printed obeys it."""

import asyncio
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

from ringfence.__main__ import main
from ringfence.cli import following
from ringfence.engine.decision import events as e
from ringfence.plugins.sqlite import SqliteStore
from ringfence.testing.stores import ticket
from tests.cli.conftest import decided, entries, reason, requested, started
from tests.guards import BLOG

EVIL = "\x1b[2J\x1b]0;mine\x07[red]x[/red]\u202eabc\nforged line\r\x08\x9b31m\u2028z"
CALL = "aa.0" + EVIL
EVENTS: list[e.RunEvent] = [
    started(agent=EVIL, principal={"user": EVIL, "workspace": EVIL}, session=EVIL, policy=EVIL),
    e.PromptGiven(EVIL, EVIL),
    e.ModelAnswered(
        "m", [{"content": EVIL, "tool_calls": [{"name": EVIL}]}], {"input_tokens": EVIL}, 5, None
    ),
    e.ModelAnswered("m", None, None, 5, EVIL),
    requested(CALL, EVIL, {EVIL: EVIL, "deep": {"er": ["x" * 3000]}}, EVIL),
    decided(
        *(CALL, EVIL, reason(EVIL, EVIL, EVIL, because=EVIL, detail=EVIL)),
        charges=[{"budget": EVIL, "key": EVIL, "amount": EVIL}],
        shadow=[reason(EVIL, EVIL)],
        facts={
            "reserved": [{"budget": EVIL, "key": EVIL, "free_ns": 5}],
            "approved_by": {EVIL: [EVIL]},
            "failed": EVIL,
        },
    ),
    e.ApprovalAsked(CALL, EVIL, EVIL, None),
    e.ApprovalAnswered(CALL, EVIL, EVIL, EVIL, None, EVIL),
    e.BudgetRefunded(CALL, EVIL),
    e.CallStarted(CALL),
    e.CallFinished(CALL, {EVIL: EVIL}, {EVIL: EVIL}, 5),
    e.RunSuspended((EVIL,)),
    e.RunResumed(EVIL),
    e.SubrunStarted(EVIL, EVIL),
    e.RunHalted(EVIL, EVIL, EVIL),
    e.RunEnded(EVIL, EVIL),
]
EVERY_TEXT = ("run", "call", "tool", "approver", "group", "never", "because")


async def write(path: Path) -> None:
    store = SqliteStore(f"sqlite:///{path}")
    await store.open()
    assert store.events is not None and store.tickets is not None
    await store.events.append(entries("r1" + EVIL, EVENTS))
    await store.tickets.open(ticket("T-" + EVIL, arguments={EVIL: EVIL}, **dict.fromkeys(EVERY_TEXT, EVIL)))
    await store.close()


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("hostile") / "ringfence.db"
    asyncio.run(write(path))
    return path


COMMANDS = [
    ["runs"], ["runs", "--session", EVIL], ["show", "last"], ["show", EVIL],
    ["show", "last", "--html", os.devnull], ["show", "last", "--html", EVIL + "/x"], ["why", "last", "1"],
    ["why", "last", EVIL], ["approvals"], ["approve", "T-1", "--by", EVIL], ["verify"], ["verify", "last"],
    ["export", "--otel", "http://127.0.0.1:9", "--content"], ["export", "--otel", EVIL],
    ["export"], ["export", "--run", "last"], ["export", "--agent", EVIL], ["export", "--since", EVIL],
    ["verify", "--head", EVIL], ["replay", "last"], ["backtest", "--policy", str(BLOG)],
    ["backtest", "--policy", str(BLOG), "--agent", EVIL], ["kill", "last"],
    ["kill", "--agent", EVIL], ["doctor"], ["purge", "--before", "0s", "--dry-run", "--by", EVIL],
    ["purge", "--before", EVIL],
    ["kill", "--agent", EVIL], ["doctor"], ["runs", "--tool", EVIL, "--verdict", "deny", "--rule", EVIL],
    ["runs", "--user", EVIL, "--workspace", EVIL, "--since", EVIL], ["runs", "--rule", EVIL],
    ["stats"], ["stats", "--agent", EVIL], ["stats", "--until", EVIL], ["tail"], ["tail", "--agent", EVIL],
    ["tail", "--run", EVIL], ["tail", "--run", "last", "--from-start"],
    ["pins", "--policy", EVIL], ["pins", "approve", EVIL, "--by", EVIL, "--digest", EVIL],
]  # fmt: skip


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that goes on without end is stopped where it would wait."""

    def stop(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(following, "sleep", stop)


@pytest.mark.usefixtures("stopped")
@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: " ".join(words)[:12])
def test_no_text_in_a_log_or_on_the_command_line_steers_a_terminal_or_forges_a_line(
    hostile: Path, words: list[str], as_json: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    main([*words, *(["--json"] if as_json else []), "--store", str(hostile)])
    said = capsys.readouterr()
    for text in (said.out, said.err):
        assert "Traceback" not in text
        assert not any(line.strip().startswith("forged") for line in text.splitlines())
        categories = {unicodedata.category(character) for character in text.replace("\n", "")}
        assert not categories & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    if as_json and said.out:
        for document in said.out.splitlines() if words[0] in ("export", "tail") else [said.out]:
            json.loads(document)


@pytest.mark.parametrize("as_json", [False, True])
def test_what_a_purge_says_and_leaves_obeys_no_text_of_the_log(
    hostile: Path, tmp_path: Path, as_json: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path(shutil.copy(hostile, tmp_path))
    for change in ("", "UPDATE event SET kind = 'x' WHERE seq = 3"):
        with sqlite3.connect(path) as db:
            db.execute(change)
        db.close()
        for words in (
            ["purge", "--before", "0s", "--by", EVIL],
            ["show", "last"],
            ["verify"],
            ["why", "last", "1"],
        ):
            main([*words, *(["--json"] if as_json else []), "--store", str(path)])
    said = capsys.readouterr()
    for text in (said.out, said.err):
        assert "Traceback" not in text
        assert not any(line.strip().startswith("forged") for line in text.splitlines())
        categories = {unicodedata.category(character) for character in text.replace("\n", "")}
        assert not categories & {"Cc", "Cf", "Cs", "Zl", "Zp"}


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_json_has_not_do_not_make_the_data_unreadable(
    tmp_path: Path, number: str, capsys: pytest.CaptureFixture[str]
) -> None:
    asyncio.run(write(tmp_path / "r.db"))
    with sqlite3.connect(tmp_path / "r.db") as db:
        body = '{"call":"aa.0","result":' + number + ',"truncated":null,"duration_ns":1}'
        db.execute(
            "UPDATE event SET body = ? WHERE kind = 'CallFinished'", (body.replace("aa.0", "bb").encode(),)
        )
        body = '{"source":"user","text":[' + number + "]}"
        db.execute("UPDATE event SET body = ? WHERE kind = 'PromptGiven'", (body.encode(),))
    db.close()
    assert main(["show", "last", "--json", "--store", str(tmp_path / "r.db")]) == 0

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    json.loads(capsys.readouterr().out, parse_constant=refuse)


@pytest.mark.parametrize("closed", [">&-", ">&- 2>&-", "2>&-", "</dev/null >/dev/full"])
def test_a_stream_that_is_closed_or_full_gives_no_traceback(hostile: Path, closed: str) -> None:
    done = subprocess.run(
        f'"{sys.executable}" -m ringfence show last --store "{hostile}" {closed}',
        shell=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "Traceback" not in done.stderr + done.stdout
    assert "Exception ignored" not in done.stderr
    assert done.returncode == (1 if "full" in closed else 0)


@pytest.mark.usefixtures("stopped")
@pytest.mark.parametrize("odd", ["[1]", '"x"', "{}", "7", "null", '[{"effect":[]}]', '{"a":[[]]}'])
@pytest.mark.parametrize("field", ["reasons", "charges", "facts", "shadow", "verdict"])
def test_a_body_of_another_form_is_a_sentence_that_points_to_verify(
    hostile: Path, tmp_path: Path, field: str, odd: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path(shutil.copy(hostile, tmp_path / "r.db"))
    with sqlite3.connect(path) as db:
        (body,) = db.execute("SELECT body FROM event WHERE kind = 'CallDecided'").fetchone()
        changed = {**json.loads(body), field: json.loads(odd)}
        db.execute("UPDATE event SET body = ? WHERE kind = 'CallDecided'", (json.dumps(changed).encode(),))
    db.close()
    for words, ends in ((["stats"], 0), (["runs", "--rule", "x"], 0), (["tail", "--from-start"], 130)):
        assert main([*words, "--store", str(path)]) == ends  # what cannot be read is said, and ends nothing
        assert "RINGFENCE_DEBUG" not in capsys.readouterr().err
    for words in (["show", "last"], ["why", "last", "1"]):
        for as_json in ([], ["--json"]):
            code = main([*words, *as_json, "--store", str(path)])
            said = capsys.readouterr()
            assert code == 0 or "ringfence verify" in said.err
            assert "RINGFENCE_DEBUG" not in said.err


@pytest.mark.usefixtures("stopped")
@pytest.mark.parametrize("column", ["run", "session", "agent", "user", "status", "started_ns", "events"])
@pytest.mark.parametrize("odd", [b"\xff\x00", b"", 1.5, "x"])
def test_a_list_of_runs_with_other_types_is_a_sentence_that_points_to_verify(
    hostile: Path, tmp_path: Path, column: str, odd: object, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path(shutil.copy(hostile, tmp_path / "r.db"))
    with sqlite3.connect(path) as db:
        db.execute(f"UPDATE run SET {column} = ?", (odd,))
    db.close()
    listing = [["runs"], ["runs", "--rule", "x"], ["stats"], ["show", "last"], ["why", "last", "1"]]
    for words in (
        *listing,
        ["replay", "last"],
        ["export"],
        ["tail", "--from-start"],
        ["purge", "--before", "0s"],
    ):
        code = main([*words, "--store", str(path)])
        said = capsys.readouterr().err
        assert "RINGFENCE_DEBUG" not in said and "Traceback" not in said
        assert code in (0, 2, 130) or "ringfence verify" in said, said
    assert main(["verify", "--store", str(path)]) == 2


@pytest.mark.usefixtures("stopped")
def test_a_time_beyond_every_number_is_a_run_that_cannot_be_read(
    hostile: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path(shutil.copy(hostile, tmp_path / "r.db"))
    with sqlite3.connect(path) as db:
        (body,) = db.execute("SELECT body FROM event WHERE kind = 'ApprovalAsked'").fetchone()
        changed = body.replace(b'"expires_ns":null', b'"expires_ns":1e999')
        db.execute("UPDATE event SET body = ? WHERE kind = 'ApprovalAsked'", (changed,))
    db.close()
    assert changed != body
    for words, ends in ((["stats"], 0), (["tail", "--from-start"], 130), (["show", "last"], 1)):
        assert main([*words, "--store", str(path)]) == ends
        assert "RINGFENCE_DEBUG" not in capsys.readouterr().err


@pytest.mark.parametrize("role", ["--witness", "--key"])
def test_a_pipe_in_the_place_of_witness_or_key_is_refused_and_not_waited_for(
    hostile: Path, tmp_path: Path, role: str, capsys: pytest.CaptureFixture[str]
) -> None:
    named = {"--witness": tmp_path / "heads.jsonl", "--key": tmp_path / "log.pub"}
    for path in named.values():
        path.touch()
    named[role].unlink()
    os.mkfifo(named[role])
    words = [str(word) for pair in named.items() for word in pair]
    assert main(["verify", *words, "--store", str(hostile)]) == 1
    assert "is no file" in capsys.readouterr().err
