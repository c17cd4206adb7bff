"""Policy functions and redactors as the guard asks them: in time, on threads, once, and never at fault."""

import asyncio
import contextvars
import logging
import threading
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

from ringfence.engine.decision.events import CallDecided, CallRequested
from ringfence.engine.enforcement import questions
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.seams.errors import DeniedError, EngineError, PendingError
from ringfence.plugin import Email, policy_function, redactor
from tests.guards import ALICE, call, events_of, make_guard

POLICY = """
language 1
policy shop
capability send is external
function is_customer(address: email) gives boolean from "crm"
approver lead { group "leads" answer within 15 minutes otherwise deny }
tool mail {
  needs send
  takes to: list of email, body: text optional
  allow when every address in to satisfies (is_customer(address))
  rate 100 per hour
}
tool sign { needs send takes to: email allow when is_customer(to) ask lead rate 100 per hour }
tool block { needs send takes to: email allow always deny when is_customer(to) rate 100 per hour }
tool note { needs send takes body: text allow always redact body with hide rate 100 per hour }
tool signed_note {
  needs send takes body: text at most 10 allow always ask lead redact body with hide rate 100 per hour
}
tool plain { needs send takes body: text allow always rate 100 per hour }
"""

Answer = Callable[[str], Any]


def crm(answer: Answer, *, timeout_ms: int = 10_000, hide: Callable[[str], str] | None = None) -> ModuleType:
    module = ModuleType("acme.crm")

    def is_customer(address: Email) -> bool:
        return answer(address)  # type: ignore[no-any-return]  # some of them lie

    module.is_customer = policy_function(timeout_ms=timeout_ms)(is_customer)  # type: ignore[attr-defined]
    if hide is not None:

        def own(text: str) -> str:
            assert hide is not None
            return hide(text)

        module.hide = redactor("hide", timeout_ms=timeout_ms)(own)  # type: ignore[attr-defined]
    return module


class Asked:
    """Answers, and remembers what it was asked and where."""

    def __init__(self, *customers: str) -> None:
        self.customers = set(customers)
        self.questions: list[str] = []
        self.threads: list[threading.Thread] = []

    def __call__(self, address: str) -> bool:
        self.questions.append(address)
        self.threads.append(threading.current_thread())
        return address in self.customers


def decisions(guard: Guard, run: Any) -> list[CallDecided]:
    return [event for event in events_of(guard, run) if isinstance(event, CallDecided)]


@pytest.fixture
def make() -> Iterator[Callable[..., Guard]]:
    made: list[Guard] = []

    def guard(*plugins: object, policy: str = POLICY) -> Guard:
        made.append(make_guard(policy, plugins=plugins))
        return made[-1]

    yield guard
    for one in made:
        one.close()


def test_a_condition_asks_the_plugin_and_its_answer_decides(make: Callable[..., Guard]) -> None:
    asked = Asked("ann@acme.example")
    guard = make(crm(asked))
    run = guard.begin_run(principal=ALICE)
    assert guard.execute(run, call("mail", to=["ann@acme.example"]), lambda _: "sent") == "sent"
    with pytest.raises(DeniedError):
        guard.execute(run, call("mail", to=["ann@acme.example", "eve@x.example"]), lambda _: 1)
    first, second = decisions(guard, run)
    assert first.facts["answers"] == {'["is_customer","ann@acme.example"]': ["gave", True]}
    assert second.facts["answers"]['["is_customer","eve@x.example"]'] == ["gave", False]
    assert guard.runs.get(run.id).replay().divergence is None


def test_each_question_is_asked_once_a_decision_on_a_thread_of_its_own(make: Callable[..., Guard]) -> None:
    asked = Asked("ann@acme.example", "bob@acme.example")
    guard = make(crm(asked))
    run = guard.begin_run(principal=ALICE)
    to = ["ann@acme.example", "bob@acme.example", "ann@acme.example"]
    guard.execute(run, call("mail", to=to), lambda _: 1)
    assert sorted(asked.questions) == ["ann@acme.example", "bob@acme.example"]
    assert all(one.daemon and one is not threading.current_thread() for one in asked.threads)


async def test_no_function_runs_on_the_thread_of_the_callers_loop(make: Callable[..., Guard]) -> None:
    asked = Asked("ann@acme.example")
    guard = make(crm(asked))
    run = await guard.abegin_run(principal=ALICE)

    async def body(_: Any) -> str:
        return "sent"

    assert await guard.aexecute(run, call("mail", to=["ann@acme.example"]), body) == "sent"
    assert asked.threads and threading.current_thread() not in asked.threads
    await guard.aclose()


