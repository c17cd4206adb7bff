"""Output functions run with the model's arguments: each is a tool of its name, or runs nothing."""

from typing import Any

import pytest
from pydantic import BaseModel
from pydantic_ai import Agent, ToolOutput
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.exceptions import UnexpectedModelBehavior
from pydantic_ai.output import NativeOutput, TextOutput

from ringfence.adapters.pydantic_ai import Guarded
from ringfence.engine.decision import events as e
from tests.adapters.pydantic_ai.agents import ALICE, Notes, asked, events, play, statuses, verdicts
from tests.adapters.pydantic_ai.conftest import LoadGuard
from tests.adapters.pydantic_ai.scripted import Script

PAY = "tool pay { needs work  takes to: text, amount: integer  allow when amount <= 100 }\n"


class Order(BaseModel):
    """What to pay."""

    to: str
    amount: int


async def test_an_output_function_is_decided_on_its_arguments(load: LoadGuard) -> None:
    guard, notes = load(PAY), Notes()

    def pay(to: str, amount: int) -> str:
        """Pay."""
        return notes.note("pay", to=to, amount=amount)

    played = await play(
        guard,
        asked("final_result", to="bob", amount="500"),
        asked("final_result", id="c2", to="bob", amount="5"),
        output_type=pay,
    )
    assert notes.ran == [("pay", {"to": "bob", "amount": 5})]
    assert played.output == "pay did it"
    assert await verdicts(guard) == [("pay", "deny"), ("pay", "allow")]
    assert "not authorized" in played.told[0].text
    (finished,) = await events(guard, e.CallFinished)
    assert finished.result == "pay did it"


async def test_so_is_one_that_takes_a_model(load: LoadGuard) -> None:
    guard, notes = load(PAY), Notes()

    def pay(order: Order) -> str:
        """Pay."""
        return notes.note("pay", order=order)

    played = await play(
        guard,
        asked("spend", to="bob", amount=500),
        asked("spend", id="c2", to="bob", amount=5),
        output_type=ToolOutput(pay, name="spend"),
    )
    assert notes.ran == [("pay", {"order": Order(to="bob", amount=5)})]
    assert played.output == "pay did it"


async def test_so_is_one_that_takes_one_value(load: LoadGuard) -> None:
    guard, notes = load("tool pick { needs work  takes number: integer  allow when number < 3 }\n"), Notes()

    def pick(number: int) -> int:
        """Pick."""
        notes.note("pick", number=number)
        return number

    played = await play(
        guard, asked("final_result", number=7), asked("final_result", id="c2", number=2), output_type=pick
    )
    assert notes.ran == [("pick", {"number": 2})]
    assert played.output == 2


async def test_so_is_one_that_takes_the_models_text(load: LoadGuard) -> None:
    guard, notes = load('tool post { needs work  takes text: text  allow when text == "done" }\n'), Notes()

    def post(text: str) -> str:
        """Post it."""
        return notes.note("post", text=text)

    played = await play(guard, output_type=TextOutput(post))
    assert played.output == "post did it"
    with pytest.raises(UnexpectedModelBehavior):
        await play(guard, script=Script([], last="something else"), output_type=TextOutput(post))
    assert notes.ran == [("post", {"text": "done"})]
    assert await statuses(guard) == ["done", "failed"]


async def test_one_that_the_policy_does_not_declare_never_runs_and_is_said_to_be(
    load: LoadGuard, capsys: pytest.CaptureFixture[str]
) -> None:
    guard, notes = load(""), Notes()

    def unheard(to: str) -> str:
        """Pay."""
        return notes.note("unheard", to=to)

    with pytest.raises(UnexpectedModelBehavior):
        await play(guard, asked("final_result", to="bob"), output_type=unheard)
    assert notes.ran == []
    assert "`unheard`" in capsys.readouterr().err


async def test_one_whose_name_is_known_only_by_what_the_model_says_never_runs(load: LoadGuard) -> None:
    guard, notes = load(PAY), Notes()

    def pay(order: Order) -> str:
        """Pay."""
        return notes.note("pay", order=order)

    script = Script([], last='{"result": {"kind": "pay", "data": {"to": "bob", "amount": 5}}}')
    with pytest.raises(UnexpectedModelBehavior):
        await play(guard, script=script, output_type=NativeOutput([pay, Order]))
    assert notes.ran == []


async def test_an_output_cannot_be_changed_after_the_decision(load: LoadGuard) -> None:
    class Changing(AbstractCapability[Any]):
        async def before_output_process(self, ctx: Any, *, output_context: Any, output: Any) -> Any:
            return {**output, "amount": 500}

    guard, notes = load(PAY), Notes()

    def pay(to: str, amount: int) -> str:
        """Pay."""
        return notes.note("pay", to=to, amount=amount)

    with pytest.raises(UnexpectedModelBehavior):
        await play(
            guard, asked("final_result", to="bob", amount=5), output_type=pay, capabilities=[Changing()]
        )
    assert notes.ran == []


async def test_nothing_runs_on_an_output_that_is_not_complete(load: LoadGuard) -> None:
    guard, notes = (
        load(
            PAY.replace("to: text, amount: integer", "to: text, amount: integer optional").replace(
                "amount <= 100", 'to == "bob"'
            )
        ),
        Notes(),
    )

    def pay(to: str, amount: int = 1) -> str:
        """Pay."""
        return notes.note("pay", to=to, amount=amount)

    agent: Agent[None, str] = Agent(
        Script([asked("final_result", to="bob", amount=5)]).model(),
        output_type=pay,
        capabilities=[Guarded(guard, principal=ALICE)],
    )
    async with agent.run_stream("go") as streamed:
        outputs = [output async for output in streamed.stream_output(debounce_by=None)]
    assert outputs == ["pay did it"]
    assert notes.ran == [("pay", {"to": "bob", "amount": 5})]


async def test_an_output_without_a_function_is_no_call(load: LoadGuard) -> None:
    guard = load("")
    played = await play(guard, asked("final_result", to="bob", amount=5), output_type=Order)
    assert played.output == Order(to="bob", amount=5)
    assert await verdicts(guard) == []
    assert await statuses(guard) == ["done"]


async def test_people_are_waited_for_in_place(load: LoadGuard) -> None:
    import asyncio

    guard, notes = (
        load("tool pay { needs work  takes to: text, amount: integer  allow always  ask lead }\n"),
        Notes(),
    )

    def pay(to: str, amount: int) -> str:
        """Pay."""
        return notes.note("pay", to=to, amount=amount)

    playing = asyncio.create_task(play(guard, asked("final_result", to="bob", amount=5), output_type=pay))
    opening = guard.opening
    tickets: Any = ()
    for _ in range(2_000):
        if opening.is_open and (
            tickets := await asyncio.wrap_future(opening.submit(opening.ready.tickets.pending()))
        ):
            break
        await asyncio.sleep(0.005)
    assert notes.ran == []
    await guard.aapprove(tickets[0].id, by="dana")
    assert (await playing).output == "pay did it"
    assert notes.ran == [("pay", {"to": "bob", "amount": 5})]
