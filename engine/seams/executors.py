"""Which plugin runs isolates, and what it is known to enforce on this machine."""

import asyncio
from dataclasses import replace
from typing import Final

from pydantic import BaseModel

from ringfence.engine.seams.bounded import said
from ringfence.engine.seams.errors import EngineError
from ringfence.engine.seams.hookspecs import NoSettings
from ringfence.engine.seams.isolates import (
    CheckedExecutor,
    Fitness,
    InnerAnswering,
    IsolateExecutor,
    IsolateJob,
    IsolateOutcome,
    Lockdown,
)
from ringfence.engine.seams.mistakes import Mistake, settings_error
from ringfence.engine.seams.registry import Registry
from ringfence.engine.seams.settings import Settings
from ringfence.engine.seams.validated import validated

MISSING = "nothing that runs isolates is installed"
"""Why an isolated tool does not run."""

DOCTOR: Final = "`ringfence doctor` shows each wall"
_TEXT: Final = 200

HELP = "install the extra `isolate`: pip install 'ringfence[isolate]'"


def executor_of(registry: Registry, settings: Settings) -> IsolateExecutor:
    """Return what runs isolates, made anew with what `[isolates]` says.

    Raises:
        EngineError: There is none, or its plugin failed.
        SettingsError: Its settings are wrong.
    """
    hook = registry.isolates()
    if hook is None:
        raise EngineError(MISSING, help=HELP)
    mistakes: list[Mistake] = []
    values = isolate_settings(settings, registry, mistakes)
    if mistakes:
        raise settings_error(mistakes)
    try:
        executor = hook.call(settings=values)
    except Exception as error:  # a gate: without it no isolated tool runs
        raise EngineError(
            f"the plugin `{hook.plugin}` cannot run isolates: {said(error)}", help="see its documentation"
        ) from error
    if executor is None:
        raise EngineError(f"the plugin `{hook.plugin}` cannot run isolates on this machine", help=HELP)
    return executor  # type: ignore[no-any-return]


def isolate_settings(settings: Settings, registry: Registry, mistakes: list[Mistake]) -> BaseModel | None:
    """Return what `[isolates]` says, as who runs isolates reads it; None: `mistakes` has what is wrong."""
    hook = registry.isolates()
    if hook is None:
        mistakes.append(Mistake(settings.where, "isolates", MISSING, HELP))
        return None
    kind: object = NoSettings
    for part in registry.hooks("ringfence_isolate_settings"):
        if part.plugin != hook.plugin:  # the model of another's executor is not this one's
            continue
        try:
            kind = part.call()
        except Exception as error:  # fails closed: what it would be made with is not known
            what = f"`ringfence_isolate_settings` failed: {said(error)}"
            mistakes.append(Mistake(f"plugin `{hook.plugin}`", "", what))
            return None
    if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
        what = "`ringfence_isolate_settings` must return a pydantic model"
        mistakes.append(Mistake(f"plugin `{hook.plugin}`", "", what))
        return None
    return validated(kind, settings.isolates, settings, "isolates", mistakes)


async def check_executor(registry: Registry, settings: Settings) -> None:
    """Raise EngineError if it is known before any worker is started that no isolated tool can run here."""
    executor = executor_of(registry, settings)
    try:
        if isinstance(executor, CheckedExecutor):
            executor.check()
    except EngineError:
        raise
    except Exception as error:  # a gate: without it no isolated tool runs
        raise EngineError(
            f"what runs isolates failed: {said(error)}", help="see its documentation"
        ) from error
    finally:
        await executor.close()


def _heard(asked: "asyncio.Task[Fitness]") -> None:
    if not asked.cancelled():  # looked at, even if nobody waits for it any more
        asked.exception()


class KnownExecutor:
    """What runs isolates for one guard, and what it is known to enforce; on the engine's loop."""

    def __init__(self, executor: IsolateExecutor) -> None:
        self.executor = executor
        self._fit: frozenset[Lockdown] = frozenset()
        self._standing: frozenset[str] = frozenset()
        self._asking: asyncio.Task[Fitness] | None = None

    def is_fit(self, lockdown: Lockdown) -> bool:
        """Say whether it is known to enforce this lock-down; from any thread."""
        return lockdown in self._fit

    async def check(self, lockdown: Lockdown) -> None:
        """Ask whether it can enforce this lock-down, unless that is known.

        Raises:
            EngineError: It cannot, or did not say: with the walls that are missing.
        """
        if lockdown in self._fit:
            return
        fitness = await self.fitness()
        if fitness.problem is not None or not fitness.v8:
            raise EngineError(fitness.problem or "there is no V8 that could run it", help=DOCTOR)
        # SECURITY: less than the policy demands is nothing: the code is not run behind what is left.
        lacking = fitness.lacks(lockdown)
        if lacking:
            seen = [f"{one.name}: {one.evidence[:_TEXT]}" for one in fitness.layers if one.name in lacking]
            raise EngineError(
                f"this machine lacks what `lockdown {lockdown}` needs: {', '.join(lacking)}",
                help="; ".join([DOCTOR, *(one for one in seen if not one.endswith(": "))]),
            )
        self._standing = frozenset(layer.name for layer in fitness.layers if layer.holds)
        self._fit |= {lockdown}

    async def fitness(self) -> Fitness:
        """Say what this machine can enforce; several who ask at once are told the same.

        Raises:
            EngineError: The executor failed.
        """
        asking = self._asking
        loop = asyncio.get_running_loop()
        if asking is None or asking.done() or asking.get_loop() is not loop:
            asking = self._asking = loop.create_task(self._said())
            asking.add_done_callback(_heard)
        return await asyncio.shield(asking)

    async def run(self, job: IsolateJob, answer: InnerAnswering) -> IsolateOutcome:
        """Run one job; after trouble the executor is asked anew what it can enforce."""
        try:
            outcome = await self.executor.run(job, answer)
        except Exception:  # raised again: it is a plugin, and whoever awaits it fails closed
            self._fit = frozenset()
            raise
        if not isinstance(outcome, IsolateOutcome):
            self._fit = frozenset()
            raise TypeError("an executor of isolates returned no outcome")
        if outcome.failure in ("lockdown", "executor"):
            self._fit = frozenset()
        # SECURITY: a result from behind fewer walls than were promised is thrown away.
        lacking = self._standing - {*outcome.layers} if job.lockdown == "full" else frozenset()
        if outcome.result is not None and lacking:
            self._fit = frozenset()
            walls = ", ".join(sorted(lacking))
            return replace(outcome, result=None, failure="lockdown", message=f"it ran without {walls}")
        return outcome

    def prewarm(self, lockdown: Lockdown, memory_bytes: int) -> None:
        """Have what such jobs need made ready, in the background."""
        self.executor.prewarm(lockdown, memory_bytes)

    async def close(self) -> None:
        """End all workers."""
        asking, self._asking, self._fit = self._asking, None, frozenset()
        if asking is not None and asking.get_loop() is asyncio.get_running_loop():
            asking.cancel()
        await self.executor.close()

    async def _said(self) -> Fitness:
        try:
            fitness = await self.executor.fitness()
            if isinstance(fitness, Fitness):
                return fitness
            why = "it did not say what it can enforce"
        except EngineError:
            raise
        except Exception as error:  # fails closed: nothing is promised
            why = said(error)
        raise EngineError(f"what runs isolates failed: {why}", help="see its documentation")
