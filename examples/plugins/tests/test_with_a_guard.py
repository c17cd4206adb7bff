"""Both plugins at work in a guard: a person in the room decides, and the file has all of it."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from ringfence_example_plugins import chat, jsonlines
from ringfence_example_plugins.room import Member, Room

from ringfence import DeniedError, EngineError, Guard, Principal, ToolCall

POLICY = """
language 1
policy shop
capability send is external
approver lead { group "leads" never the requester answer within 15 minutes otherwise deny }
agent main { holds send stop after 5 minutes }
tool pay { needs send takes amount: integer allow when amount <= 100 ask lead rate 10 per hour audit full }
"""
TOKENS = {"dana": "dana's token", "alice": "alice's token", "ringfence": "the bot's token"}

MakeGuard = Callable[..., Guard]


@pytest_asyncio.fixture
async def room() -> AsyncIterator[int]:
    room = Room(TOKENS)
    port = await room.start()
    yield port
    await room.stop()


def settings(port: int, path: Path) -> Mapping[str, Any]:
    return {
        "groups": {"leads": ["dana", "alice"]},
        "approvals": {"leads": "chat"},
        "backends": {"chat": {"port": port, "token": TOKENS["ringfence"]}},
        "sinks": {"jsonlines": {"path": str(path)}},
    }


async def answer(port: int, name: str, verdict: str) -> None:
    """Wait for the question as `name`, and answer it."""
    member = await Member.enter("127.0.0.1", port, TOKENS[name])
    while (message := await member.messages.get()) is not None:
        if "wants to run pay" in message["text"]:
            await member.say(f"{verdict} {message['text'].partition(':')[0]} as {name} says")
            break
    await member.leave()


@pytest.mark.parametrize(("verdict", "paid"), [("approve", [{"amount": 7}]), ("reject", [])])
async def test_a_person_in_the_room_decides_and_the_file_has_all_of_it(
    ringfence_guard: MakeGuard, room: int, tmp_path: Path, verdict: str, paid: list[Any]
) -> None:
    file = tmp_path / "audit.jsonl"
    guard = ringfence_guard(POLICY, settings=settings(room, file), plugins=(chat, jsonlines))
    did: list[Any] = []

    async def pay(arguments: Mapping[str, Any]) -> str:
        recorded = [json.loads(line)["kind"] for line in file.read_text().splitlines()]
        assert "CallDecided" in recorded, "the decision is in the file before the body runs"
        did.append(dict(arguments))
        return "paid"

    answering = asyncio.create_task(answer(room, "dana", verdict))
    run = await guard.abegin_run(principal=Principal(user="alice", workspace="w1"))
    try:
        await guard.aexecute(run, ToolCall("pay", {"amount": 7}), pay)
    except DeniedError:
        assert verdict == "reject"
    await answering
    await guard.aend_run(run)
    await guard.aclose()
    assert did == paid
    events = [json.loads(line) for line in file.read_text().splitlines()]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    (answered,) = [event["body"] for event in events if event["kind"] == "ApprovalAnswered"]
    assert (answered["by"], answered["verdict"]) == ("dana", verdict)


async def test_what_cannot_be_written_to_the_file_does_not_happen(
    ringfence_guard: MakeGuard, room: int, tmp_path: Path
) -> None:
    file = tmp_path / "audit.jsonl"
    policy = POLICY.replace("ask lead ", "")
    guard = ringfence_guard(policy, settings=settings(room, file), plugins=(chat, jsonlines))
    run = await guard.abegin_run(principal=Principal(user="alice", workspace="w1"))
    did: list[Any] = []

    async def pay(arguments: Mapping[str, Any]) -> None:
        did.append(dict(arguments))

    await guard.aexecute(run, ToolCall("pay", {"amount": 1}), pay)
    file.rename(tmp_path / "elsewhere")
    file.mkdir()
    with pytest.raises(EngineError, match="jsonlines"):
        await guard.aexecute(run, ToolCall("pay", {"amount": 2}), pay)
    assert did == [{"amount": 1}]
    with pytest.raises(EngineError, match="jsonlines"):  # closing says that the log is not whole
        await guard.aclose()
