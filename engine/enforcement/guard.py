"""The guard: the one door to a tool body.

Every method has a synchronous form and an asynchronous one with an `a` before its name.  Both drive the
same steps (`deciding`, `tickets`, `dispatch`, `lifecycle`); only the body itself runs differently.
"""

import atexit
import contextlib
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar, Unpack, cast

from ringfence.dsl.plan import Json, Plan, Verdict
from ringfence.engine.decision.calls import Decision, Principal, ToolCall
from ringfence.engine.decision.events import ModelAnswered, ModelAsked, PromptGiven, RunStarted
from ringfence.engine.enforcement import dispatch, isolated, pacing, replies
from ringfence.engine.enforcement.acknowledgements import WITHIN_S, Killed
from ringfence.engine.enforcement.adoption import stands, would_ask
from ringfence.engine.enforcement.answers import Answering, BackendAnswers
from ringfence.engine.enforcement.bodies import AsyncFlight, Flight, Landed, SyncFlight, run_inline
from ringfence.engine.enforcement.caretaker import Caretaker
from ringfence.engine.enforcement.current import being_asked, inside_call, set_current
from ringfence.engine.enforcement.deciding import Ended, judge_again, release, request
from ringfence.engine.enforcement.drive import Steps, run_async, run_sync
from ringfence.engine.enforcement.inner import Inner, aconverse, answer, asking, converse, refusal
from ringfence.engine.enforcement.isolates import Job
from ringfence.engine.enforcement.lifecycle import EndStatus, Lifecycle
from ringfence.engine.enforcement.opening import Opening
from ringfence.engine.enforcement.requests import given
from ringfence.engine.enforcement.run_block import AboutRun, RunBlock
from ringfence.engine.enforcement.runs import Held, Run
from ringfence.engine.enforcement.tickets import Asking, release_withdrawn
from ringfence.engine.enforcement.tool_results import PLAIN, ResultLens
from ringfence.engine.enforcement.waits import Waits
from ringfence.engine.seams.errors import EngineError, PendingError
from ringfence.engine.seams.isolates import InnerAnswer, InnerCall
from ringfence.engine.seams.ports import Clock, Ticket
from ringfence.engine.seams.settings import Settings

T = TypeVar("T")
Body = Callable[[Mapping[str, Json]], Any]


