"""The terminal backend, on a real pseudo-terminal."""

import asyncio
import contextlib
import io
import os
import pty
import pwd
import re
import select
import sys
from collections.abc import AsyncIterator, Sequence

import pytest
import pytest_asyncio

from ringfence.plugin import Answer
from ringfence.plugins.approvals_terminal.backend import TerminalBackend, TerminalSettings, read_answer
from ringfence.testing import ApprovalBackendContract, FakeAnswers, question

LOGIN = pwd.getpwuid(os.getuid()).pw_name
PATIENCE_S = 30.0


class Person:
    """Somebody at the other end of a pseudo-terminal."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self.master, slave = pty.openpty()
        os.set_blocking(self.master, False)
        self.typed = os.fdopen(slave, "r", encoding="utf-8")
        self.drawn = os.fdopen(os.dup(slave), "w", encoding="utf-8")
        self._seen = b""
        self._more = asyncio.Event()
        asyncio.get_running_loop().add_reader(self.master, self._read)

    def sits_down(self) -> None:
        """Make it the process's terminal; in the test itself, since pytest sets its own for each phase."""
        self._monkeypatch.setattr(sys, "stdin", self.typed)
        self._monkeypatch.setattr(sys, "stderr", self.drawn)

    def _read(self) -> None:
        try:
            while data := os.read(self.master, 65_536):
                self._seen += data
        except OSError:  # nothing more for now, or hung up
            pass
        self._more.set()

    @property
    def screen(self) -> str:
        self._read()
        return self._seen.decode("utf-8", errors="replace").replace("\r\n", "\n")

    async def sees(self, text: str, times: int = 1) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while self.screen.count(text) < times:
                self._more.clear()
                await self._more.wait()

    def types(self, line: str) -> None:
        os.write(self.master, f"{line}\n".encode())

    def hang_up(self) -> None:
        asyncio.get_running_loop().remove_reader(self.master)
        if self.master >= 0:
            os.close(self.master)
            self.master = -1

    def leave(self) -> None:
        if self.master >= 0:
            self.hang_up()
        for file in (self.typed, self.drawn):
            with contextlib.suppress(OSError):
                file.close()


@pytest_asyncio.fixture
async def person(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Person]:
    somebody = Person(monkeypatch)
    yield somebody
    somebody.leave()


class TestTerminalBackend(ApprovalBackendContract):
    """The contract, kept on a pseudo-terminal."""

    @pytest_asyncio.fixture(autouse=True)
    async def _sit_down(self, person: Person) -> None:
        self.at = person

    def make(self) -> TerminalBackend:
        self.at.sits_down()
        return TerminalBackend(TerminalSettings(people={LOGIN: "dana"}))

    async def say(self, ticket: str, verdict: Answer, because: str | None = None) -> None:
        await self.at.sees(f"{ticket}  [")
        self.at.types(f"y {ticket[-4:]}" if verdict == "approve" else f"n {because or ''}")

    async def shown(self) -> Sequence[str]:
        asked = re.findall(r"^\r?(T-\w+)(?:: support wants| waits too)", self.at.screen, re.MULTILINE)
        gone = re.findall(r"(T-\w+) (?:withdrawn|approved|rejected|not answered)", self.at.screen)
        return [ticket for ticket in asked if ticket not in gone]

    async def display(self, ticket: str) -> str:
        text = self.at.screen
        return text[text.index(f"{ticket}: ") : text.index(f"{ticket}  [")]

    async def break_down(self) -> None:
        self.at.hang_up()


def backend(person: Person | None, **settings: object) -> TerminalBackend:
    if person is not None:
        person.sits_down()
    return TerminalBackend(TerminalSettings.model_validate(settings))


