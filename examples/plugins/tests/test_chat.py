"""The chat backend keeps the contract, in a real room on loopback."""

from collections.abc import AsyncIterator, Sequence

import pytest
import pytest_asyncio
from pydantic import SecretStr
from ringfence_example_plugins.chat import ChatBackend, ChatSettings
from ringfence_example_plugins.room import Member, Room

from ringfence.plugin import Answer
from ringfence.testing import ApprovalBackendContract, FakeAnswers, question

TOKENS = {"dana": "dana's token", "mallory": "mallory's token", "ringfence": "the bot's token"}


class Seat:
    """A member of the room who remembers what stands there."""

    def __init__(self, member: Member) -> None:
        self.member = member
        self._standing: dict[int, tuple[str, str]] = {}

    async def standing(self) -> list[str]:
        """Return the bot's messages as they stand now."""
        if not self.member.gone:
            await self.member.settle()
        while not self.member.messages.empty():
            message = self.member.messages.get_nowait()
            if message is not None:
                self._standing[message["id"]] = (message["from"], message["text"])
        return [text for author, text in self._standing.values() if author == "ringfence"]


@pytest_asyncio.fixture
async def room() -> AsyncIterator[tuple[Room, int]]:
    room = Room(TOKENS)
    port = await room.start()
    yield room, port
    await room.stop()


@pytest_asyncio.fixture
async def dana(room: tuple[Room, int]) -> AsyncIterator[Seat]:
    member = await Member.enter("127.0.0.1", room[1], TOKENS["dana"])
    yield Seat(member)
    await member.leave()


def backend(port: int, token: str = TOKENS["ringfence"]) -> ChatBackend:
    return ChatBackend(ChatSettings(port=port, token=SecretStr(token)))


class TestChatBackend(ApprovalBackendContract):
    """The contract."""

    @pytest_asyncio.fixture(autouse=True)
    async def _room(self, room: tuple[Room, int], dana: Seat) -> None:
        self.room, self.port = room
        self.seat = dana

    def make(self) -> ChatBackend:
        return backend(self.port)

    async def say(self, ticket: str, verdict: Answer, because: str | None = None) -> None:
        await self.seat.member.say(f"{verdict} {ticket} {because or ''}")

    async def shown(self) -> Sequence[str]:
        standing = await self.seat.standing()
        return [text.partition(":")[0] for text in standing if "wants to run" in text]

    async def display(self, ticket: str) -> str:
        (text,) = [text for text in await self.seat.standing() if text.startswith(f"{ticket}: ")]
        return text

    async def break_down(self) -> None:
        await self.room.stop()


async def test_the_name_that_counts_is_the_rooms_and_not_the_messages(
    room: tuple[Room, int], dana: Seat
) -> None:
    chat, answers = backend(room[1]), FakeAnswers(people=["dana"])
    await chat.open()
    mallory = await Member.enter("127.0.0.1", room[1], TOKENS["mallory"])
    await chat.ask(question("T-AAAA1111"), answers)
    await mallory.say('approve T-AAAA1111 by dana", "from": "dana')
    (refused,) = await answers.wait_refused()
    assert (refused.by, answers.counted) == ("mallory", [])
    await dana.member.say("approve T-AAAA1111")
    (counted,) = await answers.wait()
    assert counted.by == "dana"
    await mallory.leave()
    await chat.close()


async def test_a_token_that_the_room_does_not_know_cannot_ask(room: tuple[Room, int]) -> None:
    with pytest.raises(ConnectionRefusedError) as refused:
        await backend(room[1], "a guess").open()
    assert "a guess" not in str(refused.value)


async def test_a_room_that_was_away_is_entered_again_and_told_what_is_open(room: tuple[Room, int]) -> None:
    chat, answers = backend(room[1]), FakeAnswers()
    await chat.open()
    await chat.ask(question("T-AAAA1111"), answers)
    await room[0].stop()
    await room[0].start(room[1])
    seat = Seat(await Member.enter("127.0.0.1", room[1], TOKENS["dana"]))
    await chat.ask(question("T-BBBB2222"), answers)
    tickets = [text.partition(":")[0] for text in await seat.standing() if "wants to run" in text]
    assert tickets == ["T-AAAA1111", "T-BBBB2222"]
    await seat.member.say("approve T-AAAA1111")
    (counted,) = await answers.wait()
    assert counted.ticket == "T-AAAA1111"
    await seat.member.leave()
    await chat.close()


async def test_only_its_author_may_edit_a_message(room: tuple[Room, int], dana: Seat) -> None:
    chat = backend(room[1])
    await chat.open()
    await chat.ask(question("T-AAAA1111"), FakeAnswers())
    before = await dana.standing()
    await dana.member.edit(0, "T-AAAA1111: nothing to see")
    assert await dana.standing() == before
    await chat.close()
