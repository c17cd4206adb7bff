"""What every approval backend must do: subclass `ApprovalBackendContract`.

`FakeAnswers` stands for the guard.
"""

import asyncio
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pytest

from ringfence.dsl.plan import Json
from ringfence.engine.seams.errors import DeniedError
from ringfence.engine.seams.hookspecs import Answer, ApprovalBackend, Question
from ringfence.testing.clock import START_NS

_PATIENCE_S = 30.0  # how long a lost answer may hold up a test run; nothing is measured


@dataclass(frozen=True, slots=True)
class Answered:
    """One answer that counted."""

    ticket: str
    verdict: Answer
    by: str
    because: str | None = None
    edited: Mapping[str, Json] | None = None


class FakeAnswers:
    """An `Answers` that keeps what it is told, and refuses like the guard.

    A ticket is answered once.  `close_ticket` is an answer that came by another way; `people` are those
    who may answer (None: everyone).
    """

    def __init__(self, people: Sequence[str] | None = None) -> None:
        self.counted: list[Answered] = []
        """The answers that counted, in order."""
        self.refused: list[Answered] = []
        """The answers that were refused, in order."""
        self._people = people
        self._closed: set[str] = set()
        self._changed = asyncio.Condition()

    async def resolve(
        self,
        ticket: str,
        verdict: Answer,
        *,
        by: str,
        because: str | None = None,
        edited: Mapping[str, Json] | None = None,
    ) -> None:
        """Count the answer, or raise DeniedError."""
        answer = Answered(ticket, verdict, by, because, edited)
        async with self._changed:
            why = None
            if ticket in self._closed:
                why = f"{ticket} is no longer open"
            elif self._people is not None and by not in self._people:
                why = f"{by} may not answer {ticket}"
            if why is None:
                self._closed.add(ticket)
                self.counted.append(answer)
            else:
                self.refused.append(answer)
            self._changed.notify_all()
        if why is not None:
            raise DeniedError(why)

    def close_ticket(self, ticket: str) -> None:
        """Let `ticket` be answered elsewhere: from now on answers to it are refused."""
        self._closed.add(ticket)

    async def wait(self, count: int = 1) -> list[Answered]:
        """Wait until `count` answers have counted, and return all that have."""
        return await self._until(self.counted, count)

    async def wait_refused(self, count: int = 1) -> list[Answered]:
        """Wait until `count` answers were refused, and return all that were."""
        return await self._until(self.refused, count)

    async def _until(self, answers: list[Answered], count: int) -> list[Answered]:
        async with asyncio.timeout(_PATIENCE_S), self._changed:
            await self._changed.wait_for(lambda: len(answers) >= count)
            return list(answers)


def question(ticket: str = "T-AAAA1111", **fields: object) -> Question:
    """Return a question to the group `support-leads`, with `fields` in place of the usual ones."""
    usual: dict[str, object] = {
        "ticket": ticket,
        "run": "run-1",
        "agent": "support",
        "tool": "send_email",
        "arguments": {"to": ["ann@customer.example"], "subject": "hello"},
        "approver": "support_lead",
        "group": "support-leads",
        "because": "more than three recipients",
        "requester": "alice",
        "asked_ns": START_NS,
        "expires_ns": START_NS + 900_000_000_000,
    }
    return Question(**{**usual, **fields})  # type: ignore[arg-type]  # the fields are the caller's


