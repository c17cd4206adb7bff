"""A guard that asks over the webhook: the whole way, there and back, over real HTTP."""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from langchain_core.tools import tool

from ringfence.engine.decision.events import ApprovalAnswered
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.seams.errors import DeniedError, EngineError
from ringfence.testing import FakeClock
from tests.adapters.langchain.agents import agent_of, replies
from tests.adapters.langchain.model import asks, says
from tests.adapters.langchain.model import call as asked_for
from tests.guards import ALICE, call, events_of, make_guard
from tests.plugins.webhook.people import CALLBACK_SECRET, SECRET, Receiver, post, receiving

ROOT = Path(__file__).parents[3]


@pytest_asyncio.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


def guarded(receiver: Receiver, **about: Any) -> Guard:
    """Return a guard whose questions go to the receiver."""
    section = {
        "url": receiver.url,
        "secret": SECRET,
        "listen": "127.0.0.1:0",
        "callback_secret": CALLBACK_SECRET,
        **about.pop("section", {}),
    }
    return make_guard(approvals={"default": "webhook"}, backends={"webhook": section}, **about)


def port_of(guard: Guard) -> int:
    port = guard.opening.extensions._backends["webhook"].port  # type: ignore[attr-defined]
    assert isinstance(port, int)
    return port


class Payments:
    """What was paid."""

    def __init__(self) -> None:
        self.made: list[int] = []

    async def __call__(self, arguments: Mapping[str, Any]) -> str:
        self.made.append(arguments["amount"])
        return "paid"


async def asking(
    guard: Guard, run: Run, receiver: Receiver, paid: Payments, *, amount: int = 5, known: Iterable[str] = ()
) -> tuple["asyncio.Task[Any]", str]:
    """Begin a payment, and return it with its ticket once the receiver has the question."""
    pay = asyncio.create_task(guard.aexecute(run, call("pay", amount=amount), paid))
    before = set(known)
    await receiver.until(lambda: len(set(receiver.asked) - before) == 1)
    (ticket,) = set(receiver.asked) - before
    return pay, ticket


async def test_an_agent_asks_and_goes_on_when_somebody_has_approved(receiver: Receiver) -> None:
    sent: list[str] = []

    @tool
    def mail(to: str) -> str:
        """Send a mail."""
        sent.append(to)
        return f"sent to {to}"

    policy = """language 1
policy desk
capability work is read
approver lead { group "leads"  never the requester  answer within 15 minutes otherwise deny }
tool mail { needs work  takes to: text  allow always  ask lead }
"""
    guard = guarded(receiver, policy=policy)
    agent = agent_of(guard, [mail], asks(asked_for("mail", "c1", to="bob")), says())
    going = asyncio.create_task(agent.ainvoke({"messages": [("user", "mail bob")]}, context=ALICE))
    await receiver.until(lambda: len(receiver.asked) == 1)
    ((ticket, question),) = receiver.asked.items()
    assert (question["tool"], question["arguments"], question["requester"]) == (
        "mail",
        {"to": "bob"},
        "alice",
    )
    assert question["sources"] == {"to": ["user"]} and "mail" in question["text"]
    assert sent == []
    answer = {"ticket": ticket, "verdict": "approve", "by": "dana", "because": "fine"}
    assert (await post(port_of(guard), answer))[0] == 200
    assert replies(await going) == ["sent to bob"] and sent == ["bob"]
    await receiver.until(lambda: ticket in receiver.withdrawn)
    assert receiver.withdrawn == {ticket: "answered by dana"}
    await guard.aclose()


async def test_a_rejection_denies_and_its_reason_is_recorded(receiver: Receiver) -> None:
    guard, paid = guarded(receiver), Payments()
    run = await guard.abegin_run(principal=ALICE, agent="main")
    pay, ticket = await asking(guard, run, receiver, paid)
    answer = {"ticket": ticket, "verdict": "reject", "by": "dana", "because": "not today"}
    assert (await post(port_of(guard), answer))[0] == 200
    with pytest.raises(DeniedError):
        await pay
    said = [e for e in events_of(guard, run) if isinstance(e, ApprovalAnswered)]
    assert [(e.verdict, e.by, e.because) for e in said] == [("reject", "dana", "not today")]
    assert paid.made == []
    await guard.aclose()


async def test_edited_arguments_are_decided_anew_and_run(receiver: Receiver) -> None:
    guard, paid = guarded(receiver), Payments()
    run = await guard.abegin_run(principal=ALICE, agent="main")
    pay, ticket = await asking(guard, run, receiver, paid)
    yes = {"ticket": ticket, "verdict": "approve", "by": "dana"}
    assert (await post(port_of(guard), {**yes, "edited": {"amount": 3}}))[0] == 200
    assert await pay == "paid" and paid.made == [3]
    pay, second = await asking(guard, run, receiver, paid, known=[ticket])
    status, _ = await post(port_of(guard), {**yes, "ticket": second, "edited": {"amount": 1_000}})
    assert status == 200
    with pytest.raises(DeniedError):  # the policy allows no more than 100, whoever approves it
        await pay
    assert paid.made == [3]
    await guard.aclose()


