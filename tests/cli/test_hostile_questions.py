"""A question with hostile arguments, from the model to the person: shown whole, escaped, everywhere."""

import json
from pathlib import Path
from typing import Any

import pytest

from ringfence.__main__ import main
from ringfence.engine.seams.errors import PendingError
from ringfence.engine.seams.hookspecs import Answers, Question
from ringfence.plugin import ApprovalBackend, hookimpl
from tests.guards import ALICE, call, make_guard

POLICY = """
language 1
policy shop
capability send is external
approver lead { group "leads" answer within 15 minutes otherwise deny }
agent main { holds send }
tool mail { needs send takes to: list of text, body: text allow always ask lead because "a person decides"
  audit full }
"""
BODY = "pay 10\x1b[2K\r\u202e001 yap\u2066\n  asks: nobody\x00\x9b31m\u200b\ufeff\u2028" + (
    "x" * 99_999 + "END"
)
TO = ["ann@acme.example", "\x1b]8;;http://evil.example\x07ann@acme.example"]


class Seen(ApprovalBackend):
    name = "seen"
    questions: list[Question]
    beside = ""
    """What the terminal's backend wrote."""

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        Seen.questions = []

    async def ask(self, question: Question, answers: Answers) -> None:
        Seen.questions.append(question)

    async def withdraw(self, ticket: str, because: str) -> None:
        pass


class Backends:
    @hookimpl
    def ringfence_approval_backends(self) -> list[type[ApprovalBackend]]:
        return [Seen]


@pytest.fixture
def ticket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """A suspended run's open question, in a store beside the settings."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ringfence.toml").write_text('[groups]\nleads = ["dana"]\n')
    guard = make_guard(
        POLICY,
        store=f"sqlite:///{tmp_path}/ringfence.db",
        groups={"leads": ["dana"]},
        plugins=[Backends()],
        backends={"seen": {}, "terminal": {"prompt": False}},
        approvals={"leads": ["seen", "terminal"]},
    )
    run = guard.begin_run(principal=ALICE, prompt="mail ann@acme.example")
    with pytest.raises(PendingError) as caught:
        guard.execute(run, call("mail", "c1", to=TO, body=BODY), print, wait=False)
    guard.suspend(run)
    guard.close()
    Seen.beside = capsys.readouterr().err
    return caught.value.tickets[0]


def plain(text: str) -> bool:
    return all(line.isascii() and line.isprintable() for line in text.splitlines())


def test_every_way_to_show_it_shows_it_escaped(ticket: str, capsys: pytest.CaptureFixture[str]) -> None:
    (question,) = Seen.questions
    on_the_terminal = Seen.beside
    assert main(["approvals"]) == 0
    listed = capsys.readouterr().out
    assert main(["approvals", ticket]) == 0
    shown = capsys.readouterr().out
    for text in (question.text, on_the_terminal, listed, shown):
        assert plain(text)
        assert "\\u202e001 yap\\u2066" in text and "\\u001b[2K" in text
        assert "\n  asks: nobody" not in text
    for text in (question.text, listed, shown):  # a person who decides on it sees the end, too
        assert "xEND" in text and "from: " in text
    assert "xEND" not in on_the_terminal and "[cut: " in on_the_terminal


def test_as_json_it_is_the_arguments_as_they_are_and_one_line_of_ascii(
    ticket: str, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    for words in (["approvals", "--json"], ["approvals", ticket, "--json"]):
        assert main(words) == 0
        text = capsys.readouterr().out
        assert "\x1b" not in text and "\u202e" not in text and plain(text)
        found = json.loads(text)
        one = found[0] if isinstance(found, list) else found
        assert one["arguments"] == {"to": TO, "body": BODY}
        assert set(one["sources"]) == {"to", "body"}


def test_what_is_approved_is_what_was_shown(ticket: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["approve", ticket, "--by", "dana", "--json"]) == 0
    approved = json.loads(capsys.readouterr().out)
    assert (approved["status"], approved["arguments"]) == ("approved", {"to": TO, "body": BODY})