class Guard:
    """Stands at every tool call of the runs it begins.

    `Guard.load` makes one; it opens nothing before its first use and needs no event loop.
    """

    def __init__(
        self,
        plan: Plan,
        settings: Settings,
        opening: Opening,
        *,
        replan: Callable[[RunStarted], Plan],
        runs: Callable[["Guard"], Any] | None = None,
    ) -> None:
        self.plan = plan
        self.settings = settings
        self.opening = opening
        self._loop = opening.loop
        waits = Waits(opening)
        self._answering = Answering(opening, waits, settings)
        answers = BackendAnswers(self._answering)
        opening.extensions.take_answers(answers)
        self._asking = Asking(opening, waits, answers)
        self._lifecycle = Lifecycle(plan, opening, replan)
        self._caretaker = Caretaker(opening, self._lifecycle, self._asking)
        self.runs: Any = runs(self) if runs is not None else None
        """The record of runs: `latest(session=…)`, `get(id)`, `list(…)`."""

    @classmethod
    def load(
        cls,
        policy: str | Path | None = None,
        *,
        settings: str | Path | Settings | None = None,
        store: str | None = None,
        plugins: Sequence[object] = (),
        clock: Clock | None = None,
    ) -> "Guard":
        """Read a policy and settings and make the guard; opens nothing yet.

        Args:
            policy: A `.fence` file; None: the one that the settings name.
            settings: `ringfence.toml` or read settings; None: the file in the current folder, if any.
            store: A store URL over the settings' one.
            plugins: Plugin objects beside the installed ones that the settings allow.
            clock: The engine's clock; tests bring their own.

        Raises:
            PolicyError: The policy has mistakes; `diagnostics()` draws all of them.
            SettingsError: The settings have.
        """
        # The composition root stands above the engine: named at run time, so that no import points upwards.
        load_guard = import_module("ringfence._assembly").load_guard
        return cast(Guard, load_guard(policy, settings=settings, store=store, plugins=plugins, clock=clock))

    def open(self) -> None:
        """Open the store, the required sinks and the approval backends now; the first run does it otherwise.

        So that a backend's callback server listens, and what a dead process left is ended, before there is a
        run.  Safe to call again.

        Raises:
            EngineError: With what could not be opened and how to mend it.
        """
        self._sync(self._open())

    async def aopen(self) -> None:
        """Like `open`."""
        await run_async(self._open())

    # ---- runs --------------------------------------------------------------------------------------

    def begin_run(self, **about: Unpack[AboutRun]) -> Run:
        """Begin a run; what may be said of it stands in `AboutRun`."""
        return self._sync(self._begin(**about))

    async def abegin_run(self, **about: Unpack[AboutRun]) -> Run:
        """Like `begin_run`."""
        return await run_async(self._begin(**about))

    def resume_run(self, run_id: str, *, principal: Principal | None = None) -> Run:
        """Go on with a suspended run, or find the live one; another principal is refused."""
        return self._sync(self._resume(run_id, principal))

    async def aresume_run(self, run_id: str, *, principal: Principal | None = None) -> Run:
        """Like `resume_run`."""
        return await run_async(self._resume(run_id, principal))

    def suspend(self, run: Run) -> None:
        """Put a run away whose calls wait for people; durable when it returns."""
        self._own(run)
        self._sync(self._suspend(run))

    async def asuspend(self, run: Run) -> None:
        """Like `suspend`."""
        self._own(run)
        await run_async(self._suspend(run))

    def end_run(self, run: Run, status: EndStatus = "done", error: str | None = None) -> None:
        """End a run: its open questions are withdrawn and what it holds is given back."""
        self._own(run)
        self._sync(self._lifecycle.end(run, self._asking, status, error))

    async def aend_run(self, run: Run, status: EndStatus = "done", error: str | None = None) -> None:
        """Like `end_run`."""
        self._own(run)
        await run_async(self._lifecycle.end(run, self._asking, status, error))

    def run(self, **about: Unpack[AboutRun]) -> RunBlock:
        """Return `with guard.run(...) as run:`, and the same for `async with`: the current run inside."""
        return RunBlock(self, about)

    def visible(self, run: Run, names: Iterable[str]) -> list[str]:
        """Return the names of the tools that the model may see: declared, and held by the run."""
        tools, holds, agent = run.plan.by_bound_name, run.state.holds, run.state.agent
        may_start = frozenset() if agent is None else agent.may_start
        return [
            name
            for name in names
            if (tool := tools.get(name)) is not None
            and tool.needs <= holds
            and (tool.starts is None or tool.starts in may_start)
        ]

    def owns(self, run: Run) -> bool:
        """Say whether the run was begun under this guard: another one's policy is not this one's."""
        return run.opening is self.opening

    def check_live(self, run: Run) -> None:
        """Raise RunHaltedError unless the run may go on."""
        if run.presence.lapsed:
            self._sync(run.presence.trouble(run.id))
        run.check_live()

    def record(
        self, run: Run, event: PromptGiven | ModelAsked | ModelAnswered, *, keeps_open: bool = False
    ) -> None:
        """Record what the model was given or said.  A new word of the user withdraws open questions.

        What the host hands on beside the prompt has a source, too: `PromptGiven("attachment", text)`.
        With `PromptGiven("host", text)` the host does not say which, so it carries the highest level.

        Args:
            keeps_open: It is an answer to one of these questions, and the others stay open.
        """
        self._own(run)
        new = isinstance(event, PromptGiven) and event.source == "user" and not keeps_open
        if new and run.state.open_tickets:
            self._asking.withdraw_all(run, "the user said something new")
        run.append(event)

    # ---- calls -------------------------------------------------------------------------------------

    def authorize(self, run: Run, call: ToolCall) -> Decision:
        """Decide a call without running it; `execute` of the same call then uses this decision."""
        reached_ns = pacing.reached(run)
        decision = self._sync(self._authorize(run, call))
        if decision.verdict < Verdict.ASK:
            pacing.hold(run, reached_ns)
        return decision

    async def aauthorize(self, run: Run, call: ToolCall) -> Decision:
        """Like `authorize`."""
        reached_ns = pacing.reached(run)
        decision = await run_async(self._authorize(run, call))
        if decision.verdict < Verdict.ASK:
            await pacing.ahold(run, reached_ns)
        return decision

    def would_ask(self, run: Run, call: ToolCall) -> bool:
        """Say whether people would be asked if the call were made now; nothing is recorded or reserved.

        It is a look, not a decision: when the call is made it is decided, whatever was seen here.
        """
        self._own(run)
        return self._sync(would_ask(run, given(run, call)))

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
            return self._sync(self._ask(run, call))
        except Exception as error:  # raised again, when it may be told
            if pacing.told(error, ()):
                pacing.hold(run, reached_ns)
            raise

    async def aask(self, run: Run, call: ToolCall) -> Decision:
        """Like `ask`."""
        reached_ns = pacing.reached(run)
        try:
            return await run_async(self._ask(run, call))
        except Exception as error:  # raised again, when it may be told
            if pacing.told(error, ()):
                await pacing.ahold(run, reached_ns)
            raise

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
        until_ns: int | None = None,
    ) -> Any:
        reached_ns = pacing.reached(run)
        try:
            admitting = self._admit(
                run, call, wait=wait, flight=SyncFlight, lacking=lacking, until_ns=until_ns
            )
            started = self._sync(admitting)
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

    async def aexecute(
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
        """Like `execute`; what `body` returns is awaited if it can be, and so is what `inner` does."""
        return await self._aexecute(run, call, body, wait, lens or PLAIN, passthrough, inner or {})

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
        until_ns: int | None = None,
    ) -> Any:
        reached_ns = pacing.reached(run)
        try:
            admitting = self._admit(
                run, call, wait=wait, flight=AsyncFlight, lacking=lacking, until_ns=until_ns
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
            asked = asking(started, job, made, inner)
            try:
                value = self._execute(
                    run, asked.call, asked.body, False, PLAIN, (), inner, asked.lacking, job.ends_ns
                )
            except Exception as error:  # told in the constant texts, or the job ends
                return refusal(run, job, made, error)
            return answer(run, job, made, asked, value)

        def work() -> Any:
            set_current(run, started.held.key)
            return converse(job, one)

        assert isinstance(started.flight, SyncFlight)
        landed = started.flight.fly(work, started.within_s)
        return isolated.land(started, job, isolated.settle(started, job, landed), lens)

    async def _aisolated(self, started: dispatch.Started, job: Job, lens: ResultLens, inner: Inner) -> Any:
        """Like `_isolated`; the bodies run in the caller's event loop."""
        run = started.run

        async def one(made: InnerCall) -> InnerAnswer:
            asked = asking(started, job, made, inner)
            try:
                value = await self._aexecute(
                    run, asked.call, asked.body, False, PLAIN, (), inner, asked.lacking, job.ends_ns
                )
            except Exception as error:  # told in the constant texts, or the job ends
                return refusal(run, job, made, error)
            return answer(run, job, made, asked, value)

        def work() -> Any:
            set_current(run, started.held.key)
            return aconverse(job, one)

        assert isinstance(started.flight, AsyncFlight)
        landed = await started.flight.fly(work, started.within_s)
        return isolated.land(started, job, await isolated.asettle(job, landed), lens)

    def bound(self, run: Run, work: Callable[[], T]) -> T:
        """Run something that is no tool call, like a model call, under the run's deadline and kills."""
        if run.presence.lapsed:
            self._sync(run.presence.trouble(run.id))
        flight = SyncFlight()
        return cast(T, self._bounded(run, flight, flight.fly(work, self._depart(run, flight))))

    async def abound(self, run: Run, work: Callable[[], Awaitable[T]]) -> T:
        """Like `bound`."""
        if run.presence.lapsed:
            await run_async(run.presence.trouble(run.id))
        flight = AsyncFlight()
        return cast(T, self._bounded(run, flight, await flight.fly(work, self._depart(run, flight))))

    # ---- people and operators ----------------------------------------------------------------------

    def approve(
        self,
        ticket_id: str,
        *,
        by: str,
        edited: Mapping[str, Json] | None = None,
        because: str | None = None,
    ) -> Ticket:
        """Approve a question; with `edited` arguments the call is decided anew with those."""
        return self._sync(self._answering.answer(ticket_id, "approve", by=by, edited=edited, because=because))

    async def aapprove(
        self,
        ticket_id: str,
        *,
        by: str,
        edited: Mapping[str, Json] | None = None,
        because: str | None = None,
    ) -> Ticket:
        """Like `approve`."""
        return await run_async(
            self._answering.answer(ticket_id, "approve", by=by, edited=edited, because=because)
        )

    def deny(self, ticket_id: str, *, by: str, because: str | None = None) -> Ticket:
        """Refuse a question: the call is denied for good."""
        return self._sync(self._answering.answer(ticket_id, "reject", by=by, because=because))

    async def adeny(self, ticket_id: str, *, by: str, because: str | None = None) -> Ticket:
        """Like `deny`."""
        return await run_async(self._answering.answer(ticket_id, "reject", by=by, because=because))

    def withdraw(self, run: Run, call: str, *, because: str) -> None:
        """Take back the open questions of a call (its key), as whoever waits for it may; it never runs."""
        self._own(run)
        with run.lock:
            held = run.take_those(lambda one: one.key == call)
            self._asking.withdraw(run, call, because)
            for one in held:
                release(run, one, "withdrawn")
            release_withdrawn(run, call)

    def kill(
        self,
        run_id: str | None = None,
        *,
        agent: str | None = None,
        by: str | None = None,
        within_s: float = WITHIN_S,
    ) -> Killed:
        """Stop a run, an agent's runs, or (neither said) every run, in every process on this store.

        Returns once every guard with live runs has acknowledged: nothing that was named starts any more.
        Those that have not within `within_s` are `missing`.

        Raises:
            EngineError: The order could not be kept or recorded, or the store cannot say who has obeyed it.
        """
        kills = self._lifecycle.kills
        return self._sync(kills.order(run=run_id, agent=agent, by=by, within_s=within_s))

    async def akill(
        self,
        run_id: str | None = None,
        *,
        agent: str | None = None,
        by: str | None = None,
        within_s: float = WITHIN_S,
    ) -> Killed:
        """Like `kill`."""
        kills = self._lifecycle.kills
        return await run_async(kills.order(run=run_id, agent=agent, by=by, within_s=within_s))

    def close(self) -> None:
        """End what is live, write what is queued, close the store; safe to call twice."""
        try:
            self._sync(self._close())
        finally:  # what cannot be written now never will be
            self._loop.close()

    async def aclose(self) -> None:
        """Like `close`."""
        try:
            await run_async(self._close())
        finally:
            self._loop.close()

    # ---- steps -------------------------------------------------------------------------------------

    def _sync(self, steps: Steps[T]) -> T:
        return run_sync(steps, self._loop)

    def _open(self) -> Steps[None]:
        _refuse_plugins()
        _GUARDS.add(self)
        yield from self._lifecycle.opened()
        self._caretaker.start()

    def _begin(self, **about: Unpack[AboutRun]) -> Steps[Run]:
        _refuse_plugins()
        _GUARDS.add(self)
        run = yield from self._lifecycle.begin(**about)
        self._caretaker.start()
        return run

    def _resume(self, run_id: str, principal: Principal | None) -> Steps[Run]:
        _refuse_plugins()
        _GUARDS.add(self)
        run = yield from self._lifecycle.resume(run_id, principal=principal)
        self._caretaker.start()
        return run

    def _suspend(self, run: Run) -> Steps[None]:
        yield from self._lifecycle.suspend(run)
        self._caretaker.expect(run)

    def _own(self, run: Run) -> None:
        _refuse_plugins()
        if not self.owns(run):  # SECURITY: it would be decided by the other guard's policy
            raise EngineError(
                f"the run `{run.id}` belongs to another guard",
                run=run.id,
                help="begin a run with the guard of this tool: `with guard.run(...)`",
            )

    def _authorize(self, run: Run, call: ToolCall) -> Steps[Decision]:
        self._own(run)
        found = given(run, call)
        row = run.held.get(found.slot)
        if row:
            return row[0].decision
        self._refuse_ended(run)
        yield from run.turnstile.turn()
        try:
            row = run.held.get(found.slot)  # another caller may have asked the same meanwhile
            decided = row[0] if row else (yield from request(run, found))
        finally:
            run.turnstile.leave()
        # A denial of a call that cannot be told from the next one like it is not kept for that one.
        told_apart = bool(call.call_id or call.task)
        if not row and isinstance(decided, Held) and (decided.decision.verdict >= Verdict.ASK or told_apart):
            run.keep(found.slot, decided)
        return decided.decision if isinstance(decided, Held) else decided.held.decision

    def _ask(self, run: Run, call: ToolCall) -> Steps[Decision]:
        self._own(run)
        found = given(run, call)
        held = run.take(found.slot)
        while held is None:
            self._refuse_ended(run)
            yield from run.turnstile.turn()
            try:
                decided = yield from request(run, found, ahead=True)
            finally:
                run.turnstile.leave()
            # The same call ran already: what is made again is another one, which asks anew.
            held = decided if isinstance(decided, Held) else None
        if held.decision.verdict < Verdict.ASK:
            raise replies.refusal(run, held)
        try:
            if held.decision.verdict is Verdict.ASK:
                held = yield from self._asking.approval(run, held, wait=False, ahead=True)
        except PendingError:
            run.keep(found.slot, held)
            raise
        run.keep(found.slot, held)
        return held.decision

    def _still(self, run: Run, held: Held) -> Steps[Held]:
        """Return a call that was decided before, decided again if that would come out differently now."""
        if stands(run, held):
            return held
        try:
            yield from run.turnstile.turn()
            try:
                return (yield from judge_again(run, held))
            finally:
                run.turnstile.leave()
        except BaseException:  # whatever it is: nothing ran, so nothing stays taken
            release(run, held, "not dispatched")
            raise

    def _admit(
        self,
        run: Run,
        call: ToolCall,
        *,
        wait: bool,
        flight: Callable[[], Flight],
        lacking: str | None = None,
        until_ns: int | None = None,
    ) -> Steps[dispatch.Started | Ended]:
        self._own(run)
        found = given(run, call)
        found.lacking = lacking
        held = run.take(found.slot)
        if held is None:
            self._refuse_ended(run)
            yield from run.turnstile.turn()
            try:
                decided = yield from request(run, found)
            finally:
                run.turnstile.leave()
            if isinstance(decided, Ended):
                return decided
            held = decided
        else:
            held = yield from self._still(run, held)
        if held.decision.verdict < Verdict.ASK:
            raise replies.refusal(run, held)
        try:
            if held.decision.verdict is Verdict.ASK:
                held = yield from self._asking.approval(run, held, wait=wait)
            flown = self._flight(run, held, flight, bounded=until_ns is not None)
            return (yield from dispatch.dispatch(run, held, flown, until_ns=until_ns))
        except PendingError:
            run.keep(found.slot, held)
            raise
        except BaseException as error:  # whatever it is: nothing ran, so nothing stays taken
            release(run, held, "not dispatched")
            if isinstance(error, EngineError):
                dispatch.interrupt(run, held, error)
            raise

    def _flight(self, run: Run, held: Held, flight: Callable[[], Flight], *, bounded: bool) -> Flight | None:
        """Return what the body flies in; a plain function that nothing bounds runs where it is called."""
        if bounded or run.plan.by_bound_name[held.call.tool].isolated is not None:
            return flight()
        unbound = held.decision.obligations.stop_ns is None and run.remaining_ns(0) is None
        return None if unbound and flight is SyncFlight else flight()

    def _refuse_ended(self, run: Run) -> None:
        if run.ended or run.suspended:
            run.check_live()

    def _depart(self, run: Run, flight: Flight) -> float | None:
        self._own(run)
        with run.lock:
            run.check_live()
            run.flights.add(flight)
            left_ns = run.remaining_ns(run.now_ns())
        return None if left_ns is None else left_ns / 1e9

    def _bounded(self, run: Run, flight: Flight, landed: Landed) -> Any:
        with run.lock:
            run.flights.discard(flight)
        if landed.how == "returned":
            return landed.value
        if landed.how == "timeout":
            run.time_is_up()
        if landed.how in ("timeout", "halted"):
            raise run.over()
        assert landed.error is not None
        raise landed.error

    def _close(self) -> Steps[None]:
        try:
            with contextlib.suppress(EngineError):  # stuck in the store: the runs end all the same
                yield from self._caretaker.stop()
            yield from self._lifecycle.end_all(self._asking)
        finally:
            _GUARDS.discard(self)
            yield from self.opening.close()


def _refuse_plugins() -> None:
    """Raise EngineError inside a plugin's function: the call that asks it would wait for itself."""
    if being_asked():
        raise EngineError(
            "a policy function called the guard while it was being asked",
            help="a policy function only reads: let it ask its own source, not an agent's tools",
        )


_GUARDS: "set[Guard]" = set()
"""Those in use: kept until they are closed, so that what they queued is written."""


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_GUARDS.clear)  # the parent's runs are the parent's to end


@atexit.register
def _close_guards() -> None:
    """Write what is queued at the normal end of the interpreter."""
    for guard in tuple(_GUARDS):
        try:
            guard.close()
        except Exception as error:  # the process ends anyway; the log says what it has
            import_module("logging").getLogger("ringfence").error("closing the guard failed: %s", error)