def test_a_function_sees_nothing_of_the_callers_context(make: Callable[..., Guard]) -> None:
    seen: list[object] = []
    secret: contextvars.ContextVar[str] = contextvars.ContextVar("secret", default="nothing")
    secret.set("the host's")

    def answer(_: str) -> bool:
        seen.append(secret.get())
        return True

    guard = make(crm(answer))
    run = guard.begin_run(principal=ALICE)
    guard.execute(run, call("mail", to=["ann@acme.example"]), lambda _: 1)
    assert seen == ["nothing"]


def raises(_: str) -> Any:
    raise RuntimeError("the database of ann@acme.example is down")


def exits(_: str) -> Any:
    raise SystemExit(3)


def is_cancelled(_: str) -> Any:
    raise asyncio.CancelledError


class Lie(str):
    """A text that says it is something else."""


FAULTS: dict[str, Answer] = {
    "raises": raises,
    "exits": exits,
    "is cancelled": is_cancelled,
    "gives nothing": lambda _: None,
    "gives a text": lambda _: "yes",
    "gives a number": lambda _: 1,
    "gives an object": lambda _: object(),
    "gives a subclass": lambda _: Lie("true"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_function_at_fault_leaves_the_condition_undecided_either_way(
    make: Callable[..., Guard], fault: str
) -> None:
    guard = make(crm(FAULTS[fault]))
    run = guard.begin_run(principal=ALICE)
    for tool, arguments in (("mail", {"to": ["ann@acme.example"]}), ("block", {"to": "ann@acme.example"})):
        with pytest.raises(DeniedError):
            guard.execute(run, call(tool, **arguments), lambda _: 1)
    for decided in decisions(guard, run):
        ((_, (how, why)),) = decided.facts["answers"].items()
        assert how == "failed" and "ann@" not in why and "database" not in why
        assert any(reason["name"].endswith("!error") for reason in decided.reasons)
    assert guard.runs.get(run.id).replay().divergence is None


@pytest.fixture
def never() -> Iterator[threading.Event]:
    """An event that functions wait for; it comes when the test is over."""
    event = threading.Event()
    yield event
    event.set()


def test_a_function_that_hangs_is_left_behind_and_the_call_denied(
    make: Callable[..., Guard], never: threading.Event
) -> None:
    guard = make(crm(lambda _: never.wait(), timeout_ms=10))
    run = guard.begin_run(principal=ALICE)
    with pytest.raises(DeniedError):
        guard.execute(run, call("mail", to=["ann@acme.example"]), lambda _: 1)
    (decided,) = decisions(guard, run)
    assert decided.facts["answers"] == {
        '["is_customer","ann@acme.example"]': ["failed", "no answer within 10 ms"]
    }


def test_threads_left_behind_are_bounded_and_others_are_asked_again_when_they_end(
    make: Callable[..., Guard], never: threading.Event
) -> None:
    waiting: list[str] = []

    def answer(address: str) -> bool:
        if address.startswith("slow"):
            waiting.append(address)
            never.wait()
        return True

    guard = make(crm(answer, timeout_ms=50))
    run = guard.begin_run(principal=ALICE)
    slow = [f"slow{n}@acme.example" for n in range(40)]
    with pytest.raises(DeniedError):
        guard.execute(run, call("mail", to=slow), lambda _: 1)
    assert len(waiting) == questions.THREADS_AT_MOST
    (decided,) = decisions(guard, run)
    whys = [why for _, why in decided.facts["answers"].values()]
    assert whys.count("earlier questions to it have not ended") == 40 - questions.THREADS_AT_MOST
    never.set()
    for _ in range(1000):
        try:
            assert guard.execute(run, call("mail", to=["ann@acme.example"]), lambda _: "sent") == "sent"
        except DeniedError:
            continue
        return
    raise AssertionError("the threads that ended were not taken again")


def test_a_decision_asks_at_most_so_many_questions(make: Callable[..., Guard]) -> None:
    asked = Asked(*(f"a{n}@acme.example" for n in range(100)))
    guard = make(crm(asked))
    run = guard.begin_run(principal=ALICE)
    most = questions.QUESTIONS_AT_MOST
    everyone = [f"a{n}@acme.example" for n in range(most)]
    guard.execute(run, call("mail", to=everyone), lambda _: 1)
    with pytest.raises(DeniedError):
        guard.execute(run, call("mail", to=[*everyone, "a99@acme.example"]), lambda _: 1)
    assert len(asked.questions) == 2 * most


@pytest.mark.parametrize("way", ["execute", "begin_run"])
def test_a_function_that_calls_the_guard_is_refused_and_has_no_answer(
    make: Callable[..., Guard], way: str
) -> None:
    met: list[BaseException] = []

    def answer(address: str) -> bool:
        try:
            if way == "execute":
                guard.execute(run, call("plain", body=address), lambda _: 1)
            else:
                guard.begin_run(principal=ALICE)
        except BaseException as error:
            met.append(error)
            raise
        return True

    guard = make(crm(answer))
    run = guard.begin_run(principal=ALICE)
    with pytest.raises(DeniedError):
        guard.execute(run, call("mail", to=["ann@acme.example"]), lambda _: 1)
    assert [type(error) for error in met] == [EngineError]
    assert not any(isinstance(e, CallRequested) and e.tool == "plain" for e in events_of(guard, run))


def test_a_missing_plugin_is_said_loudly_and_its_function_is_undecided(
    make: Callable[..., Guard], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="ringfence"):
        guard = make()
    said = " ".join(record.getMessage() for record in caplog.records)
    assert "`is_customer`" in said and "`crm` is not active" in said and "redactor `hide`" in said
    run = guard.begin_run(principal=ALICE)
    for tool, arguments in (("mail", {"to": ["ann@acme.example"]}), ("note", {"body": "x"})):
        with pytest.raises(DeniedError):
            guard.execute(run, call(tool, **arguments), lambda _: 1)
    assert decisions(guard, run)[0].facts["answers"] == {
        '["is_customer","ann@acme.example"]': ["failed", "no plugin answers it"]
    }


def test_another_type_than_the_declared_one_is_said_loudly(
    make: Callable[..., Guard], caplog: pytest.LogCaptureFixture
) -> None:
    @policy_function()
    def is_customer(address: str) -> bool:
        return True

    module = ModuleType("crm")
    module.is_customer = is_customer  # type: ignore[attr-defined]
    with caplog.at_level(logging.WARNING, logger="ringfence"):
        guard = make(module)
    (said,) = [text for record in caplog.records if "is_customer" in (text := record.getMessage())]
    assert "is_customer(address: text) gives boolean" in said
    run = guard.begin_run(principal=ALICE)
    with pytest.raises(DeniedError):
        guard.execute(run, call("mail", to=["ann@acme.example"]), lambda _: 1)


def test_after_approval_the_function_is_asked_again(make: Callable[..., Guard]) -> None:
    asked = Asked("ann@acme.example")
    guard = make(crm(asked))
    run = guard.begin_run(principal=ALICE)
    pending = guard.authorize(run, call("sign", "c1", to="ann@acme.example"))
    assert pending.asks == ("lead",) and len(asked.questions) == 1
    asked.customers.clear()
    with pytest.raises(Exception) as caught:
        guard.execute(run, call("sign", "c1", to="ann@acme.example"), lambda _: 1, wait=False)
    guard.approve(caught.value.tickets[0], by="dana")  # type: ignore[attr-defined]
    with pytest.raises(DeniedError):
        guard.execute(run, call("sign", "c1", to="ann@acme.example"), lambda _: 1, wait=False)
    assert len(asked.questions) == 2


def test_a_redacted_value_is_what_is_decided_run_and_shown_to_people(make: Callable[..., Guard]) -> None:
    guard = make(crm(lambda _: True, hide=lambda text: text.replace("secret", "***")))
    run = guard.begin_run(principal=ALICE)
    given: list[Any] = []
    guard.execute(run, call("note", body="a secret"), given.append)
    assert given == [{"body": "a ***"}]
    assert decisions(guard, run)[0].arguments == {"body": "a ***"}
    with pytest.raises(Exception) as caught:
        guard.execute(run, call("signed_note", "c1", body="b secret"), given.append, wait=False)
    (ticket,) = guard.opening.loop.submit(guard.opening.ready.tickets.pending()).result()
    assert ticket.arguments == {"body": "b ***"}
    guard.approve(caught.value.tickets[0], by="dana")  # type: ignore[attr-defined]
    guard.execute(run, call("signed_note", "c1", body="b secret"), given.append, wait=False)
    assert given[-1] == {"body": "b ***"}
    assert guard.runs.get(run.id).replay().divergence is None


@pytest.mark.parametrize(
    "hide", [lambda text: text * 100, lambda text: None, lambda text: 1 / 0, lambda text: "\ud800"]
)
def test_a_redactor_at_fault_denies_the_call(make: Callable[..., Guard], hide: Any) -> None:
    guard = make(crm(lambda _: True, hide=hide))
    run = guard.begin_run(principal=ALICE)
    with pytest.raises(DeniedError) as caught:
        guard.execute(run, call("signed_note", body="secret"), lambda _: 1)
    assert caught.value.reason is not None
    assert caught.value.reason.name == "signed_note.redact!error"
    assert guard.runs.get(run.id).replay().divergence is None


def test_a_redactor_that_answers_otherwise_after_the_approval_denies_the_call(
    make: Callable[..., Guard],
) -> None:
    answers = iter(["safe", "leak"])
    guard = make(crm(lambda _: True, hide=lambda _: next(answers)))
    run = guard.begin_run(principal=ALICE)
    sent: list[Any] = []
    with pytest.raises(PendingError) as asked:
        guard.execute(run, call("signed_note", "c1", body="secret"), sent.append, wait=False)
    guard.approve(asked.value.tickets[0], by="dana")
    with pytest.raises(DeniedError) as caught:
        guard.execute(run, call("signed_note", "c1", body="secret"), sent.append, wait=False)
    assert caught.value.reason is not None
    assert caught.value.reason.detail == "it is no longer the call that was approved"
    assert sent == []
    assert guard.runs.get(run.id).replay().divergence is None


async def test_a_caller_that_gives_up_leaves_the_turn_and_takes_nothing(
    make: Callable[..., Guard], never: threading.Event
) -> None:
    reached = threading.Event()

    def answer(address: str) -> bool:
        if address.startswith("slow"):
            reached.set()
            never.wait()
        return True

    guard = make(crm(answer))
    run = await guard.abegin_run(principal=ALICE)
    bodies: list[Any] = []
    waiting = asyncio.create_task(guard.aexecute(run, call("mail", to=["slow@acme.example"]), bodies.append))
    await asyncio.to_thread(reached.wait)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await guard.aexecute(run, call("mail", to=["ann@acme.example"]), bodies.append)
    assert bodies == [{"to": ["ann@acme.example"]}]
    never.set()
    await guard.aclose()


def test_a_plan_without_functions_asks_nobody(make: Callable[..., Guard], monkeypatch: Any) -> None:
    guard = make(crm(Asked()))
    run = guard.begin_run(principal=ALICE)

    def asks(*_: object, **__: object) -> None:
        raise AssertionError("nothing is asked here")

    monkeypatch.setattr(questions.Inquiry, "__init__", asks)
    assert guard.execute(run, call("plain", body="x"), lambda _: "ran") == "ran"


def test_audit_minimal_keeps_questions_and_answers_out_of_the_log(make: Callable[..., Guard]) -> None:
    policy = POLICY.replace("redact body with hide rate 100", "redact body with hide audit minimal rate 100")
    guard = make(crm(lambda _: True, hide=lambda text: text.replace("secret", "***")), policy=policy)
    run = guard.begin_run(principal=ALICE)
    given: list[Any] = []
    guard.execute(run, call("note", body="a secret"), given.append)
    assert given == [{"body": "a ***"}]
    (decided,) = decisions(guard, run)
    ((question, (how, what)),) = decided.facts["answers"].items()
    assert question.startswith("hmac-sha256:") and how == "gave" and list(what) == ["$keyed"]
    assert not any("secret" in repr(event) or "***" in repr(event) for event in events_of(guard, run)[1:])


def test_a_call_that_people_were_asked_about_goes_on_redacted_after_a_resume(
    make: Callable[..., Guard],
) -> None:
    guard = make(crm(lambda _: True, hide=lambda text: text.replace("secret", "***")))
    run = guard.begin_run(principal=ALICE)
    with pytest.raises(Exception) as caught:
        guard.execute(run, call("signed_note", "c1", body="b secret"), lambda _: 1, wait=False)
    guard.suspend(run)
    guard.approve(caught.value.tickets[0], by="dana")  # type: ignore[attr-defined]
    run = guard.resume_run(run.id)
    given: list[Any] = []
    guard.execute(run, call("signed_note", "c1", body="b secret"), given.append, wait=False)
    assert given == [{"body": "b ***"}]
    assert guard.runs.get(run.id).replay().divergence is None


def test_questions_and_answers_that_would_not_fit_the_record_are_not_asked(
    make: Callable[..., Guard], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Asked(*(f"a{n}@acme.example" for n in range(20)))
    guard = make(crm(asked))
    run = guard.begin_run(principal=ALICE)
    monkeypatch.setattr(questions, "RECORDED_AT_MOST", 400)
    with pytest.raises(DeniedError):
        guard.execute(run, call("mail", to=[f"a{n}@acme.example" for n in range(20)]), lambda _: 1)
    assert 0 < len(asked.questions) < 20
    (decided,) = decisions(guard, run)
    assert 0 < sum(map(len, decided.facts["answers"])) <= 400
    assert set(map(str, decided.facts["answers"].values())) == {"['gave', True]"}
    assert guard.runs.get(run.id).replay().divergence is None


def test_a_look_ahead_asks_the_plugin_and_records_nothing() -> None:
    asked: list[str] = []

    def answer(address: str) -> bool:
        asked.append(address)
        return address.endswith("customer.example")

    guard = make_guard(POLICY, plugins=[crm(answer)])
    with guard.run(principal=ALICE) as run:
        before = len(events_of(guard, run))
        assert guard.would_ask(run, call("sign", to="ann@customer.example"))
        assert not guard.would_ask(run, call("sign", to="eve@attacker.example"))
        assert asked == ["ann@customer.example", "eve@attacker.example"]
        assert len(events_of(guard, run)) == before
    guard.close()
