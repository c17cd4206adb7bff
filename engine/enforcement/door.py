"""The one door to a tool body: decide a call, and run its body if it is allowed.

Every method has a synchronous form and an asynchronous one with an `a` before its name.  Both drive the
same steps (`admission`); only the body itself runs differently.
"""

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, NoReturn

from ringfence.dsl.plan import Json, Verdict
from ringfence.engine.decision.calls import Decision, ToolCall
from ringfence.engine.enforcement import dispatch, isolated, pacing
from ringfence.engine.enforcement.admission import Admission, in_task, in_thread
from ringfence.engine.enforcement.bodies import AsyncFlight, SyncFlight, run_inline
from ringfence.engine.enforcement.current import inside_call, set_current
from ringfence.engine.enforcement.deciding import Ended
from ringfence.engine.enforcement.drive import run_async, run_sync
from ringfence.engine.enforcement.inner import Inner, aconverse, answer, converse, inner_request, refusal
from ringfence.engine.enforcement.isolates import Job
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.enforcement.tool_results import PLAIN, ResultLens
from ringfence.engine.seams.errors import EngineError
from ringfence.engine.seams.isolates import InnerAnswer, InnerCall
from ringfence.engine.seams.loop import EngineLoop

Body = Callable[[Mapping[str, Json]], Any]


