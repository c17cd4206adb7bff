"""A small agent framework, and an adapter for it that does everything right."""

import asyncio
import contextlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from ringfence.adapter import (
    DeniedError,
    EngineError,
    Guard,
    Json,
    ModelAnswered,
    ModelAsked,
    PendingError,
    Run,
    RunHaltedError,
    ToolCall,
    ToolFailedError,
    current_run,
    inside,
)
from ringfence.dsl.canonical import loads_strict
from ringfence.testing import AdapterContract, Asked, Outcome, Scene, Told


class MisfitError(Exception):
    """Arguments do not fit the schema."""


class Tool:
    """A function with a schema, which coerces as pydantic does and refuses what it does not know."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.name = function.__name__
        parameters = inspect.signature(function).parameters
        self.names = frozenset(parameters)
        fields: dict[str, Any] = {
            name: (one.annotation, ... if one.default is one.empty else one.default)
            for name, one in parameters.items()
        }
        self.schema: type[BaseModel] = create_model(
            self.name, __config__=ConfigDict(extra="forbid"), **fields
        )

    def validated(self, given: Mapping[str, Json]) -> dict[str, Any]:
        """Return the arguments that the function would get."""
        try:
            return self.schema.model_validate(dict(given)).model_dump()
        except ValidationError as error:
            raise MisfitError(str(error)) from None

    async def run(self, arguments: Mapping[str, Any]) -> Any:
        """Run the function; a plain one on a thread."""
        if inspect.iscoroutinefunction(self.function):
            return await self.function(**arguments)
        return await asyncio.to_thread(partial(self.function, **arguments))


@dataclass(frozen=True, slots=True)
class Saved:
    """What the framework keeps of an agent that waits: enough to go on, as often as it is loaded."""

    run: str
    turn: int
    told: tuple[Told, ...]
    offered: tuple[frozenset[str], ...]


WAITS: Any = object()
"""In the place of an answer: people must answer first."""


class Player:
    """The framework's loop with the adapter in it; a sabotaged one has one of these methods wrong."""

    framework: ClassVar[str] = "mini"

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.guard: Guard = scene.guard
        functions = [*scene.tools, *([self.helper()] if scene.helper is not None else [])]
        self.tools = {tool.name: tool for tool in map(Tool, functions)}

    def helper(self) -> Callable[..., Any]:
        """Return the tool that starts an agent inside this one."""
        inner = self.scene.helper
        assert inner is not None

        async def helper(task: str) -> str:
            """Let somebody else do it."""
            await type(self)(inner).play()
            return "helped"

        return helper

    # ---- a run -------------------------------------------------------------------------------------

    async def play(self) -> Outcome:
        """Run the agent from its beginning."""
        run = await self.begin()
        return await self.go_on(run, Saved(run.id, 0, (), ()), fresh=True)

    async def begin(self) -> Run:
        """Begin the run, inside of the one around it."""
        scene = self.scene
        return await self.guard.abegin_run(
            principal=scene.principal,
            agent=scene.agent,
            session=scene.session,
            framework=self.framework,
            parent=current_run(),
        )

    async def resumed(self, saved: Saved, approved: bool = False) -> Outcome:
        """Go on from a saved state; whether the framework's own user has approved means nothing."""
        try:
            run = await self.guard.aresume_run(saved.run)
        except (EngineError, RunHaltedError) as error:
            return Outcome(list(saved.told), list(saved.offered), error=error)
        return await self.go_on(run, saved, fresh=False)

    async def go_on(self, run: Run, saved: Saved, *, fresh: bool) -> Outcome:
        """Run the loop to its end, or until people are asked."""
        outcome = Outcome(list(saved.told), list(saved.offered))
        try:
            with inside(run):
                for number in range(saved.turn, len(self.scene.turns)):
                    if fresh or number > saved.turn:
                        await self.ask_model(run, number, outcome)
                    answers = await self.turn(run, number)
                    if any(one is WAITS for one in answers):
                        kept = Saved(run.id, number, tuple(outcome.told), tuple(outcome.offered))
                        await self.guard.asuspend(run)
                        outcome.resume = partial(self.resumed, kept)
                        outcome.claim = partial(self.resumed, kept, approved=True)
                        return outcome
                    outcome.told += answers
                await self.ask_model(run, len(self.scene.turns), outcome)
                outcome.said = self.scene.last
            await self.end(run)
        except RunHaltedError:
            await self.end(run)
        except EngineError as error:
            self.fail(outcome, error)
            await self.end(run, error)
        except Exception as error:
            outcome.error = error
            await self.end(run, error)
        except asyncio.CancelledError as error:
            await self.end(run, error)
            raise
        return outcome

    def fail(self, outcome: Outcome, error: EngineError) -> None:
        """End the agent: the engine has failed."""
        outcome.error = error

    async def end(self, run: Run, error: BaseException | None = None) -> None:
        """End the run, whatever has come out of it."""
        with contextlib.suppress(EngineError):  # told already, by what failed first
            status: Any = "done" if error is None else "failed"
            await self.guard.aend_run(run, status, None if error is None else type(error).__name__)

    # ---- the model ---------------------------------------------------------------------------------

    def offered(self, run: Run) -> list[str]:
        """Return what the model may see; nothing that runs at its provider."""
        return self.guard.visible(run, self.tools)

    async def ask_model(self, run: Run, number: int, outcome: Outcome) -> None:
        """Have the script answer, bounded and recorded."""
        names = self.offered(run)
        outcome.offered.append(frozenset(names))
        request = f"{run.id}/{number}"
        given: list[Any] = [self.scene.prompt, *(one.text for one in outcome.told)]
        self.guard.record(run, ModelAsked(request, "script", given, names, None, None))
        said = await self.guard.abound(run, partial(self.model, number))
        self.guard.record(run, ModelAnswered(request, said, None, 0, None))

    async def model(self, number: int) -> list[Json]:
        """Say what stands in the script."""
        if self.scene.before is not None:
            self.scene.before(number)
        if number == len(self.scene.turns):
            return [self.scene.last]
        return [{"tool": one.tool, "arguments": dict(one.arguments)} for one in self.scene.turns[number]]

    # ---- calls -------------------------------------------------------------------------------------

    async def turn(self, run: Run, number: int) -> list[Told]:
        """Make the calls of a turn at the same time."""
        calls = [self.call(run, asked, f"{number}/{at}") for at, asked in enumerate(self.scene.turns[number])]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        for one in answers:
            if isinstance(one, BaseException):
                raise one
        return [one for one in answers if not isinstance(one, BaseException)]

    async def call(self, run: Run, asked: Asked, task: str) -> Told:
        """Make one call, and tell what came of it."""
        try:
            return Told(asked.tool, str(await self.result(run, asked, task)), failed=False, id=asked.id)
        except (DeniedError, ToolFailedError) as error:
            return self.refusal(asked, error)
        except PendingError:
            return self.pending(asked)

    def refusal(self, asked: Asked, error: DeniedError | ToolFailedError) -> Told:
        """Return what the model is told of a refusal."""
        return Told(asked.tool, str(error.model_text), failed=True, id=asked.id)

    def pending(self, asked: Asked) -> Told:
        """Return what puts the agent away."""
        waits: Told = WAITS
        return waits

    async def result(self, run: Run, asked: Asked, task: str) -> Any:
        """Read, hook, validate, decide, run."""
        tool = self.tools.get(asked.tool)
        if tool is None:
            return await self.unknown(run, asked, task)
        try:
            arguments = tool.validated(self.hooked(asked.tool, self.read(asked)))
        except MisfitError as error:
            return await self.misfit(run, tool, asked, task, str(error))
        call = ToolCall(
            tool.name, arguments, call_id=asked.id, task=f"{run.id}/{task}", schema_names=tool.names
        )
        return await self.execute(run, call, tool)

    async def unknown(self, run: Run, asked: Asked, task: str) -> Any:
        """Refuse a call of a name that no tool has."""
        call = ToolCall(asked.tool, dict(asked.arguments), call_id=asked.id, task=f"{run.id}/{task}")
        await self.guard.arefuse(run, call, "no tool has this name")

    async def misfit(self, run: Run, tool: Tool, asked: Asked, task: str, why: str) -> Any:
        """Refuse a call whose arguments are none."""
        given = dict(asked.arguments) if asked.text is None else {"given": asked.text}
        call = ToolCall(tool.name, given, call_id=asked.id, task=f"{run.id}/{task}")
        await self.guard.arefuse(run, call, why)

    def read(self, asked: Asked) -> dict[str, Json]:
        """Read the arguments as the model wrote them."""
        if asked.text is None:
            return dict(asked.arguments)
        try:
            found = loads_strict(asked.text)
        except (ValueError, RecursionError) as error:
            raise MisfitError(str(error)) from None
        if not isinstance(found, dict):
            raise MisfitError("the arguments are no record")
        return found

    def hooked(self, tool: str, arguments: dict[str, Json]) -> dict[str, Json]:
        """Let the host's hook have its way."""
        return arguments if self.scene.rewrites is None else self.scene.rewrites(tool, arguments)

    async def execute(self, run: Run, call: ToolCall, tool: Tool) -> Any:
        """Decide and run."""
        return await self.guard.aexecute(run, call, tool.run, wait=False)


class Mini(AdapterContract):
    """The stage of the small framework."""

    framework = "mini"
    player: ClassVar[type[Player]] = Player

    async def play(self, scene: Scene) -> Outcome:
        player = self.player(scene)
        return await (self.streamed(player) if scene.streamed else player.play())

    async def streamed(self, player: Player) -> Outcome:
        """Play it as a stream: the small framework has only one way to do it."""
        return await player.play()
