"""Questions to people: in the client where the requester may answer, a ticket for everybody else."""

import json
from typing import Any

import mcp_types as types
import pytest
from mcp.server.mcpserver import MCPServer
from mcp.shared.exceptions import MCPError

from ringfence.engine.decision.events import ApprovalAnswered, CallFinished
from tests.adapters.mcp.near import ERAS, Near, answers, near, text_of

POLICY = """
language 1
policy paying
capability send is external
approver self { group "leads" answer within 15 minutes otherwise deny }
approver lead { group "leads" never the requester answer within 15 minutes otherwise deny }
approver olga { group "owners" answer within 15 minutes otherwise deny }
agent main { holds send }
tool pay {
  needs send  takes amount: integer  allow always
  ask self when amount < 10
  ask lead when amount >= 10 and amount < 100
  ask olga when amount >= 100
  ask olga when amount == 5
}
"""


def shop(paid: list[int]) -> MCPServer:
    server = MCPServer("shop")

    @server.tool(structured_output=False)
    def pay(amount: int) -> str:
        paid.append(amount)
        return f"paid {amount}"

    return server


@pytest.mark.parametrize("era", ERAS)
async def test_the_requester_approves_in_the_client_where_the_policy_lets_them(era: str) -> None:
    paid: list[int] = []
    seen: list[str] = []
    asked = answers("accept", True, seen)
    async with near(POLICY, shop(paid), era=era, elicitation_callback=asked) as here:
        assert await here.told("pay", amount=3) == "paid 3"
        assert seen == ['Ringfence asks: run `pay` with {"amount": 3}?']
        (answered,) = here.events(ApprovalAnswered)
        assert (answered.verdict, answered.by) == ("approve", "alice")
        assert await here.told("pay", amount=3) == "paid 3" and len(seen) == 2, "each call asks for itself"
    assert paid == [3, 3]


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize(("action", "approve"), [("decline", None), ("accept", False), ("accept", None)])
async def test_no_in_the_client_is_a_refusal_in_the_policys_words(
    era: str, action: str, approve: bool | None
) -> None:
    paid: list[int] = []
    async with near(POLICY, shop(paid), era=era, elicitation_callback=answers(action, approve)) as here:
        assert await here.told("pay", amount=3) == "? not authorized"
    assert paid == []


@pytest.mark.parametrize("era", ERAS)
async def test_a_form_that_is_closed_leaves_the_question_open(era: str) -> None:
    paid: list[int] = []
    async with near(POLICY, shop(paid), era=era, elicitation_callback=answers("cancel")) as here:
        assert (await here.told("pay", amount=3)).startswith("? PENDING APPROVAL T-")
    assert paid == []


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("amount", [10, 100])
async def test_who_may_not_answer_is_not_asked_in_the_client(era: str, amount: int) -> None:
    """Never the requester, or not of the group: somebody else answers, elsewhere."""
    paid: list[int] = []
    seen: list[str] = []
    asked = answers("accept", True, seen)
    async with near(POLICY, shop(paid), era=era, elicitation_callback=asked) as here:
        assert (await here.told("pay", amount=amount)).startswith("? PENDING APPROVAL T-")
    assert (paid, seen) == ([], [])


@pytest.mark.parametrize("era", ERAS)
async def test_what_others_must_approve_as_well_stays_pending(era: str) -> None:
    paid: list[int] = []
    async with near(POLICY, shop(paid), era=era, elicitation_callback=answers("accept", True)) as here:
        told = await here.told("pay", amount=5)
        assert told.startswith("? PENDING APPROVAL T-"), told
        await here.guard.aapprove(told.split()[3].rstrip(":"), by="olga")
        assert await here.told("pay", amount=5) == "paid 5"
    assert paid == [5]


@pytest.mark.parametrize("era", ERAS)
async def test_a_pending_call_goes_on_once_when_it_is_made_again(era: str) -> None:
    paid: list[int] = []
    async with near(POLICY, shop(paid), era=era) as here:
        told = await here.told("pay", amount=10)
        ticket = told.split()[3].rstrip(":")
        assert (await here.told("pay", amount=10)).split()[3].rstrip(":") == ticket, "it is asked once"
        await here.guard.aapprove(ticket, by="dana")
        assert (await here.told("pay", amount=11)).startswith("? PENDING"), "another call is another question"
        assert await here.told("pay", amount=10) == "paid 10"
        assert (await here.told("pay", amount=10)).startswith("? PENDING"), "an approval is used once"
    assert paid == [10]


async def _asked(here: Near, amount: int) -> types.InputRequiredResult:
    result: Any = await here.client.session.call_tool("pay", {"amount": amount}, allow_input_required=True)
    assert isinstance(result, types.InputRequiredResult), result
    return result


async def _again(here: Near, amount: int, state: str | None, *, approve: bool = True) -> str:
    answer = types.ElicitResult(action="accept", content={"approve": approve})
    try:
        result: Any = await here.client.session.call_tool(
            "pay",
            {"amount": amount},
            input_responses={"ringfence": answer},
            request_state=state,
            allow_input_required=True,
        )
    except MCPError as error:
        return f"! {error}"
    return "asks" if isinstance(result, types.InputRequiredResult) else text_of(result)


async def test_a_sealed_state_that_is_used_again_runs_nothing_again() -> None:
    paid: list[int] = []
    async with near(POLICY, shop(paid), elicitation_callback=answers("accept", True)) as here:
        asked = await _asked(here, 3)
        assert await _again(here, 3, asked.request_state) == "paid 3"
        for _ in range(3):
            assert await _again(here, 3, asked.request_state) == "asks"
        assert len(here.events(CallFinished)) == 1
    assert paid == [3]


async def test_an_approval_for_other_arguments_or_of_another_hand_counts_for_nothing() -> None:
    paid: list[int] = []
    async with near(POLICY, shop(paid), elicitation_callback=answers("accept", True)) as here:
        asked = await _asked(here, 3)
        state = asked.request_state or ""
        assert (await _again(here, 4, state)).startswith("!"), "sealed for other arguments"
        assert (await _again(here, 3, state[:-4] + "AAAA")).startswith("!"), "not as it was sealed"
        assert await _again(here, 3, None) == "asks", "an answer to nothing"
        made_up = json.dumps({"run": here.guard.runs.list()[0].run, "tickets": ["T-00000000"]})
        assert (await _again(here, 3, made_up)).startswith("!"), "not sealed at all"
    assert paid == []


async def test_without_a_known_user_nobody_answers_in_the_client() -> None:
    paid: list[int] = []
    seen: list[str] = []
    asked = answers("accept", True, seen)
    async with near(POLICY, shop(paid), options={"principal": None}, elicitation_callback=asked) as here:
        assert (await here.told("pay", amount=3)).startswith("? PENDING APPROVAL T-")
    assert (paid, seen) == ([], [])
