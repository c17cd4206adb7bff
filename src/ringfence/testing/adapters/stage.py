"""What the parts of the contract share: the flags, a way to play a scene to its end, and the first claims."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pytest

from ringfence.engine.seams.ports import Ticket
from ringfence.testing.adapters.props import Props
from ringfence.testing.adapters.scenes import Asked, Outcome, Scene, Told

T = TypeVar("T")
Test = TypeVar("Test", bound=Callable[..., Any])

NEEDS = "ringfence_needs"
"""Under this a test keeps the flags without which it is not there."""
REFUSED = "not authorized"
NOT_FOUND = "tool not found"
FAILED = "the tool failed"
ROUNDS = 20
"""No scene asks people more often."""


def needs(*flags: str) -> Callable[[Test], Test]:
    """Mark a test of the contract that is there only for frameworks with all these flags."""

    def mark(test: Test) -> Test:
        setattr(test, NEEDS, flags)
        return test

    return mark


class Stage(ABC):
    """One way into one framework, and what that does not have at all."""

    framework: ClassVar[str]
    """As the run's record names it."""
    has_model: ClassVar[bool] = True
    """A model takes part, and is recorded; False: something else makes the calls (functions, a gateway)."""
    hides_tools: ClassVar[bool] = True
    """There is a list of tools that a model or a client is offered."""
    suspends: ClassVar[bool] = True
    """A call that asks people puts the agent away, and `Outcome.resume` goes on; False: it waits in place."""
    claims: ClassVar[bool] = True
    """The framework has approvals of its own; tried only with `suspends`."""
    has_ids: ClassVar[bool] = True
    """Calls carry the model's ids into the record."""
    reuses_ids: ClassVar[bool] = True
    """A call under an id that came before is another call; False: the framework takes it for answered."""
    parallel: ClassVar[bool] = True
    """The calls of one turn run at the same time, or at least come together."""
    streams: ClassVar[bool] = True
    has_hooks: ClassVar[bool] = True
    """The host can change arguments between the model and the body."""
    has_helpers: ClassVar[bool] = True
    """An agent can work inside another."""
    has_provider_tools: ClassVar[bool] = True
    has_unknown_tools: ClassVar[bool] = True
    """A model can ask for a name that no tool has."""
    records_unknown: ClassVar[bool] = True
    """Such a call reaches the adapter, which has it recorded; False: the framework answers by itself."""
    has_sessions: ClassVar[bool] = True
    """Several scenes can be turns of one conversation."""
    writes_text: ClassVar[bool] = True
    """The model's arguments are a text that the framework reads as JSON."""
    awaits: ClassVar[bool] = True
    """Bodies may be coroutine functions."""
    cancels: ClassVar[bool] = True
    """Cancelling the task that plays cancels what it plays; False for entries that block a thread."""
    raises_ours: ClassVar[bool] = True
    """Errors come out as Ringfence's own, or caused by them; False: another process stands between."""
    within_s: ClassVar[float] = 30.0
    """How long anything may take that a test waits for."""

    @abstractmethod
    async def play(self, scene: Scene) -> Outcome:
        """Play the scene with your framework; a synchronous entry runs in a thread (`asyncio.to_thread`).

        Errors that come out of the framework belong in `Outcome.error`, but for a cancellation of the
        caller's own task.
        """

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        """Return the folder that a test may write to."""
        return tmp_path

    # ---- playing -----------------------------------------------------------------------------------

    def props(self, folder: Path, clauses: str, **more: Any) -> Props:
        """Return what a scene is played with."""
        return Props(folder, clauses, within_s=self.within_s, **more)

    async def within(self, work: Awaitable[T], what: str) -> T:
        """Await something that has to end; fail with `what` if it does not."""
        try:
            return await asyncio.wait_for(work, self.within_s)
        except TimeoutError:
            raise AssertionError(f"{what} within {self.within_s:.0f} s") from None

    async def played(self, props: Props, *turns: Sequence[Asked], **scene: Any) -> Outcome:
        """Play turns with all tools of the props that the clauses name; fail if it does not end."""
        made = self.scene(props, *turns, **scene)
        return await self.within(self.play(made), "the scene did not come to an end")

    def scene(self, props: Props, *turns: Sequence[Asked], **scene: Any) -> Scene:
        """Return a scene of these turns."""
        scene.setdefault("tools", [props.look()])
        return Scene(guard=props.guard, turns=turns, **scene)

    async def settled(self, props: Props, scene: Scene, answer: Callable[[Ticket], None]) -> Outcome:
        """Play to the end; `answer` is called in a thread with every question as it comes."""
        outcome, playing = await self.asked(props, scene)
        for _ in range(ROUNDS):
            for ticket in await props.questions():
                await asyncio.to_thread(answer, ticket)
            if playing is None:
                assert outcome is not None
                if outcome.resume is None:
                    return outcome
                outcome = await self.within(outcome.resume(), "the resumed scene did not come to an end")
            elif (outcome := await self._asked(props, playing)) is not None:
                playing = None
        raise AssertionError("people were asked again and again: an answered call must go on")

    async def asked(
        self, props: Props, scene: Scene
    ) -> tuple[Outcome | None, "asyncio.Task[Outcome] | None"]:
        """Play until people are asked: return the outcome, or the task that waits in place."""
        playing = asyncio.create_task(self.play(scene))
        outcome = await self._asked(props, playing)
        return (outcome, None) if outcome is not None else (None, playing)

    async def _asked(self, props: Props, playing: "asyncio.Task[Outcome]") -> Outcome | None:
        """Return what came of it, or None when it waits for people."""
        over = asyncio.get_running_loop().time() + self.within_s
        while not playing.done():
            if not self.suspends and await props.questions():
                return None
            assert asyncio.get_running_loop().time() < over, "the scene neither ended nor asked anybody"
            await asyncio.wait({playing}, timeout=0.005)
        return await playing

    # ---- claims ------------------------------------------------------------------------------------

    def nothing_ran(self, props: Props, tool: str, why: str) -> None:
        """Claim that no body of this tool began."""
        assert props.bodies(tool) == [], f"the body of `{tool}` ran: {why}"

    def refused(self, outcome: Outcome, tool: str, text: str = REFUSED) -> Told:
        """Claim that the only call of this tool was refused in the constant text; return what was told."""
        told = self.told_of(outcome, tool)
        assert told.failed, f"the refusal of `{tool}` must come in the framework's form of a failure: {told}"
        assert text in told.text, (
            f"a refusal is told in `error.model_text`, here `{text}`; `{tool}` told {told.text!r}"
        )
        return told

    def succeeded(self, outcome: Outcome, tool: str, text: str) -> None:
        """Claim that the only call of this tool returned this text."""
        told = self.told_of(outcome, tool)
        assert not told.failed and text in told.text, (
            f"the result of `{tool}` must reach the caller as it is, {text!r}: it was told {told}"
        )

    def told_of(self, outcome: Outcome, tool: str) -> Told:
        """Return what was told of the only call of this tool."""
        found = [one for one in outcome.told if one.tool == tool]
        assert len(found) == 1, f"`{tool}` was called once and must be answered once; the outcome: {outcome}"
        return found[0]

    def went_on(self, outcome: Outcome) -> None:
        """Claim that the agent came to its last word."""
        assert outcome.error is None and not outcome.suspended, (
            f"it must go on to its end, whatever was refused{_error_of(outcome)}"
        )
        if self.has_model:
            assert outcome.said == "done", f"the agent must go on to its last word; it said {outcome.said!r}"


def causes_of(error: BaseException | None) -> list[BaseException]:
    """Return the error and what it was raised from, inside of groups too."""
    found: list[BaseException] = []
    heap = [error]
    while heap:
        one = heap.pop()
        if one is None or one in found:
            continue
        found.append(one)
        heap += [one.__cause__, one.__context__]
        if isinstance(one, BaseExceptionGroup):
            heap += one.exceptions
    return found


def _error_of(outcome: Outcome) -> str:
    return "" if outcome.error is None else f"; it raised {outcome.error!r}"