async def test_the_wrong_person_a_second_answer_and_an_unknown_ticket_change_nothing(
    receiver: Receiver,
) -> None:
    guard, paid = guarded(receiver), Payments()
    run = await guard.abegin_run(principal=ALICE, agent="main")
    pay, ticket = await asking(guard, run, receiver, paid)
    yes = {"ticket": ticket, "verdict": "approve", "by": "dana"}
    for by, why in (("mallory", "not in the group `leads`"), ("alice", "the requester may not answer")):
        status, said = await post(port_of(guard), {**yes, "by": by})
        assert (status, said["counted"]) == (409, False) and why in said["error"]
    status, said = await post(port_of(guard), {**yes, "ticket": "T-00000000"})
    assert (status, said["error"]) == (404, "there is no ticket `T-00000000`")
    assert await post(port_of(guard), yes, secret=SECRET) == (401, None)
    assert not pay.done() and paid.made == []
    assert (await post(port_of(guard), yes, message_id="msg_yes"))[0] == 200
    assert await pay == "paid"
    status, said = await post(port_of(guard), {**yes, "by": "erik", "verdict": "reject"})
    assert status == 409 and "already" in said["error"]
    assert (await post(port_of(guard), yes, message_id="msg_yes"))[0] == 200
    assert paid.made == [5]
    await guard.aclose()


async def test_a_late_answer_has_no_effect(receiver: Receiver) -> None:
    clock = FakeClock()
    guard, paid = guarded(receiver, clock=clock), Payments()
    run = await guard.abegin_run(principal=ALICE, agent="main")
    pay, ticket = await asking(guard, run, receiver, paid)
    clock.advance(16 * 60)
    status, said = await post(port_of(guard), {"ticket": ticket, "verdict": "approve", "by": "dana"})
    assert (status, said["counted"]) == (409, False)
    with pytest.raises(DeniedError):
        await pay
    assert paid.made == []
    await guard.aclose()


async def test_a_question_that_nobody_takes_denies_the_call(receiver: Receiver) -> None:
    guard, paid = guarded(receiver, section={"within_s": 0.5}), Payments()
    run = await guard.abegin_run(principal=ALICE, agent="main")
    receiver.statuses = [500] * 100
    with pytest.raises(EngineError, match=r"approval backend `webhook` could not ask: .*it answered 500"):
        await guard.aexecute(run, call("pay", amount=5), paid)
    assert paid.made == []
    await guard.aclose()


async def test_limits_of_the_settings_end_the_tries_too(receiver: Receiver) -> None:
    guard, paid = guarded(receiver, limits={"backend_s": 0.5}), Payments()
    run = await guard.abegin_run(principal=ALICE, agent="main")
    receiver.statuses = [500] * 100
    with pytest.raises(EngineError, match=r"no answer within 0.5 s"):
        await guard.aexecute(run, call("pay", amount=5), paid)
    assert paid.made == []
    await guard.aclose()


async def test_a_port_that_is_taken_opens_no_guard(receiver: Receiver) -> None:
    first = guarded(receiver)
    await first.aopen()
    second = guarded(receiver, section={"listen": f"127.0.0.1:{port_of(first)}"})
    with pytest.raises(EngineError, match=r"approval backend `webhook` cannot be opened: .*cannot listen on"):
        await second.abegin_run(principal=ALICE, agent="main")
    await first.aclose()


async def test_a_question_outlives_its_process_and_is_answered_to_another(
    receiver: Receiver, tmp_path: Path
) -> None:
    """One process asks and dies, a second takes the answer and never asked, a third goes on."""
    store = f"sqlite:///{tmp_path}/guard.db"
    asked = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.plugins.webhook.asking_process", store, receiver.url),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await asked.communicate()
    run_id = out.decode().strip()
    assert asked.returncode == 9 and run_id
    (ticket,) = receiver.asked

    taking = guarded(receiver, store=store)
    await taking.aopen()
    yes = {"ticket": ticket, "verdict": "approve", "by": "dana"}
    assert (await post(port_of(taking), yes))[0] == 200
    await taking.aclose()

    paid = Payments()
    for _ in range(2):  # going on again: the same call has its result
        going_on = guarded(receiver, store=store)
        run = await going_on.aresume_run(run_id, principal=ALICE)
        assert await going_on.aexecute(run, call("pay", "c1", amount=5), paid, wait=False) == "paid"
        assert (await post(port_of(going_on), yes))[0] == 409
        await going_on.asuspend(run)
        await going_on.aclose()
    assert paid.made == [5]
