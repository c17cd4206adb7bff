"""What a client says of approvals: it counts for the one call it is about, once, and only where it may."""

import asyncio
from pathlib import Path
from typing import Any

import mcp_types as types
import pytest
from mcp.shared.exceptions import MCPError

from ringfence.engine.decision.events import ApprovalAnswered, CallStarted
from tests.adapters.mcp.raw_client import wired
from tests.adapters.mcp.rig import POLICY, Rig, behind

PAYS = (
    POLICY
    + """
capability send is external
approver own { group "leads" answer within 15 minutes otherwise deny }
approver lead { group "leads" never the requester answer within 15 minutes otherwise deny }
agent payer { holds read_data, send stop after 5 minutes }
tool pay is "pay" { needs send takes amount: integer allow when amount <= 100 ask %s rate 1000 per run }
"""
).replace("agent main { holds read_data stop after 5 minutes }", "")
"""Alice is one of the leads; where the approver is `lead`, she may not answer for herself."""

OWN, LEAD = PAYS.replace("%s", "own"), PAYS.replace("%s", "lead")
YES = types.ElicitResult(action="accept", content={"approve": True})


async def asked(rig: Rig, amount: int) -> types.InputRequiredResult:
    """Call, and return what the client is asked."""
    found = await rig.client.session.call_tool("pay", {"amount": amount}, allow_input_required=True)
    assert isinstance(found, types.InputRequiredResult)
    return found


async def again(
    rig: Rig, question: types.InputRequiredResult, answer: Any, **changes: Any
) -> tuple[bool, str]:
    """Call again with an answer; return whether it ran, and what was told."""
    assert question.input_requests is not None
    call = {"arguments": {"amount": 3}, "request_state": question.request_state, **changes}
    responses = dict.fromkeys(question.input_requests, answer)
    try:
        told = await rig.client.session.call_tool(
            "pay", input_responses=responses, allow_input_required=True, **call
        )
    except MCPError as error:
        return False, str(error)
    if isinstance(told, types.InputRequiredResult):
        return False, "asked again"
    return not told.is_error, "".join(getattr(block, "text", "") for block in told.content)


def started(rig: Rig) -> int:
    return sum(isinstance(event, CallStarted) for event in rig.recorded)


async def test_an_answer_lets_its_one_call_through_once(tmp_path: Path) -> None:
    async with behind("pays", tmp_path, policy=OWN, asks=True) as rig:
        question = await asked(rig, 3)
        assert await again(rig, question, YES) == (True, "done")
        for _ in range(3):
            assert (await again(rig, question, YES))[0] is False
        assert rig.witnessed() == ["pay"]
    assert started(rig) == 1


FORGED: dict[str, dict[str, Any]] = {
    "other arguments": {"arguments": {"amount": 99}},
    "arguments that nobody declared": {"arguments": {"amount": 3, "to": "eve"}},
    "no state": {"request_state": None},
    "a state of its own": {"request_state": '{"run":"R-1","tickets":["T-1"]}'},
    "an empty state": {"request_state": ""},
}


@pytest.mark.parametrize("changes", FORGED.values(), ids=FORGED)
async def test_an_answer_for_another_call_lets_nothing_through(
    changes: dict[str, Any], tmp_path: Path
) -> None:
    async with behind("pays", tmp_path, policy=OWN, asks=True) as rig:
        question = await asked(rig, 3)
        assert (await again(rig, question, YES, **changes))[0] is False
        assert rig.witnessed() == []
    answers = [event.verdict for event in rig.recorded if isinstance(event, ApprovalAnswered)]
    assert set(answers) == {"withdraw"}


@pytest.mark.parametrize("at", [0, 10, -10, -1])
async def test_a_tampered_state_lets_nothing_through(at: int, tmp_path: Path) -> None:
    async with behind("pays", tmp_path, policy=OWN, asks=True) as rig:
        question = await asked(rig, 3)
        state = list(question.request_state or "")
        state[at] = "A" if state[at] != "A" else "B"
        assert (await again(rig, question, YES, request_state="".join(state)))[0] is False
        assert rig.witnessed() == []


