"""The guard: the door to tool bodies, and around it runs, people and operators.

Every method has a synchronous form and an asynchronous one with an `a` before its name, which drive the same
steps (`admission`, `answers`, `lifecycle`).
"""

import contextlib
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar, Unpack, cast

from ringfence.dsl.plan import Json, Plan
from ringfence.engine.decision.calls import Principal
from ringfence.engine.decision.events import ModelAnswered, ModelAsked, PromptGiven, RunStarted
from ringfence.engine.enforcement.acknowledgements import WITHIN_S, Killed
from ringfence.engine.enforcement.admission import Admission
from ringfence.engine.enforcement.answers import Answering, BackendAnswers
from ringfence.engine.enforcement.bodies import AsyncFlight, Flight, Landed, SyncFlight
from ringfence.engine.enforcement.caretaker import Caretaker
from ringfence.engine.enforcement.current import refuse_plugins
from ringfence.engine.enforcement.deciding import release
from ringfence.engine.enforcement.door import Door
from ringfence.engine.enforcement.drive import Steps, run_async, run_sync
from ringfence.engine.enforcement.in_use import GUARDS
from ringfence.engine.enforcement.lifecycle import EndStatus, Lifecycle
from ringfence.engine.enforcement.opening import Opening
from ringfence.engine.enforcement.run_block import AboutRun, RunBlock
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.enforcement.tickets import Asking, release_withdrawn
from ringfence.engine.enforcement.waits import Waits
from ringfence.engine.seams.errors import EngineError
from ringfence.engine.seams.ports import Clock, Ticket
from ringfence.engine.seams.settings import Settings

T = TypeVar("T")


class Guard(Door):
    """Stands at every tool call of the runs it begins.

    `Guard.load` makes one; it opens nothing before its first use and needs no event loop.
    """

    plays_back = False
    """True: it answers from a record and runs no body, but for agents that the host has named."""

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
        waits = Waits(opening)
        self._answering = Answering(opening, waits, settings)
        answers = BackendAnswers(self._answering)
        opening.extensions.take_answers(answers)
        self._asking = Asking(opening, waits, answers)
        super().__init__(Admission(opening, self._asking), opening.loop)
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
        self._admission.own(run)
        self._sync(self._suspend(run))

    async def asuspend(self, run: Run) -> None:
        """Like `suspend`."""
        self._admission.own(run)
        await run_async(self._suspend(run))

    def end_run(self, run: Run, status: EndStatus = "done", error: str | None = None) -> None:
        """End a run: its open questions are withdrawn and what it holds is given back."""
        self._admission.own(run)
        self._sync(self._lifecycle.end(run, self._asking, status, error))

    async def aend_run(self, run: Run, status: EndStatus = "done", error: str | None = None) -> None:
        """Like `end_run`."""
        self._admission.own(run)
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
        self._admission.own(run)
        new = isinstance(event, PromptGiven) and event.source == "user" and not keeps_open
        if new and run.state.open_tickets:
            self._asking.withdraw_all(run, "the user said something new")
        run.append(event)

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
        self._admission.own(run)
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

    def close(self, *, within_s: float | None = None) -> None:
        """End what is live, write what is queued, close the store; safe to call twice.

        Args:
            within_s: Wait no longer than this for all of it; None: as long as store and sinks may take for
                each step, and for ever for a plugin that blocks the engine's loop.
        """
        until_s = None if within_s is None else time.monotonic() + within_s
        try:
            run_sync(self._close(), self._loop, until_s=until_s)
        finally:  # what cannot be written now never will be
            self._loop.close(within_s=None if until_s is None else max(0.0, until_s - time.monotonic()))

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
        refuse_plugins()
        GUARDS.add(self)
        yield from self._lifecycle.opened()
        self._caretaker.start()

    def _begin(self, **about: Unpack[AboutRun]) -> Steps[Run]:
        refuse_plugins()
        GUARDS.add(self)
        run = yield from self._lifecycle.begin(**about)
        self._caretaker.start()
        return run

    def _resume(self, run_id: str, principal: Principal | None) -> Steps[Run]:
        refuse_plugins()
        GUARDS.add(self)
        run = yield from self._lifecycle.resume(run_id, principal=principal)
        self._caretaker.start()
        return run

    def _suspend(self, run: Run) -> Steps[None]:
        yield from self._lifecycle.suspend(run)
        self._caretaker.expect(run)

    def _depart(self, run: Run, flight: Flight) -> float | None:
        self._admission.own(run)
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
            GUARDS.discard(self)
            yield from self.opening.close()
