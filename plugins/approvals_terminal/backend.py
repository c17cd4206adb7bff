"""Asks in the terminal where the agent runs; without one, says how to answer from another.

One question is put at a time, and an answer counts only for the question that stood there when typing
began.  The answer is given in the name of the operating system's user: whoever sits there.
"""

import asyncio
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from ringfence.plugin import Answer, Answers, ApprovalBackend, Question, RingfenceError, escaped
from ringfence.plugins.approvals_terminal.console import Console, write_to

_SHOWN = 4_000  # characters of one argument; the rest is announced as cut


class TerminalSettings(BaseModel):
    """The keys of `[backends.terminal]`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prompt: bool = True
    """False: never read from the terminal, only say how to answer from another."""
    people: Mapping[str, str] = {}
    """Login name -> the person's name in `[groups]`, where the two differ."""


@dataclass(slots=True)
class _Open:
    question: Question
    answers: Answers


class TerminalBackend(ApprovalBackend):
    """The approval backend `terminal`."""

    name = "terminal"
    Settings = TerminalSettings
    settings: TerminalSettings

    def __init__(self, settings: TerminalSettings) -> None:
        super().__init__(settings)
        self._open: dict[str, _Open] = {}
        self._current: str | None = None
        self._careful = False
        self._told: set[str] = set()
        self._console: Console | None = None
        self._screen = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    async def ask(self, question: Question, answers: Answers) -> None:
        """Put the question, or queue it behind the one that stands there."""
        if self._closed:
            raise RuntimeError("the terminal is closed")
        async with self._screen:
            if question.ticket in self._open or question.ticket in self._told:
                return
            console = self._console or (Console.find() if self.settings.prompt else None)
            if console is None:
                await _say(question.lines(limit=_SHOWN) + _commands(question))
                self._told.add(question.ticket)
                return
            self._console = console
            if self._current is None:
                await self._put(console, question)
            else:
                await console.write(f"\r\n{escaped(question.ticket)} waits too; it is asked next\n")
                await console.write(self._prompt(self._current))
            self._open[question.ticket] = _Open(question, answers)

    async def withdraw(self, ticket: str, because: str) -> None:
        """Mark the question as no longer open."""
        async with self._screen:
            if ticket in self._told:
                self._told.discard(ticket)
                await _say([_withdrawn(ticket, because)])
            elif self._open.pop(ticket, None) is not None and self._console is not None:
                if ticket != self._current:
                    await self._console.write(f"\r\x1b[2K{_withdrawn(ticket, because)}\n")
                    await self._console.write(self._prompt(self._current) if self._current else "")
                    return
                self._console.hush()
                self._current = None
                # SECURITY: somebody may be typing `y` at the question that has just gone.
                self._careful = True
                await self._console.write(f"\r\x1b[2K{_withdrawn(ticket, because)}\n")
                await self._next()

    async def close(self) -> None:
        """Stop listening; what was asked stays open and can be answered elsewhere."""
        self._closed = True
        if self._console is not None:
            self._console.hush()
        self._open.clear()
        self._current = None
        for task in self._tasks:
            task.cancel()

    async def _put(self, console: Console, question: Question) -> None:
        console.discard_typed()
        self._current = question.ticket
        try:
            lines = "\n".join(question.lines(limit=_SHOWN))
            await console.write(f"\r{lines}\n{self._prompt(question.ticket)}")
            console.listen(self._heard)
        except BaseException:
            self._current = None
            raise

    async def _next(self) -> None:
        if self._current is None and self._open and self._console is not None:
            await self._put(self._console, next(iter(self._open.values())).question)

    def _prompt(self, ticket: str) -> str:
        yes = f"y {ticket[-4:]}" if self._careful else "y"
        return f"{escaped(ticket)}  [{yes} = approve, n = reject, n WHY = reject and say why] "

    def _heard(self, line: str | None) -> None:
        ticket = self._current
        if ticket is None:
            return
        task = asyncio.get_running_loop().create_task(self._answer(ticket, line))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, ticket: str, line: str | None) -> None:
        try:
            if line is None:
                await self._leave()
                return
            said = read_answer(line, ticket, careful=self._careful)
            if said is None:
                await self._again(ticket)
                return
            # The lock is not held here: the guard may call `withdraw` before it returns.
            asked = self._open.pop(ticket, None)
            if asked is not None:
                await self._resolve(asked, *said)
            async with self._screen:
                if self._current == ticket:
                    self._current = None
                    self._careful = False
                await self._next()
        except (OSError, ValueError):
            # The terminal is gone.  Nothing is approved by that: the tickets stay open elsewhere.
            self._current = None

    async def _resolve(self, asked: _Open, verdict: Answer, because: str | None) -> None:
        assert self._console is not None
        ticket = asked.question.ticket
        person = self._person()
        try:
            await asked.answers.resolve(ticket, verdict, by=person, because=because)
        except RingfenceError as error:  # refused: nothing changed; others may still answer
            async with self._screen:
                lines = [f"{escaped(ticket)} not answered: {escaped(str(error))}", *_commands(asked.question)]
                await self._console.write("\n".join(lines) + "\n")
        else:
            word = "approved" if verdict == "approve" else "rejected"
            async with self._screen:
                await self._console.write(f"{escaped(ticket)} {word} by {escaped(person)}\n")

    async def _again(self, ticket: str) -> None:
        async with self._screen:
            if self._current == ticket and self._console is not None:
                await self._console.write(self._prompt(ticket))
                self._console.listen(self._heard)

    async def _leave(self) -> None:
        """Nobody types here any more: say how to answer from elsewhere."""
        async with self._screen:
            left, self._open, self._current = self._open, {}, None
            self._console = None
            for ticket, asked in left.items():
                self._told.add(ticket)
                await _say(["", *_commands(asked.question)])

    def _person(self) -> str:
        login = _login()
        return self.settings.people.get(login, login)


def read_answer(line: str, ticket: str, *, careful: bool) -> tuple[Answer, str | None] | None:
    """Return verdict and reason that a typed line says, or None if it says neither clearly.

    `y` approves; `y TICKET` (or its last four characters or more) only if that is the ticket asked;
    when `careful`, nothing less does.
    """
    word, _, rest = line.strip().partition(" ")
    rest = rest.strip()
    if word.lower() in ("n", "no"):
        return "reject", rest[:500] or None
    if word.lower() not in ("y", "yes"):
        return None
    named = len(rest) >= 4 and ticket.upper().endswith(rest.upper())
    return ("approve", None) if named or (not rest and not careful) else None


def _login() -> str:
    """Return the operating system's name of the user: by id, since variables can say anything."""
    if sys.platform == "win32":
        return os.getlogin()
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's user without a name; `people` can map the number
        return str(os.getuid())


def _commands(question: Question) -> list[str]:
    ticket = escaped(question.ticket)
    return [f"  answer with: ringfence approve {ticket} --by NAME   (or: ringfence deny {ticket} --by NAME)"]


def _withdrawn(ticket: str, because: str) -> str:
    return f"{escaped(ticket)} withdrawn: {escaped(because)}"


async def _say(lines: list[str]) -> None:
    """Write lines to standard error, wherever it goes."""
    if sys.stderr is None:
        raise OSError("there is no standard error to ask on")
    await asyncio.to_thread(write_to, sys.stderr, "\n".join(lines) + "\n")
