"""Run the JavaScript of a recorded run again, in a real isolate, and compare it with the record to the byte.

Each run in an isolate gets its recorded source, arguments, clock, seed and limits again, and for its calls
the recorded answers.  No tool's body and no store is touched, and nothing is decided.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from ringfence.dsl.canonical import loads_strict, same
from ringfence.dsl.plan import Json, Plan
from ringfence.dsl.types import size_text
from ringfence.engine.decision.events import body_of
from ringfence.engine.decision.results import RefusedResultError, bound_result
from ringfence.engine.journal.isolated import as_given, called, ended, judged
from ringfence.engine.journal.jsonable import jsonable
from ringfence.engine.retrospect.isolates import Inner, Recorded, recorded
from ringfence.engine.retrospect.record import RunRecord
from ringfence.engine.retrospect.replay import Divergence, Unreplayable, compiled, policy_changed
from ringfence.engine.seams.errors import EngineError
from ringfence.engine.seams.isolates import (
    InnerAnswer,
    InnerCall,
    IsolateExecutor,
    IsolateJob,
    IsolateOutcome,
    Lockdown,
)

_BY_CHANCE: Final = frozenset({"memory", "cpu", "time", "killed", "stopped"})
"""Ends that the inputs do not determine: how fast the machine was, what else it held, who intervened."""

_NOT_RUN: Final = frozenset({"lockdown", "executor"})

MOST_MEMORY_BYTES: Final = 4 * 2**30
"""What is run again takes no more of this machine, whatever the recorded policy allows it."""

_PATIENCE_S: Final = 120.0
"""What an executor may need beyond the time of the code itself: to start a worker, and to wait for one."""

_GONE_WITHIN_S: Final = 5.0
"""How long an executor has to kill the worker of what was stopped."""

_COMPARED: Final = ("v8", "output", "failure", "message", "line", "column", "calls")

Each = Callable[[], None]
"""Told whenever one more run in an isolate is done."""


@dataclass(frozen=True, slots=True)
class Rerun:
    """What came of running the JavaScript of a run again."""

    run: str
    isolates: int = 0
    """How many runs in an isolate were done again, the one that diverges included."""
    calls: int = 0
    """How many inner calls were answered from the record."""
    divergence: Divergence | None = None
    only_calls: tuple[Unreplayable, ...] = ()
    """Those that were run again and whose end the record does not determine: their calls were compared."""
    not_rerun: tuple[Unreplayable, ...] = ()
    """Those that could not be run again, or not to their end, and why."""
    v8: str | None = None
    """V8's version here; None: it was not asked."""

    @property
    def identical(self) -> bool:
        """True if all of it ran again and gave the same bytes, as far as the record determines them."""
        return self.divergence is None and not self.not_rerun


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run whose isolates are ready to be run again; nothing has been run."""

    run: str
    plan: Plan
    found: tuple[Recorded | Divergence | Unreplayable, ...]

    @property
    def isolates(self) -> int:
        """How many will be run again."""
        return sum(isinstance(one, Recorded) for one in self.found)


def prepared(record: RunRecord) -> Prepared | Rerun:
    """Read what was run in isolates; what needs none to be told is told at once.

    Raises:
        RecordError: The beginning of the run was purged, its policy does not load in this version, or an
            event is of another shape than a guard writes.
    """
    begun = record.started
    plan = compiled(begun, record.run)
    if plan.digest != begun.policy_digest:
        return Rerun(record.run, divergence=policy_changed(begun, plan))
    ready = Prepared(record.run, plan, tuple(recorded(record, plan)))
    if ready.isolates:
        return ready
    divergence = next((one for one in ready.found if isinstance(one, Divergence)), None)
    lost = tuple(one for one in ready.found if isinstance(one, Unreplayable))
    return Rerun(record.run, divergence=divergence, not_rerun=lost)


async def rerun(
    ready: Prepared, executor: IsolateExecutor, *, each: Each | None = None, lockdown: Lockdown = "process"
) -> Rerun:
    """Run all of it again, one after another, up to the first that diverges.

    Args:
        executor: What runs isolates; on the loop on which this is awaited.
        lockdown: What must hold at least, whatever the recorded policy is content with.

    Raises:
        EngineError: There is no V8 here, or not one that can be used.
    """
    fitness = await executor.fitness()
    if fitness.v8 is None:
        raise EngineError(f"no JavaScript can be run again here: {fitness.problem or 'there is no V8'}")
    came = Rerun(ready.run, v8=fitness.v8)
    for one in ready.found:
        if isinstance(one, Unreplayable):
            came = replace(came, not_rerun=(*came.not_rerun, one))
        elif isinstance(one, Divergence):
            return replace(came, divergence=one)
        else:
            # SECURITY: the policy came with the record, which may be hostile: what it is content with is not
            # enough here, and what it demands is not less.
            wanted: Lockdown = "full" if lockdown == "full" else one.job.lockdown
            why = _cannot(one.job, wanted, fitness.lacks(wanted))
            if why is not None:
                lost = Unreplayable(one.seq, one.call, why)
                came = replace(came, not_rerun=(*came.not_rerun, lost))
                continue
            again = _Again(replace(one, job=replace(one.job, lockdown=wanted)), ready.plan, fitness.v8)
            found = await again.run(executor)
            if each is not None:
                each()
            came = replace(came, isolates=came.isolates + 1, calls=came.calls + again.answered)
            if isinstance(found, Divergence):
                return replace(came, divergence=found)
            if found is not None and again.determined:
                came = replace(came, not_rerun=(*came.not_rerun, found))
            elif found is not None:
                came = replace(came, only_calls=(*came.only_calls, found))
    return came


def _cannot(job: IsolateJob, wanted: Lockdown, lacking: Sequence[str]) -> str | None:
    if lacking:
        return f"this machine lacks what `lockdown {wanted}` needs: {', '.join(lacking)}"
    if job.limits.memory_bytes > MOST_MEMORY_BYTES:
        return f"its isolate may take more than {size_text(MOST_MEMORY_BYTES)} of memory"
    return None


class _Again:
    """One run in an isolate, done once more."""

    def __init__(self, one: Recorded, plan: Plan, v8: str) -> None:
        self.answered = 0
        """How many calls were answered from the record."""
        self.determined = True
        """False once its end turns out to be one that the record does not determine."""
        self._one = one
        self._plan = plan
        self._v8 = v8
        self._batches = 0
        self._stop: asyncio.Future[Divergence | Unreplayable] = asyncio.get_running_loop().create_future()

    async def run(self, executor: IsolateExecutor) -> Divergence | Unreplayable | None:
        """Return where it diverges, or why it was not compared to its end; None: it is identical."""
        task = asyncio.ensure_future(executor.run(self._one.job, self._answer))
        try:
            within_s = self._one.job.limits.time_ns / 1e9 + _PATIENCE_S
            both: set[asyncio.Future[Any]] = {task, self._stop}
            await asyncio.wait(both, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
            if self._stop.done():
                return self._stop.result()
            if not task.done():
                return self._lost("what runs isolates did not end it")
            try:
                outcome = task.result()
            except Exception as error:  # fails closed: it is not said to be identical
                return self._lost(f"what runs isolates failed ({type(error).__name__})")
            return self._compared(outcome)
        finally:
            task.cancel()
            await asyncio.wait({task}, timeout=_GONE_WITHIN_S)

    # ---- its calls ---------------------------------------------------------------------------------

    async def _answer(self, calls: Sequence[InnerCall]) -> Sequence[InnerAnswer]:
        """Give the code what it was given then, or stop it where the record has no more to give."""
        batches = self._one.batches
        batch = batches[self._batches] if self._batches < len(batches) else None
        self._batches += 1
        stop = self._after_the_end(len(calls)) if batch is None else self._differing(calls, batch)
        if stop is None and batch is not None:
            answers = [inner.answer for inner in batch if inner.answer is not None]
            if len(answers) == len(batch):
                self.answered += len(answers)
                return answers
            by_chance = self._one.ended.failure in _BY_CHANCE
            stop = self._undetermined() if by_chance else self._lost("its calls were not all answered then")
        if not self._stop.done():
            self._stop.set_result(stop or self._lost("what runs isolates asked for nothing"))
        await asyncio.Event().wait()  # nothing more is told: it is stopped
        raise asyncio.CancelledError

    def _after_the_end(self, calls: int) -> Divergence | Unreplayable | None:
        """Return what it means that the code goes on where the record ends."""
        if self._one.ended.failure in _BY_CHANCE:
            return self._undetermined()
        then, now = self._one.ended.calls, self.answered + calls
        return self._diverges(self._one.ended_seq, {"calls": then}, {"calls": now})

    def _differing(self, calls: Sequence[InnerCall], batch: Sequence[Inner]) -> Divergence | None:
        for made, inner in zip(calls, batch, strict=False):
            if inner.asked is None:
                continue  # the run was over before the guard was asked
            then: dict[str, Json] = {"tool": inner.asked.tool}
            now: dict[str, Json] = {"tool": called(self._plan, self._one.isolate, made.tool)}
            if inner.asked.withheld in (None, "not JSON"):
                then["arguments"] = as_given(inner.asked.arguments, inner.filled)
                now["arguments"] = as_given(_asked(made.arguments), inner.filled)
            differing = self._diverges(inner.seq, then, now, call=inner.asked.call)
            if differing is not None:
                return differing
        # How many are made at once moves a coarse clock, and says in which order promises are settled.
        seq, call = self._one.ended_seq, self._one.call
        if batch and batch[0].asked is not None:
            seq, call = batch[0].seq, batch[0].asked.call
        return self._diverges(seq, {"made at once": len(batch)}, {"made at once": len(calls)}, call=call)

    # ---- how it ended ------------------------------------------------------------------------------

    def _compared(self, outcome: IsolateOutcome) -> Divergence | Unreplayable | None:
        one = self._one
        outcome, value = judged(outcome, one.job.limits.output_bytes)
        by_chance = outcome.failure in _BY_CHANCE
        if outcome.failure in _NOT_RUN or (by_chance and one.ended.failure not in _BY_CHANCE):
            why = f": {outcome.message}" if outcome.message else ""
            return self._lost(f"here it ended by `{outcome.failure}`{why}")
        if one.ended.failure in _BY_CHANCE:
            calls = self._diverges(one.ended_seq, {"calls": one.ended.calls}, {"calls": self.answered})
            return self._undetermined() if by_chance or calls is None else calls
        then, now = body_of(one.ended), body_of(ended(one.call, outcome, ()))
        now["calls"] = self.answered
        differing = self._diverges(
            one.ended_seq, {name: then[name] for name in _COMPARED}, {name: now[name] for name in _COMPARED}
        )
        return differing or (None if outcome.result is None else self._handed_on(value))

    def _handed_on(self, value: Json) -> Divergence | None:
        """Compare what the call gave with what follows from the isolate's result."""
        one = self._one
        if one.finished is None:
            return None
        then, now = one.finished.result, "refused"
        with contextlib.suppress(RefusedResultError):  # then nothing was given
            now = jsonable(bound_result(value, one.obligations).value)
        return self._diverges(one.finished_seq, {"result": then}, {"result": now})

    def _diverges(
        self, seq: int, then: dict[str, Json], now: dict[str, Json], *, call: str | None = None
    ) -> Divergence | None:
        differs = tuple(name for name in then if not same(then[name], now[name]))
        if not differs:
            return None
        if self._v8 != self._one.ended.v8 and "v8" not in differs:  # that explains it
            then, now = {"v8": self._one.ended.v8, **then}, {"v8": self._v8, **now}
            differs = ("v8", *differs)
        return Divergence(seq, call or self._one.call, differs, then, now)

    def _undetermined(self) -> Unreplayable:
        self.determined = False
        return self._lost(f"it ended by `{self._one.ended.failure}`, which the record does not determine")

    def _lost(self, because: str) -> Unreplayable:
        return Unreplayable(self._one.seq, self._one.call, because)


def _asked(arguments: str) -> Json:
    """Return the arguments of a call as the guard recorded them."""
    try:
        value = loads_strict(arguments)
    except (ValueError, RecursionError):  # no JSON: recorded as the text that it is
        value = arguments
    return value if isinstance(value, dict) else jsonable(value)
