"""Approvals in a chat room: the question is posted there, and a member's message answers it.

A member writes `approve T-7QK2ABCD` or `reject T-7QK2ABCD because ...`.  The name that counts is the one
under which the *room* knows the member (by token); nothing in a message's text can change it.
"""

import asyncio
from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from ringfence.plugin import (
    Answer,
    Answers,
    ApprovalBackend,
    Question,
    RingfenceError,
    escaped,
    hookimpl,
)
from ringfence_example_plugins.room import Member

_VERDICTS: Mapping[str, Answer] = {"approve": "approve", "reject": "reject"}


class ChatSettings(BaseModel):
    """The keys of `[backends.chat]`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = "127.0.0.1"
    port: int = Field(ge=1, le=65_535)
    token: SecretStr
    """The backend's own token in the room."""
    people: Mapping[str, str] = {}
    """Name in the room -> the person's name in `[groups]`, where the two differ."""


class _Asked:
    """A question that stands in the room."""

    def __init__(self, question: Question, answers: Answers) -> None:
        self.question = question
        self.answers = answers
        self.message = -1


class ChatBackend(ApprovalBackend):
    """The approval backend `chat`."""

    name = "chat"
    Settings = ChatSettings
    settings: ChatSettings

    def __init__(self, settings: ChatSettings) -> None:
        super().__init__(settings)
        self._member: Member | None = None
        self._hearing: asyncio.Task[None] | None = None
        self._open: dict[str, _Asked] = {}
        self._closed = False

    async def open(self) -> None:
        """Enter the room."""
        await self._enter()

    async def ask(self, question: Question, answers: Answers) -> None:
        """Post the question; return when everybody in the room has been sent it."""
        if self._closed:
            raise RuntimeError("the chat backend is closed")
        if self._member is None or self._member.gone:
            await self._enter()
        if question.ticket in self._open:
            return
        # Before it is posted: somebody may answer before `say` returns.
        asked = self._open[question.ticket] = _Asked(question, answers)
        try:
            await self._post(asked)
        except BaseException:
            del self._open[question.ticket]
            raise

    async def withdraw(self, ticket: str, because: str) -> None:
        """Mark the message: the question is no longer open."""
        asked = self._open.pop(ticket, None)
        if asked is not None and self._member is not None and not self._member.gone:
            await self._member.edit(asked.message, f"{escaped(ticket)} is closed: {escaped(because)}")

    async def close(self) -> None:
        """Leave the room; what was asked stays open and can be answered elsewhere."""
        self._closed = True
        if self._hearing is not None:
            self._hearing.cancel()
            await asyncio.wait({self._hearing})
        if self._member is not None:
            await self._member.leave()
        self._open.clear()

    async def _enter(self) -> None:
        if self._member is not None:
            await self._member.leave()
        settings = self.settings
        self._member = await Member.enter(settings.host, settings.port, settings.token.get_secret_value())
        self._hearing = asyncio.create_task(self._hear(self._member))
        for asked in list(self._open.values()):  # the room was away: what is still open is asked again
            await self._post(asked)

    async def _post(self, asked: _Asked) -> None:
        assert self._member is not None
        ticket = escaped(asked.question.ticket)
        how = f"answer with: approve {ticket}   or: reject {ticket} WHY"
        asked.message = await self._member.say(f"{asked.question.text}\n{how}")

    async def _hear(self, member: Member) -> None:
        while (message := await member.messages.get()) is not None:
            if message["from"] != member.name:
                await self._answer(member, message["from"], message["text"])

    async def _answer(self, member: Member, name: str, text: str) -> None:
        word, _, rest = text.strip().partition(" ")
        ticket, _, because = rest.strip().partition(" ")
        if word not in _VERDICTS or not ticket.startswith("T-"):
            return  # people talk about other things too
        asked = self._open.get(ticket)
        try:
            if asked is None:
                await member.say(f"{escaped(ticket)} is not open here")
                return
            try:
                await asked.answers.resolve(
                    ticket, _VERDICTS[word], by=self.settings.people.get(name, name), because=because or None
                )
            except RingfenceError as error:  # refused: nothing changed; it stays open for others
                await member.say(f"{escaped(ticket)}: {escaped(str(error))}")
            else:
                await member.say(f"{escaped(ticket)}: {word} by {escaped(name)} is noted")
        except ConnectionError:
            pass  # the answer is handed in or not; only the reply to the room is lost


@hookimpl
def ringfence_approval_backends() -> Sequence[type[ApprovalBackend]]:
    """Offer the backend `chat`."""
    return [ChatBackend]
