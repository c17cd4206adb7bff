"""Commands over a real SQLite log: what they print for people, what for programs, and their exit codes."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ringfence.__main__ import main
from ringfence.engine.decision import events as e
from ringfence.engine.seams.loop import EngineLoop
from ringfence.engine.seams.ports import Ticket
from ringfence.plugins.sqlite import SqliteStore
from tests.cli.conftest import START_NS, entries, requested, started

TICKET = Ticket(
    id="T-BBBBBBBB", run="R-GOING", call="dd.0", tool="crm",
    arguments={"note": "\u202eevil\x1b[2J" + "x" * 5000},
    digest="d", policy_digest="p", approver="lead", group="leads", quorum=2, never="alice",
    because="a person decides", asked_ns=START_NS, expires_ns=None,
    sources={"note": ("user", "web_fetch.\x1b[2Jrow")},
)  # fmt: skip


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole_run: list[e.RunEvent]) -> Iterator[Path]:
    """A log with a whole run, a run that still goes on, and an open ticket; it is the settings' store."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ringfence.toml").write_text('[groups]\nleads = ["dana", "erin"]\n')
    file = tmp_path / "ringfence.db"
    store, loop = SqliteStore(f"sqlite:///{file}"), EngineLoop()
    loop.submit(store.open()).result()
    assert store.events is not None and store.tickets is not None
    loop.submit(store.events.append(entries("R-WHOLE", whole_run))).result()
    going: list[e.RunEvent] = [started(agent="helper", session="s2"), requested("aa.0", "look_up", {})]
    loop.submit(store.events.append(entries("R-GOING", going))).result()
    loop.submit(store.tickets.open(TICKET)).result()
    loop.submit(store.close()).result()
    loop.close()
    yield file