class Door:
    """What the guard does with calls."""

    def __init__(self, admission: Admission, loop: EngineLoop) -> None:
        self._admission = admission
        self._loop = loop

    def authorize(self, run: Run, call: ToolCall) -> Decision:
        """Decide a call without running it; `execute` of the same call then uses this decision."""
        reached_ns = pacing.reached(run)
        decision = run_sync(self._admission.authorize(run, call), self._loop)
        if decision.verdict < Verdict.ASK:
            pacing.hold(run, reached_ns)
        return decision

    async def aauthorize(self, run: Run, call: ToolCall) -> Decision:
        """Like `authorize`."""
        reached_ns = pacing.reached(run)
        decision = await run_async(self._admission.authorize(run, call))
        if decision.verdict < Verdict.ASK:
            await pacing.ahold(run, reached_ns)
        return decision

    def would_ask(self, run: Run, call: ToolCall) -> bool:
        """Say whether people would be asked if the call were made now; nothing is recorded or reserved.

        It is a look, not a decision: when the call is made it is decided, whatever was seen here.
        """
        return run_sync(self._admission.would_ask(run, call), self._loop)

    def ask(self, run: Run, call: ToolCall) -> Decision:
        """Decide a call before the framework makes it and, if people are asked, ask them now.

        When a call of this run with this tool and these arguments is made, it goes on where this one is: with
        its reservation, its tickets and their answers, once.  Whoever asks again for the same task, after a
        resume too, asks about the same call.  The decision is made again when the call is made.

        Returns:
            The decision, once nobody is left to answer.

        Raises:
            PendingError: People must answer first.
            DeniedError: The policy or a person refused.
            RunHaltedError: The run is over.
            EngineError: Ringfence could not do its work.
        """
        reached_ns = pacing.reached(run)
        try:
            return run_sync(self._admission.ask(run, call), self._loop)
        except Exception as error:  # raised again, when it may be told
            if pacing.told(error, ()):
                pacing.hold(run, reached_ns)
            raise

    async def aask(self, run: Run, call: ToolCall) -> Decision:
        """Like `ask`."""
        reached_ns = pacing.reached(run)
        try:
            return await run_async(self._admission.ask(run, call))
        except Exception as error:  # raised again, when it may be told
            if pacing.told(error, ()):
                await pacing.ahold(run, reached_ns)
            raise

    def refuse(self, run: Run, call: ToolCall, why: str) -> NoReturn:
        """Have a call refused and recorded that has no body to reach, whatever the policy says of it.

        A tool that is not the one that was bound, or arguments that do not fit its schema: the refusal is a
        decision, so it counts against what bounds denials and requests.

        Args:
            why: For the record and for people, never for the model.

        Raises:
            DeniedError: Always, unless one of those below is.
            RunHaltedError: The run is over, or this refusal was one too many.
            EngineError: Ringfence could not do its work; nothing ran.
        """
        self._execute(run, call, _no_body, False, PLAIN, (), {}, why)
        raise EngineError(f"`{call.tool}` was not refused", run=run.id)

    async def arefuse(self, run: Run, call: ToolCall, why: str) -> NoReturn:
        """Like `refuse`."""
        await self._aexecute(run, call, _no_body, False, PLAIN, (), {}, why)
        raise EngineError(f"`{call.tool}` was not refused", run=run.id)

    def execute(
        self,
        run: Run,
        call: ToolCall,
        body: Body,
        *,
        wait: bool = True,
        lens: ResultLens | None = None,
        passthrough: tuple[type[BaseException], ...] = (),
        inner: Inner | None = None,
    ) -> Any:
        """Decide a call and, if it is allowed, run its body with the canonical arguments.

        The body of a tool that `runs …` in an isolate is never called: its JavaScript runs there.

        Args:
            inner: The framework's name of a tool -> the body that runs if an isolate calls it.  An inner call
                is a call: decided, charged and recorded with this one as its parent.  One without a body here
                is denied.
            wait: Wait here for people; False: raise PendingError instead.
            lens: Where the JSON value sits in the body's result.
            passthrough: Exceptions with which the framework leaves a body without failing it.

        Raises:
            DeniedError: The policy or a person refused.
            PendingError: People must answer first.
            RunHaltedError: The run is over.
            ToolFailedError: The body was past the tool's time bound, or what ran in an isolate failed.
            EngineError: Ringfence could not do its work; nothing ran.
        """
        return self._execute(run, call, body, wait, lens or PLAIN, passthrough, inner or {})

    def _execute(
        self,
        run: Run,
        call: ToolCall,
        body: Body,
        wait: bool,
        lens: ResultLens,
        passthrough: tuple[type[BaseException], ...],
        inner: Inner,
        lacking: str | None = None,
        around: Job | None = None,
    ) -> Any:
        reached_ns = pacing.reached(run)
        try:
            admitting = self._admission.admit(
                run, call, wait=wait, fly=in_thread, lacking=lacking, around=around
            )
            started = run_sync(admitting, self._loop)
            if isinstance(started, Ended):
                return dispatch.again(started, run, lens)
            if (job := started.job) is not None:
                # SECURITY: from here on the host's own function is not in reach.
                return self._isolated(started, job, lens, inner)

            def work() -> Any:
                set_current(run, started.held.key)
                return body(started.arguments())

            if isinstance(started.flight, SyncFlight):
                landed = started.flight.fly(work, started.within_s)
            else:
                with inside_call(run, started.held.key):
                    landed = run_inline(lambda: body(started.arguments()))
            return dispatch.land(started, landed, lens, passthrough)
        except Exception as error:  # raised again, when it may be told
            if pacing.told(error, passthrough):
                pacing.hold(run, reached_ns)
            raise

    def aexecute(
        self,
        run: Run,
        call: ToolCall,
        body: Body,
        *,
        wait: bool = True,
        lens: ResultLens | None = None,
        passthrough: tuple[type[BaseException], ...] = (),
        inner: Inner | None = None,
    ) -> Coroutine[Any, Any, Any]:
        """Like `execute`; what `body` returns is awaited if it can be, and so is what `inner` does."""
        return self._aexecute(run, call, body, wait, lens or PLAIN, passthrough, inner or {})

    async def _aexecute(
        self,
        run: Run,
        call: ToolCall,
        body: Body,
        wait: bool,
        lens: ResultLens,
        passthrough: tuple[type[BaseException], ...],
        inner: Inner,
        lacking: str | None = None,
        around: Job | None = None,
    ) -> Any:
        reached_ns = pacing.reached(run)
        try:
            admitting = self._admission.admit(
                run, call, wait=wait, fly=in_task, lacking=lacking, around=around
            )
            started = await run_async(admitting)
            if isinstance(started, Ended):
                return dispatch.again(started, run, lens)
            if (job := started.job) is not None:
                # SECURITY: from here on the host's own function is not in reach.
                return await self._aisolated(started, job, lens, inner)

            def work() -> Any:
                set_current(run, started.held.key)
                return body(started.arguments())

            assert isinstance(started.flight, AsyncFlight)
            landed = await started.flight.fly(work, started.within_s)
            return dispatch.land(started, landed, lens, passthrough)
        except Exception as error:  # raised again, when it may be told
            if pacing.told(error, passthrough):
                await pacing.ahold(run, reached_ns)
            raise

    def _isolated(self, started: dispatch.Started, job: Job, lens: ResultLens, inner: Inner) -> Any:
        """Run a job in the place of a body; the bodies of its calls run in the same thread."""
        run = started.run

        def one(made: InnerCall) -> InnerAnswer:
            asked = inner_request(started, job, made, inner)
            try:
                value = self._execute(
                    run, asked.call, asked.body, False, PLAIN, (), inner, asked.lacking, job
                )
            except Exception as error:  # told in the constant texts, or the job ends
                return refusal(run, job, made, error)
            return answer(run, job, made, asked, value)

        def work() -> Any:
            set_current(run, started.held.key)
            started.arguments()  # the job has them: asked for as a body does, it must not start too late
            return converse(job, one)

        assert isinstance(started.flight, SyncFlight)
        landed = started.flight.fly(work, started.within_s)
        return isolated.land(started, job, isolated.settle(started, job, landed), lens)

    async def _aisolated(self, started: dispatch.Started, job: Job, lens: ResultLens, inner: Inner) -> Any:
        """Like `_isolated`; the bodies run in the caller's event loop."""
        run = started.run

        async def one(made: InnerCall) -> InnerAnswer:
            asked = inner_request(started, job, made, inner)
            try:
                value = await self._aexecute(
                    run, asked.call, asked.body, False, PLAIN, (), inner, asked.lacking, job
                )
            except Exception as error:  # told in the constant texts, or the job ends
                return refusal(run, job, made, error)
            return answer(run, job, made, asked, value)

        async def work() -> Any:
            set_current(run, started.held.key)
            started.arguments()  # the job has them: asked for as a body does, it must not start too late
            return await aconverse(job, one)

        assert isinstance(started.flight, AsyncFlight)
        landed = await started.flight.fly(work, started.within_s)
        return isolated.land(started, job, await isolated.asettle(job, landed), lens)


def _no_body(_: Mapping[str, Json]) -> NoReturn:
    raise EngineError("a call without a body was not denied")
