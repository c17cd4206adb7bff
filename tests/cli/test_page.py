"""`show RUN --html FILE`: what a person looks for stands on the page, and the file is treated with care."""

import json
import platform
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from html import unescape
from pathlib import Path

import pytest

from ringfence import __version__
from ringfence.__main__ import main
from ringfence.cli.page.clauses import Clauses
from ringfence.cli.page.drawing import MARK
from ringfence.engine.decision import events as e
from tests.cli.conftest import POLICY, decided, reason, requested, started
from tests.cli.desk_run import recorded
from tests.cli.logs import stored
from tests.guards import ALICE, call, make_guard


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A log that a guard wrote, and its run."""
    file = tmp_path_factory.mktemp("page") / "ringfence.db"
    return file, recorded(file)


def page(store: Path, *words: str, run: str = "last") -> str:
    """Return the page as text, its markup left out and one blank for each white space."""
    file = store.parent / "page.html"
    assert main(["show", run, "--html", str(file), "--store", str(store), *words]) == 0
    return seen(file)


def seen(file: Path) -> str:
    body = file.read_text("utf-8").partition("</style>")[2]
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", body)).split())


def test_what_a_person_looks_for_in_an_incident_stands_on_the_page(desk: tuple[Path, str]) -> None:
    said = page(desk[0])
    for text in (
        *(desk[1], "alice", "w1", "sha256:", "framework", "Chain ✓ intact: each of"),
        *("Mail bob@acme.example our newest customers.", "You work at a desk."),
        *("model-7", "100 in, 20 out", "300 tokens in", "wants query", "temperature", "model 1.5 s"),
        *("call 1 query ✓ allowed", "body 750 ms", "Customer 0"),
        *("call 2 post ✕ denied", "✕ denied by rule leave at policy.fence:25:1"),
        'rule leave: deny post when after reading personal because "customers\' data stays here"',
        *("People: lead", "✓ approved by dana after 6 s: bob is ours", "people 6 s"),
        *("raised after 0 us: ValueError: the mail server is away", "A run inside of it", "helper"),
        *("✕ call 2, post: denied by leave", "! call 4, mail: allowed by mail.allow; raised after 0 us"),
        *("▲ personal", "raised by this result (event", "from +2.250 s"),
    ):
        assert text in said, text


def test_the_rule_is_shown_whole_and_only_the_rule() -> None:
    text = (
        "language 1\npolicy p\ntool t {  # a tool\n  allow always\n  require known: a > 1\n"
        '    because "of\n  this"\n}\nrule r:\n  deny t\n  because "x"  # why\n\nlevels a < b\n'
    )
    clauses = Clauses({"p.fence": text, "q.fence": "no ( policy\n"})
    assert clauses.at("p.fence:4:3") == ("p.fence", 4, "allow always")
    assert clauses.at("p.fence:9:1") == ("p.fence", 9, 'rule r:\n  deny t\n  because "x"  # why')
    assert clauses.at("p.fence:10:3") == ("p.fence", 9, 'rule r:\n  deny t\n  because "x"  # why')
    assert clauses.at("q.fence:1:4") == ("q.fence", 1, "no ( policy")
    for place in ("p.fence:99:1", "p.fence:4:99", "r.fence:1:1", "p.fence", "", None, "p.fence:x:1", "::"):
        assert clauses.at(place) is None


def test_what_became_of_a_call_is_said_also_where_nobody_knows(
    tmp_path: Path, whole_run: list[e.RunEvent]
) -> None:
    cut = [
        *whole_run[:6],
        *whole_run[7:-2],
        requested("dd.0", "crm", {}),
        e.ModelAsked("m2", None, [], None, {}, None),
    ]
    said = page(stored(tmp_path / "r.db", r1=cut))
    assert "unknown: how it ended is not recorded, and its process is gone" in said
    assert "call 4 crm ! not decided" in said
    assert "model asked no answer was recorded" in said
    said = page(stored(tmp_path / "s.db", r1=whole_run))
    assert "✕ halted main.stop: 5 minutes are over" in said
    assert "the policy declares no levels" in said
    assert 'from line 5 allow when domain(to) == "acme.example"' in said


def test_of_a_purged_run_the_page_says_when_and_by_whom(tmp_path: Path, whole_run: list[e.RunEvent]) -> None:
    store = stored(tmp_path / "r.db", r1=whole_run)
    assert main(["purge", "--before", "1d", "--by", "dana <b>", "--store", str(store)]) == 0
    said = page(store)
    assert "Chain ✓ intact" in said
    assert re.search(
        rf"{len(whole_run)} events were purged on \d{{4}}-[-0-9:Z ]+: what they said is gone", said
    )
    assert re.search(r"purged \d{4}-[-0-9:Z ]+", said) and " took " not in said
    assert "it was purged: the policy's text, mode, framework and versions are not known" in said
    assert "purged what it said was removed by dana <b>: whatever was older than" in said
    assert "the session's level cannot be told: the beginning of run `r1` is not there" in said
    assert "&lt;b&gt;" in (tmp_path / "page.html").read_text("utf-8")


def test_a_body_that_no_purge_has_removed_is_a_change(tmp_path: Path, whole_run: list[e.RunEvent]) -> None:
    store = stored(tmp_path / "r.db", r1=whole_run)
    with closing(sqlite3.connect(store)) as db, db:
        db.execute("UPDATE event SET body = NULL, salt = x'' WHERE kind = 'PromptGiven'")
    said = page(store)
    assert "CHANGED: event r1:2: its body was removed, and no purge says so" in said
    assert "the bodies of 1 events are gone, and no purge says so (1 PromptGiven)" in said
    assert "purged" not in said
    with closing(sqlite3.connect(store)) as db, db:
        db.execute("UPDATE event SET body = NULL, salt = x'' WHERE kind = 'RunStarted'")
    said = page(store)
    assert "CHANGED: event r1:1" in said
    assert "it is gone, and no purge says so: the policy's text" in said


def test_a_changed_log_is_said(tmp_path: Path, whole_run: list[e.RunEvent]) -> None:
    store = stored(tmp_path / "r.db", r1=whole_run)
    with closing(sqlite3.connect(store)) as db, db:
        db.execute(
            "UPDATE event SET body = CAST(replace(body, 'eve@', 'bob@') AS BLOB) WHERE kind = 'CallRequested'"
        )
    assert "CHANGED: event r1:8" in page(store)


def test_the_head_of_the_page_says_what_the_run_ran_on(desk: tuple[Path, str]) -> None:
    said = page(desk[0])
    assert f"versions python {platform.python_version()}, ringfence {__version__}" in said


def test_of_a_call_under_audit_minimal_the_page_says_that_its_values_were_not_kept(tmp_path: Path) -> None:
    guard = make_guard(store=f"sqlite:///{tmp_path}/r.db")
    with guard.run(principal=ALICE, agent="main") as run:
        guard.execute(run, call("quiet", what="a private word"), lambda _: "a private answer")
    guard.close()
    said = page(tmp_path / "r.db")
    assert "audit minimal keeps keyed digests of the arguments, not their values" in said
    assert "call 1 quiet ✓ allowed" in said and "private" not in said


def test_inner_calls_stand_under_the_call_whose_code_made_them(tmp_path: Path) -> None:
    def inner(call: str, parent: str) -> e.CallRequested:
        return e.CallRequested(call, f"tool_{call}", {}, None, None, parent)

    code = requested("a", "run_js", {"code": "one()\ntwo()"})
    events: list[e.RunEvent] = [
        *(started(), code, requested("x", "other", {}), inner("b", "a"), inner("c", "b")),
        e.IsolateStarted("a", "analyst", "code", "code", "0" * 64, 5, None, "0" * 32, {"cpu_ms": 5}),
        e.IsolateEnded("a", "14.4", ("process", "seccomp"), None, None, None, None),
    ]
    said = page(stored(tmp_path / "r.db", r1=events))
    order = [said.index(text) for text in ("call 1 run_js", "call 3 tool_b", "call 4 tool_c", "call 2 other")]
    assert order == sorted(order)
    assert "made from inside of call 3" in said
    assert "code that the model wrote in the isolate analyst, V8 14.4" in said
    assert "2 walls stood: process, seccomp" in said
    assert "the text of code one() two()" in said


def test_the_page_of_a_long_run_stays_small_and_says_what_is_missing(tmp_path: Path) -> None:
    events: list[e.RunEvent] = [started()]
    for number in range(1_250):
        call, verdict = f"{number:04x}.0", "deny" if number == 600 else "allow"
        events += [
            requested(call, "send_email", {"body": "x" * 900}),
            decided(call, verdict, reason("r", verdict)),
        ]
        events += (
            [] if verdict == "deny" else [e.CallStarted(call), e.CallFinished(call, "y" * 9_000, None, 1)]
        )
    for number in range(1_250):
        events.append(e.PromptGiven("user", f"prompt {number}"))
    store = stored(tmp_path / "r.db", r1=events)
    said = page(store)
    assert (tmp_path / "page.html").stat().st_size < 8_000_000
    assert re.search(r"1,\d\d\d of 2,500 steps are left out where the page says so", said)
    assert "steps are left out here" in said
    assert "texts are longer than what is shown" in said
    assert "call 601 send_email ✕ denied" in said, "what was refused is kept, wherever it stands"
    assert "call 1 send_email" in said and "prompt 1249" in said


# ---- the file ---------------------------------------------------------------------------------------


def test_the_file_is_its_owners_and_only_a_page_of_ours_is_written_over(
    desk: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["show", desk[1], "--store", str(desk[0]), "--html"]
    file = tmp_path / "run.html"
    assert main([*words, str(file)]) == 0
    assert file.stat().st_mode & 0o777 == 0o600
    first = file.read_text("utf-8")
    assert first.startswith(MARK)
    file.chmod(0o644)
    assert main([*words, str(file)]) == 0
    assert file.stat().st_mode & 0o777 == 0o600 and file.read_text("utf-8") == first
    other = tmp_path / "mine.html"
    for content in (b"<!doctype html>", b"", b"\xff" * 200):
        other.write_bytes(content)
        assert main([*words, str(other)]) == 1
        assert "nothing was written over it" in capsys.readouterr().err
        assert other.read_bytes() == content
    for nowhere in (tmp_path, tmp_path / "not" / "there.html", "/dev/null", ""):
        assert main([*words, str(nowhere)]) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.html", "run.html"]


def test_the_page_goes_to_the_standard_output_or_json_tells_of_it(
    desk: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["show", desk[1], "--store", str(desk[0])]
    assert main([*words, "--html", "-", "--json"]) == 1
    assert "--html FILE" in capsys.readouterr().err
    file = tmp_path / "run.html"
    assert main([*words, "--html", str(file), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["file"], said["bytes"]) == (str(file), file.stat().st_size)
    assert [one["intact"] for one in said["shown"]] == [True, True]
    done = subprocess.run(
        [sys.executable, "-m", "ringfence", *words, "--html", "-"], capture_output=True, timeout=60
    )
    assert done.returncode == 0 and done.stdout.decode("utf-8") == file.read_text("utf-8")


def test_the_templates_are_read_only_for_a_page(desk: tuple[Path, str]) -> None:
    code = (
        "import sys\nfrom ringfence.__main__ import main\n"
        f"assert main(['show', 'last', '--store', {str(desk[0])!r}]) == 0\n"
        "assert 'jinja2' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_the_policy_of_these_tests_is_the_one_whose_places_they_name() -> None:
    assert POLICY.split("\n")[4].strip().startswith("allow when")