NO = {
    "declined": types.ElicitResult(action="decline"),
    "accepted without a word": types.ElicitResult(action="accept", content={}),
    "accepted, and said no": types.ElicitResult(action="accept", content={"approve": False}),
    "accepted with a text": types.ElicitResult(action="accept", content={"approve": "true"}),
    "accepted with a number": types.ElicitResult(action="accept", content={"approve": 1}),
    "closed": types.ElicitResult(action="cancel"),
}


@pytest.mark.parametrize("answer", NO.values(), ids=NO)
async def test_only_a_plain_yes_is_a_yes(answer: types.ElicitResult, tmp_path: Path) -> None:
    async with behind("pays", tmp_path, policy=OWN, asks=True) as rig:
        question = await asked(rig, 3)
        assert (await again(rig, question, answer))[0] is False
        assert rig.witnessed() == []


async def test_an_answer_of_another_kind_is_none(tmp_path: Path) -> None:
    async with behind("pays", tmp_path, policy=OWN, asks=True) as rig:
        question = await asked(rig, 3)
        assert (await again(rig, question, types.ListRootsResult(roots=[])))[0] is False
        assert rig.witnessed() == []


async def test_who_may_not_answer_for_herself_is_not_asked_and_not_heard(tmp_path: Path) -> None:
    async with behind("pays", tmp_path, policy=LEAD, asks=True) as rig:
        told = await rig.client.session.call_tool("pay", {"amount": 3}, allow_input_required=True)
        assert isinstance(told, types.CallToolResult) and told.is_error
        assert "PENDING APPROVAL" in str(told.content[0])
        (ticket,) = [word for word in str(told.content[0]).replace(":", " ").split() if word.startswith("T-")]
        assert not [line for line in rig.said if line.startswith("the client was asked")]
        await rig.guard.aapprove(ticket, by="dana")
        assert await rig.call("pay", amount=4) != (True, "done")
        assert await rig.call("pay", amount=3) == (True, "done")
        assert await rig.call("pay", amount=3) != (True, "done")
        assert rig.witnessed() == ["pay"]


async def test_in_the_older_era_an_answer_to_a_question_that_was_not_asked_counts_for_nothing(
    tmp_path: Path,
) -> None:
    call = {"name": "pay", "arguments": {"amount": 3}}
    async with wired(tmp_path, "pays", policy=OWN) as wire:
        await wire.shake_hands()
        for id in [*range(20), "0", "1", "ringfence"]:
            content = {"action": "accept", "content": {"approve": True}}
            await wire.say({"jsonrpc": "2.0", "id": id, "result": content})
        await wire.say({"jsonrpc": "2.0", "id": "pay", "method": "tools/call", "params": call})
        question = await wire.hear()
        assert question["method"] == "elicitation/create"
        assert wire.rig.witnessed() == []
        answer = {"action": "accept", "content": {"approve": True}}
        await wire.say({"jsonrpc": "2.0", "id": question["id"], "result": answer})
        assert (await wire.answer("pay"))["result"]["content"][0]["text"] == "done"
        # The same answer once more, and a second call: that one is a question of its own.
        await wire.say({"jsonrpc": "2.0", "id": question["id"], "result": answer})
        await wire.say({"jsonrpc": "2.0", "id": "pay-2", "method": "tools/call", "params": call})
        second = await wire.hear()
        assert second["method"] == "elicitation/create" and second["id"] != question["id"]
        await wire.say({"jsonrpc": "2.0", "id": second["id"], "error": {"code": 1, "message": "no"}})
        assert (await wire.answer("pay-2"))["result"]["isError"] is True
        assert wire.rig.witnessed() == ["pay"]


async def test_many_who_use_one_answer_at_once_run_it_once(tmp_path: Path) -> None:
    async with behind("pays", tmp_path, policy=OWN, asks=True) as rig:
        question = await asked(rig, 3)
        told = await asyncio.gather(*[again(rig, question, YES) for _ in range(10)])
        assert [ran for ran, _ in told].count(True) == 1
        assert rig.witnessed() == ["pay"]