async def test_the_answer_is_given_in_the_name_of_the_operating_systems_user(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(variable, "mallory")
    terminal, answers = backend(person), FakeAnswers()
    await terminal.ask(question("T-AAAA1111"), answers)
    person.types("y")
    (answer,) = await answers.wait()
    assert (answer.verdict, answer.by) == ("approve", LOGIN)
    await person.sees(f"T-AAAA1111 approved by {LOGIN}")
    await terminal.close()


async def test_what_was_typed_before_the_question_is_no_answer_to_it(person: Person) -> None:
    person.types("y")
    assert select.select([person.typed], [], [], PATIENCE_S)[0], "it has reached the terminal's input"
    terminal, answers = backend(person), FakeAnswers()
    await terminal.ask(question("T-AAAA1111"), answers)
    person.types("n not this")
    (answer,) = await answers.wait()
    assert (answer.verdict, answer.because) == ("reject", "not this")
    await terminal.close()


async def test_after_a_withdrawal_a_bare_y_does_not_approve_the_next_question(person: Person) -> None:
    terminal, answers = backend(person), FakeAnswers()
    await terminal.ask(question("T-AAAA1111"), answers)
    await terminal.ask(question("T-BBBB2222"), answers)
    await terminal.withdraw("T-AAAA1111", "answered elsewhere")
    await person.sees("T-BBBB2222  [y 2222 = approve")
    person.types("y")
    await person.sees("T-BBBB2222  [y 2222 = approve", times=2)
    assert answers.counted == []
    person.types("y 2222")
    (answer,) = await answers.wait()
    assert (answer.ticket, answer.verdict) == ("T-BBBB2222", "approve")
    await terminal.close()


async def test_an_answer_that_says_neither_is_asked_again(person: Person) -> None:
    terminal, answers = backend(person), FakeAnswers()
    await terminal.ask(question("T-AAAA1111"), answers)
    for times, line in enumerate(["maybe", "", "yy", "y T-BBBB2222", "approve"], start=2):
        person.types(line)
        await person.sees("T-AAAA1111  [", times=times)
    assert answers.counted == []
    person.types("yes")
    (answer,) = await answers.wait()
    assert answer.verdict == "approve"
    await terminal.close()


async def test_a_person_outside_the_group_is_told_how_others_can_answer(person: Person) -> None:
    terminal, answers = backend(person), FakeAnswers(people=["dana"])
    await terminal.ask(question("T-AAAA1111"), answers)
    person.types("y")
    await answers.wait_refused()
    await person.sees("ringfence approve T-AAAA1111 --by NAME")
    assert f"{LOGIN} may not answer" in person.screen and answers.counted == []
    await terminal.close()


async def test_end_of_input_answers_nothing_and_says_how_to_answer_elsewhere(person: Person) -> None:
    terminal, answers = backend(person), FakeAnswers()
    await terminal.ask(question("T-AAAA1111"), answers)
    os.write(person.master, b"\x04")
    await person.sees("ringfence approve T-AAAA1111 --by NAME")
    assert answers.counted == [] and answers.refused == []
    await terminal.close()


async def test_a_huge_argument_is_cut_and_says_so(person: Person) -> None:
    terminal = backend(person)
    await terminal.ask(question("T-AAAA1111", arguments={"body": "x" * 100_000}), FakeAnswers())
    await person.sees("T-AAAA1111  [")
    assert "[cut: 96002 of 100002 characters are not shown]" in person.screen
    await terminal.close()


@pytest.mark.parametrize("settings", [{}, {"prompt": False}])
async def test_without_a_terminal_it_says_once_how_to_answer(
    settings: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    written = io.StringIO()
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    monkeypatch.setattr(sys, "stderr", written)
    terminal, answers = backend(None, **settings), FakeAnswers()
    await terminal.ask(question("T-AAAA1111"), answers)
    await terminal.ask(question("T-AAAA1111"), answers)
    text = written.getvalue()
    assert text.count("ringfence approve T-AAAA1111 --by NAME") == 1
    assert "send_email" in text and "ann@customer.example" in text and "answer within: 15 min" in text
    await terminal.withdraw("T-AAAA1111", "it has expired")
    assert "T-AAAA1111 withdrawn: it has expired" in written.getvalue()
    assert answers.counted == []
    await terminal.close()


async def test_prompting_can_be_switched_off_where_there_is_a_terminal(person: Person) -> None:
    terminal, answers = backend(person, prompt=False), FakeAnswers()
    await terminal.ask(question("T-AAAA1111"), answers)
    await person.sees("ringfence approve T-AAAA1111 --by NAME")
    assert "T-AAAA1111  [" not in person.screen
    await terminal.close()


async def test_without_standard_error_the_question_cannot_be_delivered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    with pytest.raises(OSError, match="standard error"):
        await backend(None).ask(question(), FakeAnswers())


@pytest.mark.parametrize(
    ("line", "careful", "said"),
    [
        ("y", False, ("approve", None)),
        (" YES \n", False, ("approve", None)),
        ("y", True, None),
        ("y 1111", True, ("approve", None)),
        ("y t-aaaa1111", True, ("approve", None)),
        ("y 111", True, None),
        ("y 2222", False, None),
        ("y because I say so", False, None),
        ("n", True, ("reject", None)),
        ("no too many", False, ("reject", "too many")),
        ("", False, None),
        ("nope", False, None),
    ],
)
def test_only_a_clear_answer_counts(line: str, careful: bool, said: tuple[Answer, str | None] | None) -> None:
    assert read_answer(line, "T-AAAA1111", careful=careful) == said