class ApprovalBackendContract(ABC):
    """Tests that pytest runs for each subclass whose name begins with `Test`.

    Bring `make`, `say`, `shown`, `display` and `break_down`; fixtures are at hand as in any test class.
    Needs pytest-asyncio in `auto` mode.
    """

    person = "dana"
    """A person whom the backend can verify."""

    @abstractmethod
    def make(self) -> ApprovalBackend:
        """Return a backend, not yet opened."""

    @abstractmethod
    async def say(self, ticket: str, verdict: Answer, because: str | None = None) -> None:
        """Answer as `person` would, at that person's end; whatever that person is told is no failure."""

    @abstractmethod
    async def shown(self) -> Sequence[str]:
        """Return the tickets that a person is shown as open, in any order."""

    @abstractmethod
    async def display(self, ticket: str) -> str:
        """Return what a person has been shown for `ticket`."""

    @abstractmethod
    async def break_down(self) -> None:
        """Make the place where people are asked unavailable from now on."""

    async def test_it_is_named_and_says_what_may_be_set(self) -> None:
        backend = self.make()
        assert backend.name and backend.name == type(backend).name

    async def test_a_question_is_shown_when_ask_returns_and_not_answered_by_itself(self) -> None:
        backend, answers = await self._opened()
        await backend.ask(question("T-AAAA1111"), answers)
        assert list(await self.shown()) == ["T-AAAA1111"]
        assert answers.counted == []
        await backend.close()

    async def test_an_approval_arrives_with_the_name_of_the_person(self) -> None:
        backend, answers = await self._opened()
        await backend.ask(question("T-AAAA1111"), answers)
        await self.say("T-AAAA1111", "approve")
        (answer,) = await answers.wait()
        assert (answer.ticket, answer.verdict, answer.by) == ("T-AAAA1111", "approve", self.person)
        assert answer.edited is None
        await backend.close()

    async def test_a_rejection_arrives_with_its_reason(self) -> None:
        backend, answers = await self._opened()
        await backend.ask(question("T-AAAA1111"), answers)
        await self.say("T-AAAA1111", "reject", "not to this customer, Grüße")
        (answer,) = await answers.wait()
        assert (answer.verdict, answer.because) == ("reject", "not to this customer, Grüße")
        await backend.close()

    async def test_what_a_model_wrote_cannot_draw_over_the_question(self) -> None:
        backend, answers = await self._opened()
        nasty = "\x1b[2J\r\n\x07\u202eelpmaxe.kcatta\u202c\u200b\u2028 and 世界"
        await backend.ask(question("T-AAAA1111", arguments={"to": nasty, "\u202ekey": nasty}), answers)
        text = await self.display("T-AAAA1111")
        bad = [c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp") and c != "\n"]
        assert bad == []
        for part in ("send_email", "世界", "\\u202e", "\\u200b", "support_lead", "more than three", "alice"):
            assert part in text
        await backend.close()

    async def test_a_question_asked_again_is_still_one_question(self) -> None:
        backend, answers = await self._opened()
        await backend.ask(question("T-AAAA1111"), answers)
        await backend.ask(question("T-AAAA1111"), answers)
        assert list(await self.shown()) == ["T-AAAA1111"]
        await self.say("T-AAAA1111", "approve")
        await self._barrier(backend, answers, counted_before=1)
        assert [answer.ticket for answer in answers.counted] == ["T-AAAA1111", "T-ZZZZ9999"]
        await backend.close()

    async def test_two_questions_are_told_apart(self) -> None:
        backend, answers = await self._opened()
        await backend.ask(question("T-AAAA1111"), answers)
        await backend.ask(question("T-BBBB2222"), answers)
        assert sorted(await self.shown()) == ["T-AAAA1111", "T-BBBB2222"]
        await self.say("T-AAAA1111", "approve")
        await answers.wait(1)
        await self.say("T-BBBB2222", "reject", "no")
        both = await answers.wait(2)
        assert {(answer.ticket, answer.verdict) for answer in both} == {
            ("T-AAAA1111", "approve"),
            ("T-BBBB2222", "reject"),
        }
        await backend.close()

    async def test_a_withdrawn_question_is_no_longer_open_and_a_late_answer_does_not_count(self) -> None:
        backend, answers = await self._opened()
        await backend.ask(question("T-AAAA1111"), answers)
        answers.close_ticket("T-AAAA1111")
        await backend.withdraw("T-AAAA1111", "it has expired")
        assert list(await self.shown()) == []
        await self.say("T-AAAA1111", "approve")
        await self._barrier(backend, answers, counted_before=0)
        assert [answer.ticket for answer in answers.counted] == ["T-ZZZZ9999"]
        await backend.close()

    async def test_withdrawing_twice_or_what_was_never_asked_changes_nothing(self) -> None:
        backend, answers = await self._opened()
        await backend.withdraw("T-CCCC3333", "never asked here")
        await backend.ask(question("T-AAAA1111"), answers)
        await backend.withdraw("T-CCCC3333", "never asked here")
        assert list(await self.shown()) == ["T-AAAA1111"]
        await backend.withdraw("T-AAAA1111", "answered elsewhere")
        await backend.withdraw("T-AAAA1111", "answered elsewhere")
        assert list(await self.shown()) == []
        await backend.close()

    async def test_a_refused_answer_leaves_the_backend_working(self) -> None:
        backend, answers = await self._opened()
        await backend.ask(question("T-AAAA1111"), answers)
        answers.close_ticket("T-AAAA1111")
        await self.say("T-AAAA1111", "approve")
        await answers.wait_refused()
        await backend.withdraw("T-AAAA1111", "answered elsewhere")
        await self._barrier(backend, answers, counted_before=0)
        assert [answer.ticket for answer in answers.counted] == ["T-ZZZZ9999"]
        await backend.close()

    async def test_a_question_that_cannot_be_delivered_raises(self) -> None:
        backend, answers = await self._opened()
        await self.break_down()
        with pytest.raises(Exception):  # noqa: B017 - which exception is the backend's own business
            await backend.ask(question(), answers)
        assert answers.counted == []
        await backend.close()

    async def test_asking_after_close_raises(self) -> None:
        backend, answers = await self._opened()
        await backend.close()
        with pytest.raises(Exception):  # noqa: B017 - as above
            await backend.ask(question(), answers)

    async def test_closing_answers_nothing_and_may_happen_twice_or_without_opening(self) -> None:
        await self.make().close()
        backend, answers = await self._opened()
        await backend.ask(question("T-AAAA1111"), answers)
        await backend.close()
        await backend.close()
        assert answers.counted == [] and answers.refused == []

    async def _opened(self) -> tuple[ApprovalBackend, FakeAnswers]:
        backend, answers = self.make(), FakeAnswers()
        backend.answers = answers
        await backend.open()
        return backend, answers

    async def _barrier(self, backend: ApprovalBackend, answers: FakeAnswers, *, counted_before: int) -> None:
        """Ask and answer one more: whatever was said earlier has been heard by then."""
        await answers.wait(counted_before)
        await backend.ask(question("T-ZZZZ9999"), answers)
        await self.say("T-ZZZZ9999", "approve")
        await answers.wait(counted_before + 1)