def told(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    """Run a command and return its stdout, which a terminal could show."""
    assert main(words) == code, capsys.readouterr().err
    text = capsys.readouterr().out
    assert all(line.isprintable() for line in text.splitlines())
    return text


def data(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> Any:
    """Run a command under --json and return its document."""
    return json.loads(told(capsys, *words, "--json", code=code))


def test_runs_lists_newest_first_and_can_be_narrowed(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert [row["run"] for row in data(capsys, "runs")] == ["R-GOING", "R-WHOLE"]
    assert [row["run"] for row in data(capsys, "runs", "--agent", "main")] == ["R-WHOLE"]
    assert [row["run"] for row in data(capsys, "runs", "--session", "s2")] == ["R-GOING"]
    assert len(data(capsys, "runs", "--limit", "1")) == 1
    assert "halted" in told(capsys, "runs")


def test_show_tells_the_run_and_its_data_has_every_step(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = told(capsys, "show", "R-W")
    assert "R-WHOLE: agent main, user alice" in text
    assert "denied by send_email.allow at support.fence:5:3" in text
    document = data(capsys, "show", "R-W")
    assert document["run"]["status"] == "halted"
    assert [step["step"] for step in document["steps"]] == [
        "prompt", "model", "call", "call", "call", "halted", "ended",
    ]  # fmt: skip


def test_why_draws_the_line_of_the_policy(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = told(capsys, "why", "R-WHOLE", "2")
    assert '     5 |   allow when domain(to) == "acme.example"' in text
    document = data(capsys, "why", "R-WHOLE", "bb.0")
    assert (document["verdict"], document["run"]) == ("deny", "R-WHOLE")


def test_a_question_is_shown_in_full_and_cannot_lie_about_itself(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = told(capsys, "approvals")
    assert "x" * 5000 in text and "\\u202eevil\\u001b" in text
    assert "asks: lead, group leads (dana, erin), never alice, 0 of 2 answers" in text
    (ticket,) = data(capsys, "approvals")
    assert ticket["people"] == ["dana", "erin"] and ticket["arguments"] == TICKET.arguments


def test_a_question_says_where_each_argument_was_found(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = told(capsys, "approvals")
    assert "    from: user, web_fetch.\\u001b[2Jrow" in text and "\x1b" not in text
    (ticket,) = data(capsys, "approvals")
    assert ticket["sources"] == {"note": list(TICKET.sources["note"])}


def test_a_quorum_is_pending_until_enough_people_have_approved(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("approve", "t-bbbbbbbb", "--because", "looks right")
    assert "1 of 2 people" in told(capsys, *words, "--by", "dana", code=4)
    assert data(capsys, *words, "--by", "erin")["status"] == "approved"
    assert data(capsys, "approvals") == []


def test_one_denial_is_enough(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "rejected" in told(capsys, "deny", "T-BBBBBBBB", "--by", "dana")
    assert main(["approve", "T-BBBBBBBB", "--by", "erin"]) == 2
    assert "rejected already" in capsys.readouterr().err


@pytest.mark.parametrize(("who", "why"), [("alice", "no effect"), ("mallory", "not in the group")])
def test_who_may_not_answer_is_refused_and_the_ticket_stays_open(
    log: Path, capsys: pytest.CaptureFixture[str], who: str, why: str
) -> None:
    assert main(["approve", "T-BBBBBBBB", "--by", who]) == 2
    assert why in capsys.readouterr().err
    assert [ticket["status"] for ticket in data(capsys, "approvals")] == ["open"]


def test_an_unknown_ticket_names_the_open_ones(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["approve", "T-NOTHERE0", "--by", "dana"]) == 1
    assert "T-BBBBBBBB" in capsys.readouterr().err


# ---- edits, and one ticket -----------------------------------------------------------------------


ONE = replace(TICKET, id="T-CCCCCCCC", quorum=1, arguments={"to": "a@b.example", "cc": "x", "n": 1})


@pytest.fixture
def one(log: Path) -> Iterator[Path]:
    """The same log with a question that one person may answer."""
    store, loop = SqliteStore(f"sqlite:///{log}"), EngineLoop()
    loop.submit(store.open()).result()
    assert store.tickets is not None
    loop.submit(store.tickets.open(ONE)).result()
    loop.submit(store.close()).result()
    loop.close()
    yield log


def test_an_edit_says_what_it_changes_and_is_kept_with_the_ticket(
    one: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit = '{"to": "\\u202ec@d.example", "n": 1, "new": true}'
    assert main(["approve", "T-CCCCCCCC", "--by", "dana", "--edit", edit]) == 0
    shown = capsys.readouterr()
    assert "approved" in shown.out
    assert 'to: "\\u202ec@d.example", was "a@b.example"' in shown.err
    assert 'cc: left out, was "x"' in shown.err and "new: new, true" in shown.err
    assert "\nn:" not in shown.err
    assert data(capsys, "approvals", "T-CCCCCCCC")["edited"] == json.loads(edit)
    assert "approved with other arguments" in told(capsys, "approvals", "T-CCCCCCCC")


def test_an_edit_may_come_from_a_file(one: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (one.parent / "edit.json").write_text('{"to": "c@d.example"}')
    words = ("approve", "T-CCCCCCCC", "--by", "dana", "--edit-file", "edit.json")
    assert data(capsys, *words)["edited"] == {"to": "c@d.example"}


@pytest.mark.parametrize(
    ("edit", "why"),
    [
        ("[1]", "no JSON object"),
        ('"text"', "no JSON object"),
        ("{", "no JSON"),
        ('{"n": NaN}', "no JSON"),
        ('{"n": 1, "n": 2}', "no JSON"),
        ("[" * 100_000, "no JSON"),
        ('{"n": "' + "x" * 2_000_000 + '"}', "more than the"),
    ],
)
def test_an_edit_that_is_no_object_of_json_changes_nothing(
    one: Path, capsys: pytest.CaptureFixture[str], edit: str, why: str
) -> None:
    assert main(["approve", "T-CCCCCCCC", "--by", "dana", "--edit", edit]) == 1
    assert why in capsys.readouterr().err
    assert data(capsys, "approvals", "T-CCCCCCCC")["answers"] == []


def test_an_edit_from_a_file_that_is_not_there_or_said_twice_is_refused(
    one: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["approve", "T-CCCCCCCC", "--by", "dana", "--edit-file", "none.json"]
    assert main(words) == 1
    assert main([*words, "--edit", "{}"]) == 1
    assert data(capsys, "approvals", "T-CCCCCCCC")["status"] == "open"


def test_one_of_several_people_cannot_edit_from_the_command_line(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["approve", "T-BBBBBBBB", "--by", "dana", "--edit", "{}"]) == 2
    assert "must see the same" in capsys.readouterr().err


def test_one_ticket_is_shown_with_its_answers_also_when_it_is_closed(
    one: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["deny", "T-CCCCCCCC", "--by", "mallory\x1b[2J"]) == 2
    assert main(["deny", "T-CCCCCCCC", "--by", "dana", "--because", "no\nT-X approved"]) == 0
    assert main(["approve", "T-CCCCCCCC", "--by", "erin"]) == 2
    capsys.readouterr()
    text = told(capsys, "approvals", "t-cccccccc")
    assert "T-CCCCCCCC  crm  rejected" in text
    assert "  mallory\\u001b[2J: no effect, not in the group `leads`" in text
    assert "  dana: denied, no\\u000aT-X approved" in text
    assert "  erin: no effect, it is rejected already" in text
    assert "ringfence approve" not in text
    shown = data(capsys, "approvals", "T-CCCCCCCC")
    assert [one["verdict"] for one in shown["answers"]] == ["ignored", "reject", "ignored"]
    assert shown["people"] == ["dana", "erin"]
    assert main(["approvals", "T-NOTHERE0"]) == 1


def test_an_answer_about_a_run_that_is_over_has_no_effect(
    log: Path, capsys: pytest.CaptureFixture[str], whole_run: list[e.RunEvent]
) -> None:
    store, loop = SqliteStore(f"sqlite:///{log}"), EngineLoop()
    loop.submit(store.open()).result()
    assert store.tickets is not None
    for number, run in enumerate(("R-WHOLE", "R-NEVER")):
        loop.submit(store.tickets.open(replace(ONE, id=f"T-DDDDDDD{number}", run=run))).result()
    loop.submit(store.close()).result()
    loop.close()
    for id, why in (("T-DDDDDDD0", "its run is over"), ("T-DDDDDDD1", "its run is not in the log")):
        assert main(["approve", id, "--by", "dana"]) == 2
        assert why in capsys.readouterr().err
        assert data(capsys, "approvals", id)["answers"][0]["because"] == why


def test_verify_finds_a_log_intact_and_prints_a_head_that_holds(
    log: Path, capsys: pytest.CaptureFixture[str], whole_run: list[e.RunEvent]
) -> None:
    document = data(capsys, "verify")
    assert (document["intact"], document["runs"], document["events"]) == (True, 2, len(whole_run) + 2)
    assert "intact" in told(capsys, "verify", "--head", document["head"])
    run_head = data(capsys, "verify", "R-WHOLE")["head"]
    assert "intact" in told(capsys, "verify", "R-WHOLE", "--head", run_head)


@pytest.mark.parametrize("head", ["", "nonsense", "0:" + "0" * 64, "1:xyz", "1:" + "A" * 64])
def test_a_head_that_is_none_is_refused(log: Path, capsys: pytest.CaptureFixture[str], head: str) -> None:
    assert main(["verify", "--head", head or " "]) == 1
    assert "is no head" in capsys.readouterr().err


def test_verify_finds_one_changed_byte(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = log.read_bytes()
    changed = text.replace(b"Mail bob a summary", b"Mail eve a summary")
    assert changed != text
    log.write_bytes(changed)
    document = data(capsys, "verify", code=2)
    assert not document["intact"] and document["fault"]["event"] == "R-WHOLE:2"
    assert "changed: event R-WHOLE:2" in told(capsys, "verify", code=2)
    assert "changed" in told(capsys, "verify", "R-WHOLE", code=2)


def test_a_head_noted_earlier_finds_an_end_that_was_cut_off(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    head = data(capsys, "verify")["head"]
    position = int(head.partition(":")[0])
    assert "changed" in told(capsys, "verify", "--head", f"{position + 1}:{head.partition(':')[2]}", code=2)


def test_an_unknown_run_names_what_is_near(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "R-WHOLF"]) == 1
    assert "did you mean R-WHOLE" in capsys.readouterr().err


def test_a_file_that_is_no_log_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ringfence.db").write_bytes(b"this is not a database, whatever its name says" * 100)
    assert main(["runs"]) == 1
    said = capsys.readouterr().err
    assert "ringfence.db" in said and "Traceback" not in said


def test_kill_stores_an_order_and_says_what_was_ordered(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    order = data(capsys, "kill", "R-GOING", "--by", "dana")
    assert (order["run"], order["agent"], order["by"]) == ("R-GOING", None, "dana")
    assert "every run of agent helper" in told(capsys, "kill", "--agent", "helper", "--by", "dana")
    assert data(capsys, "kill", "--all", "--by", "dana")["id"] > order["id"]


def test_killing_a_run_that_is_over_says_so(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["kill", "R-WHOLE", "--by", "dana"]) == 0
    assert "over already: halted" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["kill"], ["kill", "R-GOING", "--all"], ["kill", "--agent", "x", "--all"]])
def test_kill_takes_exactly_one_aim(log: Path, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 1
    assert "Traceback" not in capsys.readouterr().err


def test_doctor_finds_the_store_and_its_write_ahead_log(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = data(capsys, "doctor")
    found = [finding["found"] for finding in document["findings"] if finding["what"] == "store"]
    assert (
        document["fine"]
        and any("events" in one for one in found)
        and any("write-ahead" in one for one in found)
    )


def test_doctor_finds_a_store_that_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ringfence.db").write_bytes(b"this is not a database, whatever its name says" * 100)
    findings = data(capsys, "doctor", code=1)["findings"]
    assert any(finding["what"] == "store" and finding["state"] == "broken" for finding in findings)


def test_doctor_finds_wrong_settings_and_still_looks_at_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ringfence.toml").write_text("stroe = 1\n")
    findings = data(capsys, "doctor", code=1)["findings"]
    assert any(finding["what"] == "settings" and finding["state"] == "broken" for finding in findings)
    assert any(finding["what"] == "langchain" for finding in findings)
