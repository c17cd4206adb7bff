"""Plain functions, called as a host's own loop would call them."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextvars import copy_context
from typing import Any

from ringfence.adapter import EndStatus, PendingError, Run, inside
from ringfence.adapters.callables import guarded
from ringfence.engine.seams.errors import DeniedError, ToolFailedError
from ringfence.testing import AdapterContract, Asked, Outcome, Scene, Told


class Plain(AdapterContract):
    """What both ways of calling functions lack."""

    framework = "python"
    has_model = False
    hides_tools = False
    suspends = False
    has_ids = False
    streams = False
    has_hooks = False
    has_provider_tools = False
    has_unknown_tools = False
    writes_text = False


class TestFunctions(Plain):
    """In threads, as synchronous hosts do; calls of one turn at the same time."""

    awaits = False
    cancels = False

    async def play(self, scene: Scene) -> Outcome:
        return await asyncio.to_thread(self._play, scene)

    def _play(self, scene: Scene) -> Outcome:
        outcome = Outcome()
        try:
            with scene.guard.run(principal=scene.principal, session=scene.session):
                self._turns(scene, outcome)
        except Exception as error:
            outcome.error = error
        return outcome

    def _turns(self, scene: Scene, outcome: Outcome) -> None:
        tools = {one.__name__: guarded(scene.guard)(one) for one in scene.tools}
        inner = scene.helper
        if inner is not None:

            @guarded(scene.guard)
            def helper(task: str) -> str:
                self._turns(inner, Outcome())
                return "helped"

            tools["helper"] = helper
        for turn in scene.turns:
            self._turn(tools, turn, outcome)

    def _turn(self, tools: dict[str, Callable[..., Any]], turn: Sequence[Asked], outcome: Outcome) -> None:
        told: list[Told | BaseException] = [ValueError("not called")] * len(turn)

        def one(number: int, asked: Asked) -> None:
            try:
                told[number] = _told(asked, tools[asked.tool](**asked.arguments))
            except Exception as error:
                told[number] = _refused(asked, error)

        if len(turn) == 1:
            one(0, turn[0])
        else:
            threads = [
                threading.Thread(target=copy_context().run, args=(one, number, asked))
                for number, asked in enumerate(turn)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        _add(outcome, told)


class TestCoroutines(Plain):
    """In a task; calls of one turn are gathered."""

    async def play(self, scene: Scene) -> Outcome:
        outcome = Outcome()
        try:
            async with scene.guard.run(principal=scene.principal, session=scene.session):
                await self._turns(scene, outcome)
        except Exception as error:
            outcome.error = error
        return outcome

    async def _turns(self, scene: Scene, outcome: Outcome) -> None:
        tools = {one.__name__: _awaited(guarded(scene.guard)(one)) for one in scene.tools}
        inner = scene.helper
        if inner is not None:

            @guarded(scene.guard)
            async def helper(task: str) -> str:
                await self._turns(inner, Outcome())
                return "helped"

            tools["helper"] = helper

        async def one(asked: Asked) -> Told | BaseException:
            try:
                return _told(asked, await tools[asked.tool](**asked.arguments))
            except Exception as error:
                return _refused(asked, error)

        for turn in scene.turns:
            _add(outcome, await asyncio.gather(*(one(asked) for asked in turn)))


def _awaited(function: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
    """Return a coroutine function as it is, a plain one on a thread."""
    if asyncio.iscoroutinefunction(function):
        return function
    return lambda **arguments: asyncio.to_thread(function, **arguments)


def _told(asked: Asked, result: Any) -> Told:
    return Told(asked.tool, str(result), failed=False, id=asked.id)


def _refused(asked: Asked, error: Exception) -> Told | BaseException:
    """Return what a host tells a model of it, or what ends the loop."""
    if isinstance(error, DeniedError | ToolFailedError):
        assert error.model_text is not None
        return Told(asked.tool, error.model_text, failed=True, id=asked.id)
    if isinstance(error, TypeError):
        return Told(asked.tool, "these arguments do not fit", failed=True, id=asked.id)
    return error


def _add(outcome: Outcome, told: Sequence[Told | BaseException]) -> None:
    for one in told:
        if isinstance(one, BaseException):
            raise one
        outcome.told.append(one)


class TestCoroutinesPutAway(TestCoroutines):
    """With `wait=False`: the host puts its run away, and makes the call again when people have answered."""

    suspends = True
    claims = False

    async def play(self, scene: Scene) -> Outcome:
        about: Any = {"principal": scene.principal, "session": scene.session, "framework": self.framework}
        return await self._live(scene, scene.guard.abegin_run(**about), {})

    async def _live(self, scene: Scene, begun: Awaitable[Run], told: dict[int, Told]) -> Outcome:
        """Make the calls that are not answered yet, up to one that waits for people."""
        told, outcome = dict(told), Outcome()
        try:
            run = await begun
            await self._until_people(scene, run, told, outcome)
        except Exception as error:
            outcome.error = error
        outcome.told = [told[number] for number in sorted(told)]
        return outcome

    async def _until_people(self, scene: Scene, run: Run, told: dict[int, Told], outcome: Outcome) -> None:
        status: EndStatus = "failed"
        try:
            with inside(run):
                waits = await self._made(scene, told)
            status = "done"
            if waits:
                outcome.resume = lambda: self._live(
                    scene, scene.guard.aresume_run(run.id, principal=scene.principal), told
                )
        finally:
            if outcome.resume is not None:
                await scene.guard.asuspend(run)
            else:
                await scene.guard.aend_run(run, status)

    async def _made(self, scene: Scene, told: dict[int, Told]) -> bool:
        """Return whether people must answer first."""
        tools = {one.__name__: _awaited(guarded(scene.guard, wait=False)(one)) for one in scene.tools}
        if scene.helper is not None:
            tools["helper"] = self._helping(scene, scene.helper)
        first = 0
        for turn in scene.turns:
            numbers = {first + place: asked for place, asked in enumerate(turn)}
            first += len(turn)
            left = {number: asked for number, asked in numbers.items() if number not in told}
            answers = await asyncio.gather(*(_call(tools, asked) for asked in left.values()))
            waits = False
            for number, answer in zip(left, answers, strict=True):
                if isinstance(answer, PendingError):
                    waits = True
                elif isinstance(answer, BaseException):
                    raise answer
                else:
                    told[number] = answer
            if waits:
                return True
        return False

    def _helping(self, scene: Scene, inner: Scene) -> Callable[..., Awaitable[Any]]:
        @guarded(scene.guard)
        async def helper(task: str) -> str:
            await self._turns(inner, Outcome())
            return "helped"

        return helper


async def _call(tools: dict[str, Callable[..., Awaitable[Any]]], asked: Asked) -> Told | BaseException:
    try:
        return _told(asked, await tools[asked.tool](**asked.arguments))
    except Exception as error:
        return _refused(asked, error)
